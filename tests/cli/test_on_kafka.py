"""The verbs on a real broker: the same words, another address."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicSpec
from headwater.testing.conformance.log.waiting import settled_ends
from headwater.testing.waiting import eventually
from tests.cli.conftest import Shell
from tests.cli.test_mistakes import REFUSED, USAGE, WAITING, Mistake, check
from tests.cli.test_run import Process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TILL_APP = """
from decimal import Decimal

import headwater as hw


class TillEvent(hw.Event, entity="{entity}"):
    till: hw.Key[str]


class Paid(TillEvent):
    amount: Decimal


class TillCommand(hw.Command, entity="{entity}"):
    till: hw.Key[str]


class Pay(TillCommand):
    amount: Decimal


class Till(hw.Aggregate[TillEvent]):
    total: Decimal = Decimal(0)

    @hw.decides
    def pay(self, command: Pay) -> Paid:
        return Paid(command.till, command.amount)

    @hw.evolves
    def paid(self, event: Paid) -> None:
        self.total += event.amount


class Takings(hw.Projection):
    till: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(Paid)
    def paid(self, event: Paid, meta: hw.Meta) -> None:
        self.total += event.amount


app = hw.App("{entity}", aggregates=[Till], projections=[Takings], partitions=2)
"""


READING_APP = """
from decimal import Decimal

import headwater as hw
from tills import Paid


class Seen(hw.Projection):
    till: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(Paid)
    def paid(self, event: Paid, meta: hw.Meta) -> None:
        self.total += event.amount


app = hw.App("{entity}-reader", projections=[Seen], partitions=2)
"""

PAY = """send Pay '{"till":"1","amount":"1"}'"""
PATIENCE_S = 60.0
SESSIONS = "?session_timeout_s=30"
"""Of members in other processes: a machine that stands still for some seconds has not gone."""

MISTAKES = {
    "unknown command": Mistake("send Pya '{}'", r"no command 'Pya'; did you mean Pay\?", USAGE, "hw send --help"),
    "wrong type": Mistake("""send Pay '{"till":"1","amount":"ten"}'""", r"Pay: .*\$\.amount", USAGE, "hw send --help"),
    "conflict": Mistake(f"{PAY} --expected-version 7", r"'1' is at version 1, not 7", REFUSED, "hw get ENTITY 1"),
    "no such entity": Mistake("get ENTITY 99", r"there is no ENTITY '99'", REFUSED, "hw tail ENTITY"),
    "unknown version": Mistake("get ENTITY 1 --at-version 9", r"version 9 does not", USAGE, "hw history ENTITY 1"),
    "no such topic": Mistake("tail ENTITY-evnts", r"no topic 'ENTITY-evnts' and no", USAGE, "hw topics"),
    "no such table": Mistake("query 'SELECT * FROM taking'", r"no such table: taking", USAGE, "hw query"),
    "no such host": Mistake("topics --on kafka://no-such-host.invalid:9092", r"no-such-host", WAITING, "hw topics"),
}


@pytest.fixture
def entity(directory: Path, kafka_broker: str) -> str:
    """A name of this test's own, and a project for it on the broker."""
    name = f"till-{directory.name.replace('_', '-')}-{hash(str(directory)) & 0xFFFFFF:06x}"
    print("entity type:", name)
    (directory / "tills.py").write_text(TILL_APP.format(entity=name))
    (directory / "headwater.toml").write_text(f'app = "tills:app"\non = "{kafka_broker}{SESSIONS}"\n')
    return name


def settle(kafka_broker: str, entity: str) -> None:
    """Waits until what was answered can be read by everybody, which is a moment later."""
    names = [f"{entity}-{kind}" for kind in ("events", "state", "commands", "replies", "copies")]
    with closing(open_log(kafka_broker)) as log:
        for name in log.topics(names):
            settled_ends(log, name, PATIENCE_S)


def wait_until_left(kafka_broker: str, entity: str) -> None:
    """Waits until no owner is a member of its group."""
    with closing(open_log(kafka_broker)) as log:
        eventually(lambda: not any(one.members for one in log.groups([f"{entity}-owners"])), saying="owners have left")


def takings_lag(shell: Shell) -> int:
    """How far the read model is behind, in positions."""
    (takings,) = (row for row in shell("lag").rows if row.get("readModel") == "takings")
    return int(takings["lag"])


def test_every_verb_works_on_kafka(shell: Shell, entity: str, directory: Path, kafka_broker: str) -> None:
    process = Process()
    try:
        assert process.said()["state"] == "running"
        assert shell("""send Pay '{"till":"1","amount":"1.50"}'""").one["version"] == 1
        assert shell("""send Pay '{"till":"1","amount":"2.50"}' --expected-version 0""").code == 1
        lines = [{"commandType": "Pay", "till": str(number % 3), "amount": "1"} for number in range(30)]
        (directory / "in.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert shell("import in.ndjson").one["imported"] == 30
        assert shell("import in.ndjson").one["repeated"] == 30
        assert shell(f"get {entity} 1").one["total"] == "11.50"
        settle(kafka_broker, entity)
        assert len(shell(f"history {entity} 1").rows) == 11
        assert shell(f"get {entity} 1 --at-version 1").one["total"] == "1.50"
        assert len(shell(f"tail {entity} --from earliest").rows) == 31
        assert len(shell(f"tail {entity} --limit 4").rows) == 4
        assert shell(f"replay --entity {entity} 1 --to topic:{entity}-copies").one["events"] == 11
        settle(kafka_broker, entity)
        copies, originals = (shell(f"tail {name} --from earliest").rows for name in (f"{entity}-copies", entity))
        places = [f"{entity}-events/{row['partition']}/{row['offset']}" for row in originals if row["key"] == "1"]
        assert [row["headers"]["hw_replayed_from"] for row in copies] == places
        assert len(shell(f"replay --entity {entity} 1 --to -").rows) == 11
        assert shell(f"revert {entity} 1 --to-version 1 --yes").one["version"] == 12
        assert shell(f"get {entity} 1").one["total"] == "1.50"
        settle(kafka_broker, entity)
        eventually(lambda: takings_lag(shell) == 0, saying="the read model has everything")
        topics = {row["topic"]: row for row in shell("topics").rows}
        assert topics[f"{entity}-events"]["partitions"] == 2
        assert topics[f"{entity}-state"]["compacted"] is True
        groups = {row["group"]: row for row in shell("groups").rows}
        assert groups[f"{entity}-owners"]["partitions"] == f"{entity}-commands/0-1"
        previewed = shell("preview").rows
        assert [(row["kind"], row["differing"]) for row in previewed] == [("entity", 0), ("table", 0)]
        assert (previewed[0]["entities"], previewed[0]["events"], previewed[0]["notCompared"]) == (3, 32, 0)
        assert {row["topic"]: row for row in shell("topics").rows if entity in row["topic"]} == {
            name: row for name, row in topics.items() if entity in name
        }
        assert (
            next(row for row in shell("groups").rows if row["group"] == f"{entity}-owners")
            == groups[f"{entity}-owners"]
        )
        (takings,) = (row for row in shell("lag").rows if row.get("readModel") == "takings")
        assert takings["runner"] == "running"
        assert process.stop(signal.SIGTERM) == 0
    finally:
        process.popen.kill()
        process.popen.wait()
    wait_until_left(kafka_broker, entity)
    assert shell(f"get {entity} 1").one["total"] == "1.50", "the log says as much"
    assert shell("""send Pay '{"till":"1","amount":"1"}'""").code == 3
    rows = shell("query 'SELECT till, total FROM takings ORDER BY till'").rows
    assert rows[0] == {"till": "0", "total": "10"}


@pytest.fixture
def running(entity: str) -> Iterator[Process]:
    process = Process()
    process.said()
    yield process
    process.popen.kill()
    process.popen.wait()


def test_mistakes_are_told_on_a_broker_that_is_up(
    shell: Shell, entity: str, running: Process, kafka_broker: str
) -> None:
    assert shell(PAY).code == 0
    settle(kafka_broker, entity)
    for name, mistake in MISTAKES.items():
        print(name)
        parts = (mistake.typed, mistake.error, mistake.next)
        typed, error, following = (part.replace("ENTITY", entity) for part in parts)
        check(shell, Mistake(typed, error, mistake.code, following))
    assert running.stop(signal.SIGTERM) == 0
    wait_until_left(kafka_broker, entity)
    check(shell, Mistake(PAY, f"no live owner of '{entity}' on kafka://", WAITING, "hw run tills:app --on 'kafka://"))


def test_a_project_that_began_on_sqlite_goes_on_on_kafka_in_the_same_directory(
    shell: Shell, entity: str, kafka_broker: str
) -> None:
    for on, amount in (("sqlite:///till.db", "1"), (f"{kafka_broker}{SESSIONS}", "2")):
        process = Process("--on", on)
        try:
            assert process.said()["state"] == "running"
            assert shell(f"""send Pay '{{"till":"1","amount":"{amount}"}}' --on '{on}'""").code == 0
            ask = f"query 'SELECT total FROM takings' --on '{on}'"
            eventually(lambda ask=ask, amount=amount: shell(ask).rows == [{"total": amount}])  # type: ignore[misc] # asked at once
            assert process.stop(signal.SIGTERM) == 0
        finally:
            process.popen.kill()
            process.popen.wait()


def test_a_record_of_two_megabytes_that_others_wrote_is_read(
    shell: Shell, entity: str, directory: Path, kafka_broker: str
) -> None:
    (directory / "reading.py").write_text(READING_APP.format(entity=entity))
    topic = f"{entity}-events"
    log = open_log(kafka_broker)
    log.create_topics([TopicSpec(topic, 2)])
    write_a_large_record(kafka_broker.removeprefix("kafka://"), topic)
    log.append([NewRecord(topic, 0, b"small", b'{"eventType":"Paid","till":"small","amount":"2"}')])
    log.close()
    process = Process("reading:app")
    try:
        assert process.said()["state"] == "running"
        ask = "query 'SELECT till, total FROM seen ORDER BY till' --app reading:app"
        eventually(lambda: len(shell(ask).rows) == 2, saying="both records are read")
        assert shell(ask).rows == [{"till": "large", "total": "1"}, {"till": "small", "total": "2"}]
        assert process.stop(signal.SIGTERM) == 0
    finally:
        process.popen.kill()
        process.popen.wait()
    (large, _) = shell(f"tail {topic} --from earliest").rows
    assert len(large["value"]["note"]) == 2_000_000


def write_a_large_record(server: str, topic: str) -> None:
    """As a program would whose operator allowed it: more than our own clients write."""
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[ConfigEntry("max.message.bytes", "4000000", incremental_operation=AlterConfigOpType.SET)],
    )
    operator = AdminClient({"bootstrap.servers": server})
    for done in operator.incremental_alter_configs([resource]).values():
        done.result(60)
    producer = Producer({"bootstrap.servers": server, "message.max.bytes": 4_000_000})
    value = json.dumps({"eventType": "Paid", "till": "large", "amount": "1", "note": "x" * 2_000_000})

    def taken() -> bool:
        """A setting is acknowledged before the broker goes by it. What it refuses is not written."""
        failures: list[KafkaError | None] = []
        producer.produce(topic, value.encode(), b"large", 0, on_delivery=lambda error, _: failures.append(error))
        assert producer.flush(PATIENCE_S) == 0
        [failure] = failures
        assert failure is None or failure.code() == KafkaError.MSG_SIZE_TOO_LARGE, failure
        return failure is None

    eventually(taken, saying="the broker takes a large record")
