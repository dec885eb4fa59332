"""A new owner reads of the state topic only what the copy on its machine does not have, and knows as much as one that
reads all of it."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.environment import System
from headwater.log.kafka import KafkaLog
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record, TopicPartition
from headwater.log.topology import owners_group, state_topic
from headwater.owners.ahead import LOOKED_AT
from headwater.owners.keeping import Checkpoints
from headwater.owners.partition import PartitionMemory
from headwater.owners.restore import restore
from headwater.owners.state_record import decode_covered
from headwater.owners.states import States, StatesInMemory
from headwater.readers.spans import batches_between
from headwater.testing import PrefixedLog, eventually
from headwater.testing.conformance.log.waiting import fresh, read_topic
from headwater.testing.places import forget_on_kafka
from tests.bank import Account, Deposit, Overdrawn, Withdraw

PARTITIONS = 2
STATE = state_topic("account")
app = hw.App("bank", aggregates=[Account], partitions=PARTITIONS)
KEYS = [f"a{number}" for number in range(100)]


class ClusterLog(MemoryLog):
    """In memory, and treated as one on other machines: commands travel, and there is a place for local files."""

    directory: Path

    @property
    def embedded(self) -> bool:
        return False

    @property
    def cache(self) -> Path:
        return self.directory

    def on(self, directory: Path) -> ClusterLog:
        """A handle with local files elsewhere."""
        handle = ClusterLog(seed=self.seed)
        handle._shelf, handle.directory = self._shelf, directory
        return handle


OnMachine = Callable[[str], Log]
"""Opens the log of the test on a machine, which has local files of its own."""


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def on_machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnMachine]:
    with ExitStack() as opened:
        if request.param == "memory":
            memory = ClusterLog(gaps=True, late=True)
            print("seed", memory.seed)
            yield lambda machine: opened.enter_context(closing(memory.on(tmp_path / machine)))
        else:
            broker, prefix = request.getfixturevalue("kafka_broker"), fresh("warm") + "-"
            opened.callback(forget_on_kafka, broker, prefix)

            def on(machine: str) -> Log:
                kafka = KafkaLog(broker.removeprefix("kafka://"), index_directory=tmp_path / machine)
                return PrefixedLog(opened.enter_context(closing(kafka)), prefix)

            yield on


@pytest.fixture
def log(on_machine: OnMachine) -> Log:
    return on_machine("one")


def files(log: Log) -> list[Path]:
    assert log.cache is not None
    return sorted(log.cache.rglob("states/*/?-0.db"))


def covered(log: Log) -> int:
    """How many offsets of the state topic the checkpoints cover."""
    total = 0
    for file in files(log):
        with closing(sqlite3.connect(file, timeout=60)) as rows:
            if rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():  # else it is being made
                total += sum(position for (position,) in rows.execute("SELECT position FROM about"))
    return total


def written(log: Log) -> int:
    return sum(log.ends([TopicPartition(STATE, p) for p in range(PARTITIONS)], committed=False).values())


def held(log: Log) -> dict[bytes, bytes]:
    """The states in the checkpoints."""
    found: dict[bytes, bytes] = {}
    for file in files(log):
        with closing(sqlite3.connect(file, timeout=60)) as rows:
            if rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():  # else it is being made
                found.update(rows.execute("SELECT key, value FROM states").fetchall())
    return found


def up_to_date(log: Log) -> None:
    """Waits until the checkpoints have what the topic has."""
    newest = {record.key: record.value for record in read_topic(log, STATE, 60)}
    eventually(lambda: held(log) == newest)


def deposit_everywhere(bank: hw.Shop, times: int) -> None:
    for outcome in bank.send_many(Deposit(key, Decimal(1)) for _ in range(times) for key in KEYS):
        assert isinstance(outcome, hw.Receipt)


def restored(log: Log, states: Mapping[int, States]) -> dict[int, PartitionMemory]:
    return restore(log, "account", owners_group("account"), states, PARTITIONS, True, System())


def known(memories: Mapping[int, PartitionMemory]) -> object:
    """All that an owner knows after a restore."""
    return {
        p: (
            [one.states.get(key.encode()) for key in KEYS],
            (one.next_command, one.verified, one.begun, one.folded, one.stopped),
            {key: [record.offset for record in tail] for key, tail in one.tail.items()},
        )
        for p, one in memories.items()
    }


def test_only_the_rest_is_read(log: Log) -> None:
    with app.run(log, only=["commands"]) as bank:
        deposit_everywhere(bank, 10)
        for key in KEYS[:10]:  # each transaction says that the events before it are covered
            bank.send(Withdraw(key, Decimal(1)))
        up_to_date(log)
    before = log.records_read
    with app.run(log, only=["commands"]) as bank:
        # All states are 1,010 records; every owner looks at the newest to see of which code they are.
        assert log.records_read - before < PARTITIONS * LOOKED_AT + 20
        for key in KEYS:
            assert bank.version(Account, key) == 10 + (key in KEYS[:10])
        with pytest.raises(Overdrawn):
            bank.send(Withdraw("a1", Decimal(10)))
        assert bank.send(Withdraw("a1", Decimal(9))).version == 12


def checkpoints(log: Log, *, standby: bool = False) -> Checkpoints:
    assert log.cache is not None
    schema = app.behaviours[Account].schema
    return Checkpoints(log, "account", PARTITIONS, schema, log.cache, memory_bytes=1 << 22, standby=standby)


def test_what_is_known_is_what_one_knows_who_reads_it_all(log: Log) -> None:
    with app.run(log, only=["commands"]) as bank:
        deposit_everywhere(bank, 1)
        eventually(lambda: held(log))
        deposit_everywhere(bank, 1)
    cold = known(restored(log, {p: StatesInMemory() for p in range(PARTITIONS)}))
    for _ in range(2):
        keeper = checkpoints(log)
        assert known(restored(log, keeper.take(range(PARTITIONS)))) == cold
        keeper.close()
    assert covered(log) == written(log)


def test_one_that_is_ahead_of_the_log_is_thrown_away(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    with app.run(log, only=["commands"]) as bank:
        deposit_everywhere(bank, 1)
        up_to_date(log)
    for file in files(log):
        rows = sqlite3.connect(file)
        rows.execute("UPDATE about SET position = position + 1000")
        rows.execute("UPDATE states SET value = x'00'")
        rows.commit()
        rows.close()
    with app.run(log, only=["commands"]) as bank:
        assert [bank.get(Account, key).balance for key in KEYS] == [1] * len(KEYS)
    assert caplog.text.count("the topic was made anew, or has lost records") == PARTITIONS


def test_one_that_is_found_damaged_at_work_is_read_anew(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    with app.run(log, only=["commands"]) as bank:
        deposit_everywhere(bank, 1)
        for key in KEYS[-10:]:  # what the last transaction wrote is read again in any case
            bank.send(Deposit(key, Decimal(1)))
        up_to_date(log)
    for file in files(log):
        rows = sqlite3.connect(file)
        rows.execute("UPDATE states SET value = CAST(value || ' ' AS BLOB)")
        rows.commit()
        rows.close()
    with app.run(log, only=["commands"]) as bank:
        versions = [bank.send(Deposit(key, Decimal(1)), timeout_s=60).version for key in KEYS]
        assert versions == [2] * 90 + [3] * 10
    assert "is thrown away and read anew from the log: it is damaged: the sum of" in caplog.text


def test_a_record_that_is_no_state_stops_its_partition_also_for_the_next_owner(log: Log) -> None:
    with app.run(log, only=["commands"]) as bank:
        deposit_everywhere(bank, 1)
    log.append([NewRecord(STATE, 0, b"a1", b"none")])
    for _ in range(2):
        running = app.run(log, only=["commands"])
        with running:
            assert running.services is not None
            owner = running.services.owners["account"]
            failures = eventually(lambda owner=owner: dict(owner.failures))  # type: ignore[misc] # of this round
            assert "not a state record" in failures[0]
            assert 1 not in failures


def test_a_standby_has_only_the_rest_to_read_when_it_takes_over(on_machine: OnMachine) -> None:
    one, two = on_machine("one"), on_machine("two")
    first, second = app.run(one, only=["commands"]), app.run(two, only=["commands"], standby=True)
    with first as bank, second:
        deposit_everywhere(bank, 3)
        for key in KEYS[:10]:
            bank.send(Deposit(key, Decimal(1)))
        assert second.services is not None
        (status,) = second.services.statuses
        eventually(lambda: len(status.owned) == PARTITIONS // 2)
        up_to_date(two)
        before = two.records_read
        first.close()
        eventually(lambda: len(status.owned) == PARTITIONS)
        assert two.records_read - before < 20
    with app.run(two, only=["commands"]) as bank:
        assert [bank.version(Account, key) for key in KEYS] == [3 + (key in KEYS[:10]) for key in KEYS]


def test_two_processes_on_one_machine_do_not_write_one_file(log: Log) -> None:
    cache = log.cache
    assert cache is not None
    with app.run(log, only=["commands"]) as bank, app.run(log, only=["commands"], standby=True):
        deposit_everywhere(bank, 2)
        eventually(lambda: list(cache.rglob("states/*/?-1.db")))
        assert [bank.version(Account, key) for key in KEYS] == [2] * len(KEYS)


OWNER = """
import sys
from headwater.log.kafka import KafkaLog
from headwater.readers.spans import batches_between
from headwater.testing import PrefixedLog
from tests.owners.test_warm_restore import app
with app.run(PrefixedLog(KafkaLog(sys.argv[1], index_directory=sys.argv[2]), sys.argv[3]), only=["commands"]):
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.kafka
def test_what_an_owner_leaves_that_is_killed_at_work_is_the_fold_of_its_events(
    kafka_broker: str, tmp_path: Path
) -> None:
    bootstrap, prefix = kafka_broker.removeprefix("kafka://"), fresh("killed") + "-"
    with ExitStack() as opened:
        opened.callback(forget_on_kafka, kafka_broker, prefix)
        log = PrefixedLog(opened.enter_context(closing(KafkaLog(bootstrap, index_directory=tmp_path))), prefix)
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, bootstrap, str(tmp_path), prefix],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        opened.enter_context(owner)
        opened.callback(owner.kill)
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"running\n"
        client = opened.enter_context(app.connect(log))
        seed = random.SystemRandom().getrandbits(32)
        print("seed", seed)
        enough = random.Random(seed).randint(200, 3000)
        outcomes = client.send_many((Deposit(key, Decimal(1)) for _ in range(200) for key in KEYS), in_flight=500)
        answered = sum(isinstance(one, hw.Receipt) for one, _ in zip(outcomes, range(enough), strict=False))
        eventually(lambda: covered(log))
        owner.kill()
        owner.wait(60)
        keeper = checkpoints(log)
        warm = restored(log, keeper.take(range(PARTITIONS)))
        assert known(warm) == known(restored(log, {p: StatesInMemory() for p in range(PARTITIONS)}))
        counts = Counter(event.key for event in every_record(log, "account-events"))
        versions = {key: version_of(warm, key) for key in map(str.encode, KEYS)}
        assert versions == {key: counts[key] for key in versions}
        assert sum(versions.values()) >= answered
        keeper.close()


def version_of(memories: Mapping[int, PartitionMemory], key: bytes) -> int:
    memory = memories[partition_of(key, PARTITIONS)]
    value = memory.states.get(key)
    return (decode_covered(value).version if value else 0) + len(memory.tail.get(key, ()))


def every_record(log: Log, topic: str) -> Iterator[Record]:
    partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    for batch in batches_between(log, dict.fromkeys(partitions, 0), log.ends(partitions), "counting", System()):
        yield from batch.records
