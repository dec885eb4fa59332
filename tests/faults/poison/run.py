"""The run: write, read under kills, compare; then the bug is mended, all dead letters are worked off, compare again.

Conservation: every record that was read is applied, a dead letter, or waits behind one; none is two of these.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headwater.environment import SYSTEM
from headwater.errors import Unavailable
from headwater.failures.held import Action, tables_of
from headwater.failures.letters import deadletters_topic, read_letter
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition, TopicSpec
from headwater.operations.deadletters import DeadLetters, Selection
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.readers.spans import batches_between
from headwater.stores.opening import open_store
from headwater.stores.port import Store
from headwater.testing.brokers import start_brokers
from headwater.testing.postgres import PostgresServer, start_postgres
from tests.faults.poison.ledger import MENDED, PARTITIONS, TOPIC, Ledger, Written, draw

ROOT = Path(__file__).resolve().parents[3]
RUNNERS = 2
TPS = [TopicPartition(TOPIC, p) for p in range(PARTITIONS)]
[MODEL] = read_models_of("bank", [Ledger])
TABLES = tables_of(MODEL.runner)
PATIENCE_S = 900.0


@dataclass
class Findings:
    """What a run came to. Arguments: events; poison; kills: of runners, of the server; read_s: how long reading took;
    applied, dead, waiting: before the bug was mended; retried, discarded: afterwards; published: dead letters in the
    topic; violations."""

    events: int = 0
    poison: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    read_s: float = 0.0
    applied: int = 0
    dead: int = 0
    waiting: int = 0
    retried: int = 0
    discarded: int = 0
    published: int = 0
    violations: list[str] = field(default_factory=list)

    def same(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.violations.append(f"{what}: {str(found)[:300]}, and {str(expected)[:300]} is right")

    def table(self) -> str:
        """As Markdown."""
        rows: list[tuple[str, object]] = [
            ("events, of which poison", f"{self.events:,}, {self.poison}"),
            ("runners killed", self.kills["runner"]),
            ("server killed", self.kills["server"]),
            ("read in seconds, kills included", f"{self.read_s:.0f}"),
            ("applied", f"{self.applied:,}"),
            ("dead letters", self.dead),
            ("waiting behind them", self.waiting),
            ("read and neither", self.events - self.applied - self.dead - self.waiting),
            ("after the bug was mended: retried", self.retried),
            ("discarded, since nobody can read them", self.discarded),
            ("records in the dead-letter topic, each once", self.published),
            ("violations", len(self.violations)),
        ]
        return "\n".join(["| what | how many |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


class Runners:
    """Processes that maintain the read model. Arguments: log, store: addresses; environment: theirs."""

    def __init__(self, log: str, store: str, environment: dict[str, str]) -> None:
        self._arguments, self._environment = [log, store], environment
        self.children = [self._start() for _ in range(RUNNERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.poison.maintain", *self._arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=self._environment,
        )

    def kill(self, number: int) -> None:
        """And another one takes its place."""
        end(self.children[number])
        self.children[number] = self._start()

    def tend(self) -> None:
        """Starts those again that ended: one that starts while the server is down says so and ends."""
        for number, child in enumerate(self.children):
            if child.poll() is not None:
                self.kill(number)

    def close(self) -> None:
        for child in self.children:
            end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert child.stdin is not None
    child.stdin.close()


@contextmanager
def killing(
    runners: Runners, server: PostgresServer, store: Store, chance: random.Random, every_s: float, kills: Counter[str]
) -> Iterator[None]:
    """Kills one or the other, again and again, but not before something was done since the last time: on a slow machine
    a runner is seconds from its start to its first batch, and by the clock alone none would get that far."""
    over = threading.Event()
    failures: list[BaseException] = []

    def strike() -> None:
        next_s, seen = time.monotonic() + every_s, done_so_far(store)
        try:
            while not over.wait(0.2):
                runners.tend()
                if time.monotonic() < next_s or (done := done_so_far(store)) in (seen, None):
                    continue
                next_s, seen = time.monotonic() + chance.uniform(0.5, 1.5) * every_s, done
                if chance.random() < 0.6:
                    runners.kill(chance.randrange(RUNNERS))
                    kills["runner"] += 1
                else:
                    server.kill()
                    server.start()
                    kills["server"] += 1
        except BaseException as error:  # noqa: BLE001 -- told to who waits for this thread
            failures.append(error)

    thread = threading.Thread(target=strike, name="killing")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if failures:
            raise failures[0]


def done_so_far(store: Store) -> tuple[Mapping[TopicPartition, int], int] | None:
    """How far the runners are: positions, and what was carried out. None: the server is not there."""
    try:
        return store.positions(MODEL.runner), len(store.rows(TABLES.audit))
    except Unavailable:
        return None


def wait_for(done: Callable[[], bool], what: str) -> None:
    """Looks until it is so; the server may be down meanwhile. Raises: AssertionError."""
    pause, deadline_s = threading.Event(), time.monotonic() + PATIENCE_S
    while True:
        try:
            if done():
                return
        except Unavailable:
            pass
        assert time.monotonic() < deadline_s, what
        pause.wait(0.1)


def one_run(directory: Path, cache: Path, seed: str, events: int, poison: int, every_s: float) -> Findings:
    """Arguments: every_s: between two kills. Raises: Unavailable: there is no broker or no PostgreSQL here."""
    chance, written, findings = random.Random(seed), draw(seed, events, poison), Findings(events, poison)
    with ExitStack() as stack:
        cluster = start_brokers(1, directory / "brokers", cache=cache)
        stack.callback(cluster.delete)
        server = start_postgres()
        stack.callback(server.delete)
        url = f"{cluster.url}?session_timeout_s=3"
        log = stack.enter_context(closing(open_log(url)))
        write(log, written)
        store = stack.enter_context(closing(open_store(server.url)))
        environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "HEADWATER_CACHE": str(cache)}
        runners = stack.enter_context(closing(Runners(url, server.url, environment)))
        begun_s = time.monotonic()
        with killing(runners, server, store, chance, every_s, findings.kills):
            wait_for(lambda: store.positions(MODEL.runner) == log.ends(TPS), "all is read")
        findings.read_s = time.monotonic() - begun_s
        compare(findings, written, store)
        wait_for(lambda: all(row.published for row in store.rows(TABLES.held) if row.failed), "dead letters are told")
        runners.close()
        mended = stack.enter_context(closing(Runners(url, server.url, environment | {MENDED: "1"})))
        with killing(mended, server, store, chance, every_s, findings.kills):
            work_off(findings, store)
        compare_mended(findings, written, log, store)
    return findings


def write(log: Log, written: Written) -> None:
    log.create_topics([TopicSpec(TOPIC, PARTITIONS)])
    portion = []
    for record in written.records():
        portion.append(record)
        if len(portion) == 20_000:
            log.append(portion)
            portion = []
    log.append(portion)


def rows_of(store: Store) -> tuple[dict[str, tuple[int, int, int]], list[str]]:
    """The rows, and the accounts whose order was not kept."""
    rows = store.rows(table_of(Ledger))
    found = {row.account: (row.events, row.cents, row.last) for row in rows}
    return found, [row.account for row in rows if row.disordered]


def compare(findings: Findings, written: Written, store: Store) -> None:
    """Everything was read, and nothing is mended yet."""
    found, disordered = rows_of(store)
    held = store.rows(TABLES.held)
    findings.applied = sum(events for events, _, _ in found.values())
    findings.dead = sum(row.failed for row in held)
    findings.waiting = len(held) - findings.dead
    findings.same("rows", found, written.fold(mended=False))
    findings.same("accounts whose order was not kept", disordered, [])
    findings.same("applied, dead and waiting", findings.applied + len(held), findings.events)
    findings.same("accounts with a dead letter", findings.dead, len(written.first_poison()))


def work_off(findings: Findings, store: Store) -> None:
    """Retries what can be read and discards the rest, until nothing is held."""
    desk = DeadLetters.of_models(store, [MODEL], SYSTEM)

    def step() -> bool:
        letters = desk.letters(Selection())
        asked = []
        for letter in letters:
            action: Action = "discard" if letter.row.stage == "decode" else "retry"
            asked.append(desk.ask(letter, action, who="user:test", reason="a test"))
        wait_for(lambda: all(store.row(TABLES.audit, (one.id,)) is not None for one in asked), "it is carried out")
        return not letters and not store.rows(TABLES.held)

    wait_for(step, "nothing is held")
    steps = Counter(line.step for line in store.rows(TABLES.audit))
    findings.retried, findings.discarded = steps["retried"], steps["discarded"]


def compare_mended(findings: Findings, written: Written, log: Log, store: Store) -> None:
    found, disordered = rows_of(store)
    findings.same("rows after the bug was mended", found, written.fold(mended=True))
    findings.same("accounts whose order was not kept then", disordered, [])
    findings.same("discarded", findings.discarded, len(written.unreadable))
    topic = deadletters_topic(MODEL.runner)
    places = [TopicPartition(topic, p) for p in range(log.topics([topic])[topic].partitions)]
    ends = log.ends(places)
    told: Counter[tuple[int, int]] = Counter()
    for batch in batches_between(log, dict.fromkeys(places, 0), ends, "reading dead letters", SYSTEM):
        for letter in map(read_letter, batch.records):
            assert letter is not None
            assert letter.partition is not None
            assert letter.offset is not None
            told[letter.partition, letter.offset] += 1
    findings.published = len(told)
    findings.same("dead letters that were told twice", [place for place, count in told.items() if count > 1], [])
