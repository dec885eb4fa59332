"""What a process tells of its readers: metrics, and an alert for each that gets nowhere though there is work."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headwater.environment import KeptTelemetry, System
from headwater.errors import Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.opening import open_log
from headwater.log.port import Batch, Fence, NewRecord, Positions, TopicPartition, TopicSpec
from headwater.readers import reporting
from headwater.readers.loop import ReadingLoop
from headwater.readers.progress import STALLED_S
from headwater.readers.reporting import LOOK_S, Reporting
from headwater.readers.whereabouts import waited_for
from headwater.stores.port import PlacedStore
from headwater.stores.sqlite import SqliteStore
from headwater.testing import PrefixedLog
from headwater.testing.conformance.log.waiting import attempts, fresh
from headwater.testing.places import forget_on_kafka
from headwater.testing.waiting import eventually
from tests.orders import PlaceOrder
from tests.orders import app as orders

TOPIC, GROUP = "order-events", "shop.revenue"
P0 = TopicPartition(TOPIC, 0)
OF_P0 = (("group", GROUP), ("partition", "0"), ("topic", TOPIC))
OF_GROUP = (("group", GROUP),)


class Clock(System):
    """Moved by hand."""

    s = 0.0

    def monotonic_s(self) -> float:
        return self.s


class Handler:
    """Applies nothing. `failing`: raised by `handle`; `left`: partitions that it leaves; `waits` and `idles`: called
    by `handle` and `idle`; `entered` and `release`: makes
    `handle` wait, as a handler that hangs."""

    def __init__(self) -> None:
        self.failing: Exception | None = None
        self.left: dict[int, str] = {}
        self.hangs = False
        self.waits: Callable[[], None] = lambda: None
        self.idles: Callable[[], None] = lambda: None
        self.entered, self.release = threading.Event(), threading.Event()

    @property
    def failures(self) -> dict[int, str]:
        return self.left

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        return dict.fromkeys(partitions, 0)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None: ...

    def idle(self, fence: Fence) -> None:
        self.idles()

    def resumed(self) -> Positions:
        return {}

    def handle(self, batch: Batch, fence: Fence) -> None:
        if self.failing is not None:
            raise self.failing
        self.waits()
        if self.hangs:
            self.wait_for_an_answer_that_does_not_come()
        if self.left:
            batch.reached.clear()

    def wait_for_an_answer_that_does_not_come(self) -> None:
        self.entered.set()
        self.release.wait(100)


@dataclass
class Owner:
    """As far as it is told of."""

    entity: str
    outcomes: dict[str, int] = field(default_factory=dict)
    appended: int = 0
    taking: tuple[int, float] | None = None


class Held:
    """Where records are set aside, as far as the loop looks."""

    def __init__(self) -> None:
        self.pauses: dict[TopicPartition, str] = {}


class Scene:
    """A reader, its clock, and who reports on it."""

    def __init__(
        self, log: MemoryLog, group: str = GROUP, owners: Sequence[Owner] = (), store: str | None = None
    ) -> None:
        self.log, self.handler, self.held = log, Handler(), Held()
        self.told: list[tuple[float, str, bool]] = []
        self.telemetry = KeptTelemetry([lambda name, labels, alert, on: self.told.append((self.clock.s, name, on))])
        self.clock = Clock(self.telemetry)
        self.loop = ReadingLoop(log, group, [TOPIC], self.handler, name=group, held=self.held, environment=self.clock)
        self.reporting = Reporting(log, [self.loop], owners, self.clock, store=store)
        self._member: Any = None

    def turn(self) -> None:
        """One round of the reader, as its own thread would do it."""
        if self._member is None:
            self._member = self.loop.join()
        try:
            self.loop.turn(self._member, 0)
        except Unavailable as error:
            self.loop._note("retrying", error)
            self.loop._forget()
            self._member.close()
            self._member = None

    def pass_s(self, seconds: float, turning: bool = True) -> None:
        """Lets time pass: looks every few seconds, and rounds of the reader between them."""
        end_s = self.clock.s + seconds
        while self.clock.s < end_s:
            self.clock.s = min(end_s, self.clock.s + LOOK_S)
            for _ in range(3 * turning):
                self.turn()
            self.reporting.ask()
            self.reporting.look()

    def times_out(self, after_s: float) -> None:
        """A handler that waits, and is told then that it was in vain."""
        self.pass_s(after_s, turning=False)
        raise Unavailable("the store is locked by another")

    def write(self, *values: bytes) -> None:
        self.log.append([NewRecord(TOPIC, 0, b"1", value) for value in values])

    @property
    def alerts(self) -> dict[str, str]:
        return {name: alert.text for (name, _), alert in self.telemetry.alerts.items()}


@pytest.fixture
def log() -> Iterator[MemoryLog]:
    log = MemoryLog()
    log.create_topics([TopicSpec(TOPIC, 1)])
    yield log
    log.close()


@pytest.fixture
def scene(log: MemoryLog) -> Scene:
    return Scene(log)


def test_a_reader_that_works_is_up_and_has_no_lag(scene: Scene) -> None:
    scene.write(b"1", b"2", b"3")
    scene.pass_s(60)
    gauges, counts = scene.telemetry.gauges, scene.telemetry.counts
    assert gauges[reporting.UP, OF_GROUP] == 1
    assert gauges[reporting.LAG_EVENTS, OF_P0] == 0
    assert gauges[reporting.LAG_S, OF_P0] == 0
    assert counts[reporting.RECORDS, OF_GROUP] == 3
    assert scene.alerts == {}


def test_lag_is_told_in_events_and_in_seconds(scene: Scene) -> None:
    scene.pass_s(9)
    scene.write(b"1", b"2")
    scene.pass_s(3, turning=False)
    scene.write(b"3")
    scene.pass_s(6, turning=False)
    gauges = scene.telemetry.gauges
    assert gauges[reporting.LAG_EVENTS, OF_P0] == 3
    assert gauges[reporting.LAG_S, OF_P0] == 6


def test_the_age_of_what_was_there_before_is_that_of_the_newest_record_handled(scene: Scene) -> None:
    long_ago = scene.clock.now() - timedelta(days=3)
    old = NewRecord(TOPIC, 0, b"1", b"{}", [("hw_recorded", long_ago.isoformat().encode())])
    scene.log.append([old] * 10)
    scene.loop = scene.reporting._watched[0].loop = ReadingLoop(
        scene.log, GROUP, [TOPIC], scene.handler, name=GROUP, environment=scene.clock, batch_records=2
    )
    scene.turn()
    scene.turn()
    scene.pass_s(3, turning=False)
    assert scene.telemetry.gauges[reporting.LAG_EVENTS, OF_P0] == 8
    assert scene.telemetry.gauges[reporting.LAG_S, OF_P0] == pytest.approx(3 * 86_400, abs=60)


def test_a_reader_that_gets_nowhere_says_so_within_30_s_with_the_reason(scene: Scene) -> None:
    scene.pass_s(60)
    scene.write(b"1")
    scene.handler.failing = Unavailable("the store does not answer")
    scene.pass_s(20)
    assert scene.alerts == {}, "it may be over soon"
    scene.pass_s(9)
    assert scene.alerts == {
        reporting.READER_STUCK: f"{GROUP}: its reader has not got on for more than 20 s: "
        "Unavailable: the store does not answer; hw lag says more"
    }
    assert [alert.details for alert in scene.telemetry.alerts.values()] == [None], "the text says it all"
    assert scene.telemetry.gauges[reporting.UP, OF_GROUP] == 0
    scene.handler.failing = None
    scene.pass_s(3)
    assert scene.alerts == {}
    assert scene.telemetry.gauges[reporting.UP, OF_GROUP] == 1


@pytest.mark.parametrize("after_s", [7, 20, 28])
def test_a_store_that_stays_locked_is_one_alert_until_a_batch_is_committed(scene: Scene, after_s: float) -> None:
    scene.pass_s(60)
    scene.write(b"1")
    scene.handler.waits = lambda: scene.times_out(after_s)
    while scene.clock.s < 200:
        scene.turn()
    assert [(name, on) for _, name, on in scene.told] == [(reporting.READER_STUCK, True)]
    assert scene.told[0][0] < 60 + 30
    scene.handler.waits = lambda: None
    scene.pass_s(3)
    assert [(name, on) for _, name, on in scene.told[1:]] == [(reporting.READER_STUCK, False)]


def test_a_store_that_is_away_for_a_reader_without_work_is_one_alert_until_it_is_back(scene: Scene) -> None:
    scene.pass_s(60)
    while scene.clock.s < 200:
        scene.handler.idles = lambda: scene.times_out(21)
        scene.turn()
        scene.handler.idles = lambda: None
        scene.pass_s(3)
    assert [(name, on) for _, name, on in scene.told] == [(reporting.READER_STUCK, True)]
    scene.pass_s(15)
    assert scene.alerts == {}


def told_when_it_waits_for(what: str, scene: Scene, turn: Callable[[], object]) -> str:
    """Has a round of the reader taken on a thread of its own, which waits. Returns what is told of it."""
    thread = threading.Thread(target=turn)
    scene.loop.status.thread = thread
    thread.start()
    eventually(lambda: waited_for(thread.ident or 0, scene.reporting._places) == what, saying=f"it waits for {what}")
    scene.clock.s += STALLED_S + 1
    scene.reporting.look()
    return scene.alerts[reporting.READER_STUCK]


def test_the_handler_that_a_reader_waits_for_comes_first_and_then_where_its_thread_is(scene: Scene) -> None:
    scene.write(b"1")
    scene.turn()
    scene.handler.hangs = True
    try:
        text = told_when_it_waits_for("the handler Handler.handle", scene, scene.turn)
    finally:
        scene.handler.release.set()
    what = "waits for the handler Handler.handle: it is at a batch, for more than 20 s; its thread is in wait ("
    assert text.startswith(f"{GROUP}: its reader {what}")
    assert "wait_for_an_answer_that_does_not_come (test_reporting.py:" in text


def test_the_store_that_a_reader_waits_for_is_told_with_its_address(log: MemoryLog, tmp_path: Path) -> None:
    path = str(tmp_path / "models.db")
    with closing(SqliteStore(path, busy_s=100)) as store:
        assert isinstance(store, PlacedStore)
        scene = Scene(log, store=store.place)
        scene.write(b"1")
        scene.turn()
        scene.handler.waits = lambda: store.bind(log.id)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            text = told_when_it_waits_for(f"the store {path}", scene, scene.turn)
        eventually(lambda: scene.loop.status.batches == 1, saying="it goes on")
    assert text.startswith(f"{GROUP}: its reader waits for the store {path}: it is at a batch, for more than 20 s; ")


def test_the_log_that_a_reader_waits_for_is_told_with_its_address(scene: Scene) -> None:
    scene.pass_s(3)
    text = told_when_it_waits_for("the log memory://", scene, lambda: scene.loop.turn(scene._member, 100))
    scene.write(b"1")
    eventually(lambda: scene.loop.status.batches == 1, saying="it goes on")
    assert text.startswith(f"{GROUP}: its reader waits for the log memory://: it reads, for more than 20 s; ")


def test_a_partition_that_its_owner_leaves_is_told_within_30_s(log: MemoryLog) -> None:
    scene = Scene(log, "order-owners", [Owner("order")])
    labels = (("group", "order-owners"), ("partition", "0"), ("topic", TOPIC))
    scene.pass_s(60)
    scene.handler.left = {0: "BadData: secret"}
    scene.write(b"1")
    scene.pass_s(29)
    assert list(scene.telemetry.alerts) == [(reporting.PARTITION_STALLED, labels)]
    alert = scene.telemetry.alerts[reporting.PARTITION_STALLED, labels]
    assert "order-events/0 has stayed at offset" in alert.text
    assert "secret" not in alert.text
    assert alert.details == "BadData: secret"
    assert scene.telemetry.gauges[reporting.STALLED_SECONDS, labels] > STALLED_S
    scene.handler.left = {}
    scene.write(b"2")
    scene.pass_s(3)
    assert scene.alerts == {}


def test_a_partition_of_a_process_that_is_paused_is_told_by_that_alert(log: MemoryLog) -> None:
    scene = Scene(log, "order-owners", [Owner("order")])
    scene.pass_s(60)
    scene.handler.left = {0: "as much is set aside as may be"}
    scene.held.pauses[P0] = "as much is set aside as may be"
    scene.write(b"1")
    scene.pass_s(60)
    assert scene.loop.status.paused == {0}
    assert scene.alerts == {}


def test_what_others_leave_is_theirs_to_tell(scene: Scene) -> None:
    scene.pass_s(60)
    scene.handler.left = {0: "as much is set aside as may be"}
    scene.write(b"1")
    scene.pass_s(60)
    assert scene.alerts == {}


def test_an_owner_that_is_at_a_command_for_long_says_so_and_where(log: MemoryLog) -> None:
    owner = Owner("order", {"accepted": 3}, 2)
    scene = Scene(log, GROUP, [owner])
    owner.taking = threading.get_ident(), 0.0
    scene.pass_s(21)
    text = scene.alerts[reporting.OWNER_STUCK]
    assert text.startswith("order: commands have been carried out for more than 20 s: ")
    assert "place_of (progress.py:" in text
    assert scene.telemetry.counts[reporting.COMMANDS, (("entity", "order"), ("outcome", "accepted"))] == 3
    assert scene.telemetry.counts[reporting.EVENTS, (("entity", "order"),)] == 2
    owner.taking = None
    scene.pass_s(3)
    assert scene.alerts == {}


def test_a_log_that_does_not_answer_is_told_within_30_s(scene: Scene) -> None:
    scene.pass_s(9)
    for _ in range(9):  # nobody is answered any more: `ask` does not come back
        scene.clock.s += LOOK_S
        scene.reporting.look()
    assert "has not answered for more than 20 s" in scene.alerts[reporting.LOG_SILENT]
    scene.pass_s(3)
    assert reporting.LOG_SILENT not in scene.alerts


def test_a_log_that_is_silent_is_told_also_of_a_process_that_has_lost_its_partitions_to_that(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> dict[Any, Any]:
        raise Unavailable("nobody answers at kafka://h:9092")

    scene.pass_s(9)
    monkeypatch.setattr(scene.log, "ends", silent)
    monkeypatch.setattr(scene.log, "topics", silent)
    for look in range(20):
        if look == 4:
            scene.loop.status.owned = frozenset()
        scene.clock.s += LOOK_S
        scene.turn()
        with pytest.raises(Unavailable):
            scene.reporting.ask()
        scene.reporting.look()
        assert scene.telemetry.gauges[reporting.SILENT_SECONDS, (("log", scene.log.id),)] == (look + 1) * LOOK_S
        assert (reporting.LOG_SILENT in scene.alerts) is ((look + 1) * LOOK_S > STALLED_S)
    assert scene.telemetry.gauges[reporting.UP, OF_GROUP] == 0
    monkeypatch.undo()
    scene.pass_s(3)
    assert scene.alerts == {}
    assert scene.telemetry.gauges[reporting.UP, OF_GROUP] == 1


def test_what_somebody_else_reads_now_is_not_told_here_any_more(scene: Scene) -> None:
    scene.write(b"1")
    scene.pass_s(9)
    assert (reporting.LAG_EVENTS, OF_P0) in scene.telemetry.gauges
    scene.loop.status.owned = frozenset()
    scene.pass_s(3, turning=False)
    assert not [name for name, labels in scene.telemetry.gauges if labels == OF_P0]


def test_when_it_is_stopped_nothing_is_told_of_it_any_more(scene: Scene) -> None:
    scene.write(b"1")
    scene.handler.failing = Unavailable("no")
    scene.pass_s(40)
    assert scene.alerts
    scene.reporting.stop()
    assert scene.telemetry.alerts == {}
    assert scene.telemetry.gauges == {}


@pytest.mark.slow
@pytest.mark.alone
def test_a_reader_whose_handler_hangs_says_so_within_30_s_and_where(log: MemoryLog) -> None:
    """In real time, with the threads that do it; once more where the machine stood still."""
    log.append([NewRecord(TOPIC, 0, b"1", b"{}")])
    for _ in attempts(60, "it is told within 30 s"):
        if told_of_one_that_hangs(log) < 30:
            return


def told_of_one_that_hangs(log: MemoryLog) -> float:
    """After how many seconds it is told of."""
    telemetry, handler = KeptTelemetry(), Handler()
    environment = System(telemetry)
    handler.hangs = True
    loop = ReadingLoop(log, GROUP, [TOPIC], handler, name=GROUP, environment=environment)
    report = Reporting(log, [loop], [], environment)
    loop.start()
    report.start()
    try:
        assert handler.entered.wait(60)
        began_s = time.monotonic()
        eventually(lambda: bool(telemetry.alerts))
        took_s = time.monotonic() - began_s
        ((name, labels),) = telemetry.alerts
        assert (name, labels) == (reporting.READER_STUCK, OF_GROUP)
        text = telemetry.alerts[name, labels].text
        assert "is at a batch, for more than 20 s; its thread is in" in text
        assert "wait_for_an_answer_that_does_not_come (test_reporting.py:" in text
        handler.release.set()
        eventually(lambda: not telemetry.alerts, saying="it is over when the handler goes on")
        return took_s
    finally:
        handler.release.set()
        loop.stop()
        report.stop()


@pytest.mark.kafka
def test_what_is_behind_everything_that_was_written_on_kafka_has_no_lag(kafka_broker: str, tmp_path: Path) -> None:
    """Markers and aborted records are no lag, and no work that nobody does."""
    telemetry, prefix = KeptTelemetry(), fresh("") + "-"
    with ExitStack() as opened:
        opened.callback(forget_on_kafka, kafka_broker, prefix)
        log = opened.enter_context(closing(open_log(f"{kafka_broker}?index_directory={tmp_path}")))
        prefixed = PrefixedLog(log, prefix)
        shop = opened.enter_context(orders.run(prefixed, store="memory://", environment=System(telemetry)))
        for number in range(20):
            shop.send(PlaceOrder(str(number), Decimal(1)))

        def lags() -> list[float]:
            return [value for (name, _), value in telemetry.gauges.items() if name == reporting.LAG_EVENTS]

        partitions = 4 * (3 + 2 + 2)  # commands of each owner, what Billing listens to, and both tables
        carried_out = reporting.COMMANDS, (("entity", "order"), ("outcome", "accepted"))
        eventually(lambda: telemetry.counts.get(carried_out) == 20, saying="all commands are counted")
        eventually(lambda: len(lags()) == partitions and not any(lags()), saying="all are told and have no lag")
    assert telemetry.alerts == {}
