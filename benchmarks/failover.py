"""Seconds without answers when an owner is killed or gets stuck, with and without a standby.

    restore     a new process owns entities whose states are in the log: from nothing, then with its checkpoint
    failover    one process owns them all, and another is in the group; commands are sent one after the other, each to
                another entity, and the owner is killed (SIGKILL) or stopped (SIGSTOP): the longest time between two
                answers

The owners have local files of their own, as on two machines. A group notices a dead or stuck member when its session
is over, after 6 s: that is in every figure of `failover`. The entities' states, of 300 bytes each, are written as an
owner leaves them. There are eight partitions in `restore`, and one in `failover`, so that the other process owns
nothing before.
"""

from __future__ import annotations

import itertools
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import headwater as hw
from benchmarks.accounts import Account, Deposit
from benchmarks.brokers import one_broker
from benchmarks.rounds import Different, Options, Report, options
from headwater.entities.behaviour import Behaviour
from headwater.log.kafka import KafkaLog
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord, TopicPartition
from headwater.owners.deciding import Decider
from headwater.owners.state_record import Entry, Remembered, encode_entry

SIZE_BYTES = 300
BEFORE_S, AFTER_S = 3.0, 1.0
PATIENCE_S = 120.0
TARGETS = {"cold_restore_1000000_s": ("≤", 15.0), "warm_restore_1000000_s": ("≤", 2.0)}


@dataclass(frozen=True)
class Place:
    """Entities in a broker of their own. Arguments: bootstrap; partitions."""

    bootstrap: str
    partitions: int

    @property
    def app(self) -> hw.App:
        return hw.App("bench", aggregates=[Account], partitions=self.partitions)

    def log(self, directory: Path, protocol: str = "classic") -> KafkaLog:
        return KafkaLog(self.bootstrap, group_protocol=protocol, index_directory=directory)


def fill(place: Place, entities: int, directory: Path) -> None:
    """Writes the states of so many accounts with a cent each, as an owner leaves them."""
    log = place.log(directory)
    with place.app.run(log, only=["commands"], store="memory://"):
        pass
    behaviour = Behaviour(Account)
    schema = Decider(behaviour, "bench", lambda: "", None).schema
    landed = threading.Semaphore(0)
    for first in range(0, entities, 10_000):
        records = []
        for number in range(first, min(first + 10_000, entities)):
            key = b"%08d" % number
            state = behaviour.new(key.decode())
            state.cents = 1
            entry = Entry(state.id, state, behaviour.encode_state(state), 1, 0, {}, {})
            entry.remember(Remembered(f"01a21837-657a-70eb-80c2-{number:012d}", number, 0, "accepted", 1, 1))
            value = encode_entry(entry, schema, 0, 0, -1)
            padded = value[:-1] + b" " * (SIZE_BYTES - len(value)) + b"}"
            records.append(NewRecord("account-state", partition_of(key, place.partitions), key, padded))
        log.append_nowait(records, lambda index, offset, error: landed.release())
    for _ in range(entities):
        landed.acquire()
    log.close()


def be_owner(arguments: list[str]) -> None:
    """A process that owns all partitions, or waits for others to end, until its input ends. It prints how long it took
    to own them, and its memory's highest in KB at the end."""
    bootstrap, partitions, directory, protocol, part = arguments
    place = Place(bootstrap, int(partitions))
    running = place.app.run(
        place.log(Path(directory), protocol), only=["commands"], store="memory://", standby=part == "standby"
    )
    started_s = time.perf_counter()
    with running:
        assert running.services is not None
        mine = running.services.owners["account"]
        while part == "first" and not all(mine.owns(partition) for partition in range(place.partitions)):
            time.sleep(0.005)  # the group may still have the dead members of the case before
        print(f"{time.perf_counter() - started_s:.3f}", flush=True)
        sys.stdin.read()
    with open("/proc/self/status") as lines:
        print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), flush=True)


@contextmanager
def owner(place: Place, directory: Path, protocol: str = "classic", part: str = "first") -> Iterator[Owner]:
    """Arguments: part: "first": it owns all; "alone", "standby": it is there for later, and how."""
    arguments = [place.bootstrap, str(place.partitions), str(directory), protocol]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.failover", "own", *arguments, part],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Different(f"an owner at {place.bootstrap} did not start")
    try:
        yield Owner(process, float(line))
    finally:
        process.kill()
        process.wait()


@dataclass
class Owner:
    """Arguments: process; ready_s: how long it took from its start, imports not counted, until all was owned."""

    process: subprocess.Popen[str]
    ready_s: float

    def end(self) -> float:
        """Ends it in order. Returns: its memory's highest, in MB."""
        memory_kb = self.process.communicate(timeout=60)[0]
        return int(memory_kb) / 1024


def longest_gap(place: Place, entities: int, directory: Path, victim: Owner, how: signal.Signals) -> float:
    """Seconds between two answers, at most, around the end of an owner. Raises: Different: a wrong answer."""
    answers_s: list[float] = []
    numbers = itertools.count(1)
    with place.app.connect(place.log(directory), store="memory://") as shop:

        def send() -> None:
            key = f"{next(numbers) * 7919 % entities:08d}"
            version = answered(shop, Deposit(key, 1))
            if version < 2:
                raise Different(f"account {key} has version {version} after a deposit: its state was lost")
            answers_s.append(time.perf_counter())

        until_s = time.perf_counter() + BEFORE_S
        while time.perf_counter() < until_s:
            send()
        victim.process.send_signal(how)
        struck_s = time.perf_counter()
        while answers_s[-1] < struck_s + AFTER_S:
            send()
        until_s = time.perf_counter() + AFTER_S
        while time.perf_counter() < until_s:
            send()
    return max(later - earlier for earlier, later in itertools.pairwise(answers_s))


def answered(shop: hw.Shop, command: Deposit) -> int:
    """Sends a command until it is answered. Returns: its entity's version."""
    command_id = str(uuid.uuid4())
    while True:
        try:
            return shop.send(command, command_id=command_id, timeout_s=PATIENCE_S).version
        except (hw.Unavailable, hw.Unknown) as error:
            print(f"  sent again: {error}", file=sys.stderr, flush=True)


def wait_until_warm(place: Place, directory: Path) -> None:
    """Waits until a standby has followed to the end of the states."""
    log = place.log(directory)
    states = [TopicPartition("account-state", partition) for partition in range(place.partitions)]
    wanted, found = sum(log.ends(states).values()), -1
    log.close()
    while found < wanted:
        time.sleep(0.1)
        found = 0
        for file in directory.rglob("states/*/*.db"):
            with closing(sqlite3.connect(file)) as rows:
                found += sum(position for (position,) in rows.execute("SELECT position FROM about"))


def restores(report: Report, place: Place, entities: int, directory: Path) -> None:
    for name in ("cold", "warm"):
        with owner(place, directory / "restores") as one:
            figure = f"{name}_restore_{entities}_s"
            report.figure(figure, [one.ready_s], 2)
            if figure in TARGETS:
                report.ratios[figure] = round(one.ready_s, 2)
            report.figure(f"{name}_memory_{entities}_mb", [one.end()])


def failovers(report: Report, place: Place, entities: int, cases: list[tuple[str, str]], directory: Path) -> None:
    """Arguments: cases: group protocol, and what happens to the owner."""
    for protocol, fate in cases:
        for part in ("alone", "standby"):
            other = directory / f"{protocol}-{fate}-{part}"
            how = signal.SIGKILL if fate == "killed" else signal.SIGSTOP
            with owner(place, directory / "first", protocol) as one, owner(place, other, protocol, part) as two:
                if part == "standby":
                    wait_until_warm(place, other)
                gap_s = longest_gap(place, entities, directory / "client", one, how)
                two.end()  # it leaves the group at once, and the next case does not wait for it
            report.figure(f"{protocol}_{fate}_{part}_{entities}_s", [gap_s], 2)
            print(f"  {protocol}, {fate}, {part}, {entities}: {gap_s:.2f} s", file=sys.stderr, flush=True)


def measure(asked: Options) -> Report:
    """Raises: Different."""
    sizes = [20_000] if asked.quick else [100_000, 1_000_000]
    all_cases = [(protocol, fate) for protocol in ("classic", "consumer") for fate in ("killed", "stuck")]
    report = Report("failover", TARGETS)
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as temporary:
        for size, partitions in itertools.product(sizes, (8, 1)):
            directory = Path(temporary) / f"{size}-{partitions}"
            with one_broker() as broker:
                place = Place(broker.bootstrap, partitions)
                fill(place, size, directory / "filling")
                if partitions == 8:
                    restores(report, place, size, directory)
                else:
                    failovers(report, place, size, all_cases[:1] if asked.quick else all_cases, directory)
    return report


def main() -> int:
    if sys.argv[1:2] == ["own"]:
        be_owner(sys.argv[2:])
        return 0
    asked = options("failover", "Seconds without answers when an owner ends, and how long a restore takes.")
    try:
        return measure(asked).finish(asked)
    except Different as error:
        print(f"failover: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
