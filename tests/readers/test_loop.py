"""The loop itself: what it does with each answer of a log and of a handler."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headwater.environment import KeptTelemetry, uuid7
from headwater.errors import BadData, Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.port import (
    Aborted,
    Batch,
    Fence,
    Log,
    NewRecord,
    Positions,
    TopicPartition,
    TopicSpec,
)
from headwater.log.sqlite import SqliteLog
from headwater.readers.loop import FIRST_PAUSE_S, ReadingLoop
from headwater.readers.status import Status
from headwater.testing.waiting import eventually

TOPIC, GROUP = "order-events", "readers"
P0 = TopicPartition(TOPIC, 0)


class Clock:
    """An environment whose time is moved by hand."""

    telemetry = KeptTelemetry()
    tracing = None

    def __init__(self) -> None:
        self.s = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.s, UTC)

    def monotonic_s(self) -> float:
        return self.s

    def new_id(self) -> str:
        self.s += 1e-6
        return uuid7(int(self.s * 1000), bytes(10))


class Handler:
    """Commits the positions of what it is given. `calls`: what it was asked; `seen`: the values it committed;
    `failing`: raised by the next calls of `handle`, before anything is committed."""

    def __init__(self, log: Log) -> None:
        self.log, self.writer = log, log.writer("handler")
        self.calls: list[str] = []
        self.seen: list[bytes | None] = []
        self.failing: list[BaseException] = []
        self.failures: dict[int, str] = {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        self.calls.append("assigned")
        committed = self.log.committed(GROUP, partitions)
        return {tp: committed.get(tp, 0) for tp in partitions}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.calls.append("revoked")

    def idle(self, fence: Fence) -> None: ...

    def resumed(self) -> Positions:
        return {}

    def handle(self, batch: Batch, fence: Fence) -> None:
        self.calls.append("handle")
        if self.failing:
            raise self.failing.pop(0)
        self.writer.transact(lambda tx: tx.positions(GROUP, batch.reached, fence))
        self.seen += [record.value for record in batch.records]


def loop_of(handler: Handler) -> ReadingLoop:
    return ReadingLoop(handler.log, GROUP, [TOPIC], handler, name="reader")


def write(log: Log, *values: bytes) -> None:
    log.append([NewRecord(TOPIC, 0, None, value) for value in values])


def make_topic(log: Log) -> Log:
    log.create_topics([TopicSpec(TOPIC, 1)])
    return log


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> Log:
    return make_topic(MemoryLog(environment=clock))


@pytest.fixture
def handler(log: Log) -> Handler:
    return Handler(log)


@contextmanager
def running(handler: Handler) -> Iterator[ReadingLoop]:
    loop = loop_of(handler)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def test_an_aborted_batch_is_done_again_from_where_the_handler_says(handler: Handler) -> None:
    loop = loop_of(handler)
    member = loop.join()
    write(handler.log, b"1", b"2")
    handler.failing = [Aborted("no reason")]
    while loop.turn(member, 0):
        pass
    assert handler.calls == ["assigned", "handle", "revoked", "assigned", "handle"]
    assert handler.seen == [b"1", b"2"]
    assert loop.status.reached == handler.log.ends([P0])
    assert loop.status.last_failure == "no reason"


def test_after_fenced_all_is_dropped_until_the_next_assignment(handler: Handler, clock: Clock) -> None:
    class Overtaken(Handler):
        def handle(self, batch: Batch, fence: Fence) -> None:
            if self.calls == ["assigned"]:
                clock.s += 60
                self.log.member(GROUP, [TOPIC], name="other").read(0, 0)
            super().handle(batch, fence)

    handler = Overtaken(handler.log)
    loop = loop_of(handler)
    member = loop.join()
    write(handler.log, b"1")
    loop.turn(member, 0)
    assert loop.turn(member, 0)
    assert handler.calls == ["assigned", "handle", "revoked"]
    assert handler.seen == []
    assert loop.status.reached == {P0: 0}
    clock.s += 60  # the other one is silent
    while loop.turn(member, 0):
        pass
    assert handler.calls[3:] == ["revoked", "assigned", "handle"]
    assert handler.seen == [b"1"]


def test_what_was_lost_and_taken_again_is_forgotten_first(handler: Handler, clock: Clock) -> None:
    loop = loop_of(handler)
    member = loop.join()
    loop.turn(member, 0)
    clock.s += 60
    other = handler.log.member(GROUP, [TOPIC], name="other")
    other.read(0, 0)
    other.close()
    loop.turn(member, 0)
    assert handler.calls == ["assigned", "revoked", "assigned"]
    assert loop.status.owned == {P0}


def test_nothing_is_read_while_a_handler_works(handler: Handler) -> None:
    read: list[int] = []

    class Slow(Handler):
        def handle(self, batch: Batch, fence: Fence) -> None:
            if not self.seen:
                assert isinstance(self.log, MemoryLog)
                before = self.log.records_read
                write(self.log, b"2")
                other = self.log.again().reader()
                other.assign({P0: 0})
                eventually(lambda: other.read(10, 0.1).records)
                read.append(self.log.records_read - before)
            super().handle(batch, fence)

    write(handler.log, b"1")
    handler = Slow(handler.log)
    with running(handler):
        eventually(lambda: handler.seen == [b"1", b"2"])
    assert read == [0]


def test_stopping_gives_back_what_is_owned(handler: Handler) -> None:
    with running(handler) as loop:
        eventually(lambda: loop.status.owned == {P0})
    assert (loop.status.state, loop.status.alive, loop.status.owned) == ("stopped", False, frozenset())
    assert handler.calls == ["assigned", "revoked"]
    assert [group.members for group in handler.log.groups([GROUP])] in ([], [{}])


def test_partitions_that_a_handler_could_not_take_in_are_given_back_before_they_come_again(
    handler: Handler, clock: Clock
) -> None:
    write(handler.log, b"1")
    taken = handler.assigned

    def unavailable_once(partitions: Sequence[TopicPartition]) -> Positions:
        handler.assigned = taken  # type: ignore[method-assign] # from the second time on
        taken(partitions)
        raise Unavailable("the store is down")

    handler.assigned = unavailable_once  # type: ignore[method-assign] # it is half done when the store goes
    with running(handler):
        eventually(lambda: handler.seen == [b"1"])
    assert handler.calls == ["assigned", "revoked", "assigned", "handle", "revoked"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
        (BadData("nonsense", topic=TOPIC, partition=0, offset=0), f"BadData: nonsense (topic {TOPIC}, "),
    ],
)
def test_another_error_stops_the_loop_which_keeps_its_place_and_says_why(
    handler: Handler, error: Exception, reason: str
) -> None:
    write(handler.log, b"1")
    handler.failing = [error]
    with running(handler) as loop:
        eventually(lambda: not loop.status.alive)
        assert loop.status.state == "failed"
        assert (loop.status.last_failure or "").startswith(reason)
    assert handler.log.committed(GROUP, [P0]) == {}
    assert handler.calls == ["assigned", "handle", "revoked"]
    assert [group.members for group in handler.log.groups([GROUP])] in ([], [{}])


def test_pauses_grow_until_a_batch_succeeds(handler: Handler) -> None:
    pauses: list[float] = []

    class Patient(Handler):
        def handle(self, batch: Batch, fence: Fence) -> None:
            pauses.append(loop._pause_s)
            super().handle(batch, fence)

    handler = Patient(handler.log)
    handler.failing = [Unavailable(f"locked {n}") for n in range(3)]
    with running(handler) as loop:
        write(handler.log, b"1")
        eventually(lambda: handler.seen == [b"1"])
        assert loop.status.last_failure == "Unavailable: locked 2"
        handler.failing = [Unavailable("locked again")]
        write(handler.log, b"2")
        eventually(lambda: handler.seen == [b"1", b"2"])
        assert loop.status.state == "running"
    assert pauses == [FIRST_PAUSE_S * n for n in (1, 2, 4, 8, 1, 2)]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteLog]:
    """A log whose members soon have to write, and which soon loses its patience."""
    log = SqliteLog(tmp_path / "log.db", session_timeout_s=0.5, patience_s=0.02)
    yield log
    log.close()


def test_a_log_that_is_locked_also_when_it_is_left_is_waited_out(file: SqliteLog, tmp_path: Path) -> None:
    handler = Handler(make_topic(file))
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    with running(handler) as loop:
        eventually(lambda: loop.status.owned)
        other.execute("BEGIN IMMEDIATE")
        eventually(lambda: handler.calls == ["assigned", "revoked"])
        eventually(lambda: loop._pause_s > 2 * FIRST_PAUSE_S)
        assert (loop.status.state, loop.status.alive) == ("retrying", True)
        assert "lock" in (loop.status.last_failure or "")
        other.execute("ROLLBACK")
        write(file, b"1")
        eventually(lambda: handler.seen == [b"1"])
        assert loop.status.state == "running"
    other.close()


def test_a_handler_that_cannot_forget_does_not_end_the_loop(handler: Handler) -> None:
    class Stubborn(Handler):
        def revoked(self, partitions: Sequence[TopicPartition]) -> None:
            super().revoked(partitions)
            if self.calls.count("revoked") == 1:
                raise Unavailable("nothing can be written")

    handler = Stubborn(handler.log)
    handler.failing = [Unavailable("nothing can be written")]
    write(handler.log, b"1")
    with running(handler) as loop:
        eventually(lambda: handler.seen == [b"1"])
        assert loop.status.owned == {P0}


def test_partitions_that_a_handler_leaves_are_in_the_status_while_the_others_go_on(handler: Handler) -> None:
    class Picky(Handler):
        def handle(self, batch: Batch, fence: Fence) -> None:
            super().handle(batch, fence)
            self.failures[0] = "nonsense at offset 0"

        def revoked(self, partitions: Sequence[TopicPartition]) -> None:
            super().revoked(partitions)
            self.failures.clear()

    handler = Picky(handler.log)
    with running(handler) as loop:
        write(handler.log, b"1")
        eventually(lambda: loop.status.stopped == {0: "nonsense at offset 0"})
        assert loop.status.alive
        handler.failures.clear()  # somebody else has mended it
        eventually(lambda: loop.status.stopped == {})
        write(handler.log, b"2")
        eventually(lambda: loop.status.stopped)
    assert loop.status.stopped == {}


def test_who_sees_that_a_reader_has_failed_finds_out_why(handler: Handler) -> None:
    seen: list[tuple[str | None, str | None, int]] = []

    class Watched(Status):
        def __setattr__(self, name: str, value: object) -> None:
            if value == "failed":  # from now on others may look
                seen.append((self.last_failure, self.failed_at, self.failures))
            super().__setattr__(name, value)

    loop = loop_of(handler)
    loop.status = Watched("reader")
    handler.failing = [BadData("it is no JSON", topic=TOPIC, partition=0, offset=0)]
    write(handler.log, b"1")
    loop.start()
    eventually(lambda: not loop.status.alive)
    loop.stop()
    [(last_failure, failed_at, failures)] = seen
    assert "it is no JSON" in str(last_failure)
    assert str(failed_at).startswith("BadData")
    assert failures == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_status_does_not_outlive_its_thread(handler: Handler) -> None:
    write(handler.log, b"1")
    handler.failing = [SystemExit()]
    with running(handler) as loop:
        assert loop.status.thread is not None
        loop.status.thread.join(60)
        assert not loop.status.alive
