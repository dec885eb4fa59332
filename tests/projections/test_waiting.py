"""`after=` waits as long as it helps, and says why when it does not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from headwater.environment import SYSTEM, KeptTelemetry
from headwater.errors import NotYet
from headwater.failures import stop
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, TopicPartition, Transaction
from headwater.log.sqlite import SqliteLog
from headwater.projections.waiting import BUSY_S, DEAD_S, MOST_COUNTED, health, lives, wait_until
from headwater.readers.loop import ReadingLoop, Status
from headwater.stores.port import RunnerNote
from headwater.stores.sqlite import SqliteStore
from tests.projections.trade import TOPIC, OpenTrade, Reading, Revenue, append, make_log, placed, raw, record
from tests.timing import in_time

P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
HERE = f"{socket.gethostname()}/{os.getpid()}/w"


@pytest.fixture
def reading() -> Reading:
    return Reading(make_log(2), Revenue)


@pytest.fixture
def loop(reading: Reading) -> Iterator[ReadingLoop]:
    loop = reading.runner.loop()
    loop.start()
    yield loop
    loop.stop()


def wait(reading: Reading, wanted: dict[TopicPartition, int], timeout_s: float, loop: ReadingLoop | None) -> None:
    wait_until(
        reading.store,
        reading.model.runner,
        wanted,
        timeout_s,
        log=reading.log,
        title=reading.model.title,
        progress=reading.runner.progress if loop is not None else None,
        status=loop.status if loop is not None else None,
    )


def test_what_is_there_already_is_not_waited_for(reading: Reading) -> None:
    wait(reading, {}, 0, None)
    wait(reading, {P0: 0}, 0, None)
    append(reading.log, [placed("t1")])
    reading.read()
    wait(reading, reading.log.ends([P0]), 0, None)


def test_a_runner_of_this_process_wakes_who_waits(reading: Reading, loop: ReadingLoop) -> None:
    begun = threading.Event()

    def write_when_asked() -> None:
        begun.set()
        append(reading.log, [placed("t1")], partition=1)

    threading.Timer(0.05, write_when_asked).start()
    wait(reading, {P1: 1}, 60, loop)
    assert begun.is_set()
    assert reading.positions[P1] >= 1


def test_a_runner_elsewhere_is_looked_at(reading: Reading, loop: ReadingLoop) -> None:
    append(reading.log, [placed("t1")])
    wait(reading, {P0: 1}, 60, None)


def test_too_late_says_how_far_behind_it_is(reading: Reading) -> None:
    append(reading.log, [placed(f"t{n}") for n in range(5)])
    reading.runner.handle(reading.reader.read(2, 1.0), None)
    stands = reading.positions[P0]
    with pytest.raises(NotYet) as caught:
        wait(reading, {P0: 4, P1: 0}, 0.02, None)
    error = caught.value
    assert error.read_model == "revenue"
    assert error.wanted == {"trade-events/0": 4, "trade-events/1": 0}
    assert error.actual == {"trade-events/0": stands, "trade-events/1": 0}
    assert error.lag_events == 4 - stands, "up to what is wanted, not to the end"
    assert error.lag_s is not None
    assert 0 <= error.lag_s < 60
    assert (error.runner, error.last_failure) == ("running", None)


def test_one_event_behind_is_one_event(reading: Reading) -> None:
    append(reading.log, [placed("t1")])
    with pytest.raises(NotYet, match=r": 1 event, .* behind"):
        wait(reading, {P0: 1}, 0, None)


def test_a_position_past_the_end_is_no_lag(reading: Reading) -> None:
    with pytest.raises(NotYet) as caught:
        wait(reading, {P0: 7}, 0, None)
    assert (caught.value.lag_events, caught.value.lag_s) == (0, None)


def written(records: list[NewRecord], transaction: Transaction) -> None:
    transaction.write(records)


def test_gaps_of_a_log_are_no_events(tmp_path: Path) -> None:
    log = make_log(2, SqliteLog(tmp_path / "log.db"))
    reading = Reading(log, Revenue)
    writer = log.writer("owner")
    for n in range(10):  # each leaves a marker in each partition
        records = [record(placed(f"t{n}"), n, partition) for partition in (0, 1)]
        writer.transact(partial(written, records))
    reading.runner.handle(reading.reader.read(3, 1.0), None)
    with pytest.raises(NotYet, match=r": 17 events, .* behind") as caught:
        wait(reading, log.ends([P0, P1]), 0, None)
    assert (caught.value.lag_events, caught.value.lag_counted) == (17, True)
    log.close()


def test_more_events_than_anybody_wants_to_count_are_at_least_so_many() -> None:
    reading = Reading(make_log(3), Revenue)
    for partition in range(3):
        append(reading.log, [placed(f"t{n}") for n in range(MOST_COUNTED)], partition)
    wanted = {TopicPartition(TOPIC, p): MOST_COUNTED for p in range(3)}
    before = reading.log.records_read
    with pytest.raises(NotYet, match=f": at least {MOST_COUNTED + 2:,} events, .* behind") as caught:
        wait(reading, wanted, 0, None)
    assert not caught.value.lag_counted
    assert reading.log.records_read - before == MOST_COUNTED + 2, "the age of the oldest is looked for in all"


def at_once(reading: Reading, wanted: dict[TopicPartition, int], loop: ReadingLoop | None = None) -> NotYet:
    """The error of a wait of a minute, which must not take one."""
    errors: list[NotYet] = []

    def ask() -> None:
        with pytest.raises(NotYet) as caught:
            wait(reading, wanted, 60, loop)
        errors.append(caught.value)

    in_time(30, ask)
    return errors[-1]


def test_without_a_runner_the_answer_comes_at_once(reading: Reading) -> None:
    append(reading.log, [placed("t1")])
    reading.runner.close()
    assert at_once(reading, {P0: 1}).runner == "none"


def test_a_failed_runner_answers_at_once_with_its_failure() -> None:
    log = make_log()
    log.append([raw(b"no JSON")])
    reading = Reading(log, OpenTrade, on_failure=stop())
    loop = reading.runner.loop()
    loop.start()
    for how in (loop, None):  # asked in its own process, and from another one
        error = at_once(reading, {P0: 1}, how)
        assert error.runner == "failed"
        assert error.last_failure is not None
        assert "trade-events, partition 0, offset 0" in error.last_failure
    loop.stop()
    reading.runner.close()
    assert at_once(reading, {P0: 1}).runner == "failed", "the failure stays to be read"


def test_a_held_runner_answers_at_once(reading: Reading) -> None:
    reading.runner.close()
    reading.store.note(reading.model.runner, RunnerNote("elsewhere/1/w", "held", "key t1 is held", SYSTEM.now()))
    error = at_once(reading, {P0: 1})
    assert (error.runner, error.last_failure) == ("held", "key t1 is held")


def test_a_runner_that_was_killed_answers_at_once(tmp_path: Path) -> None:
    reading = Reading(make_log(log=MemoryLog()), Revenue, store=SqliteStore(tmp_path / "views.db"))
    reading.runner.close()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    note = RunnerNote(f"{socket.gethostname()}/{child.pid}/w", "running", None, SYSTEM.now())
    reading.store.note(reading.model.runner, note)
    with pytest.raises(NotYet) as caught:
        wait(reading, {P0: 1}, 0, None)
    assert caught.value.runner == "running"
    child.kill()
    child.wait()
    assert at_once(reading, {P0: 1}).runner == "none"


NOW = datetime(2024, 4, 10, tzinfo=UTC)


class Frozen:
    """The clock at NOW."""

    telemetry = KeptTelemetry()
    tracing = None

    def now(self) -> datetime:
        return NOW

    def monotonic_s(self) -> float:
        return 0.0

    def new_id(self) -> str:
        return "id"


def test_another_machine_is_believed_for_as_long_as_its_heartbeat_is_fresh() -> None:
    def note(age_s: float) -> RunnerNote:
        return RunnerNote("far away/1/w", "running", None, NOW - timedelta(seconds=age_s))

    assert lives(note(DEAD_S - 1), Frozen())
    assert not lives(note(DEAD_S + 1), Frozen())


def test_a_process_of_this_machine_that_lives_is_believed_through_a_long_batch() -> None:
    def note(age_s: float) -> RunnerNote:
        return RunnerNote(HERE, "running", None, NOW - timedelta(seconds=age_s))

    assert lives(note(DEAD_S + 1), Frozen())
    assert not lives(note(BUSY_S + 1), Frozen()), "its number may be that of another process now"


@pytest.mark.parametrize(
    ("states", "status", "expected"),
    [
        ([], None, "none"),
        (["running"], None, "running"),
        (["failed", "running"], None, "running"),
        (["failed", "held"], None, "held"),
        (["stopped"], None, "none"),
        ([], "starting", "running"),
        (["failed"], "running", "running"),
        ([], "failed", "failed"),
        (["running"], "failed", "running"),
        ([], "stopped", "none"),
    ],
)
def test_one_living_worker_is_enough(states: list[str], status: str | None, expected: str) -> None:
    notes = [RunnerNote(HERE, state, None, NOW) for state in states]  # type: ignore[arg-type] # from the table above
    own = None if status is None else Status("r", state=status)  # type: ignore[arg-type] # from the table above
    assert health(notes, own, Frozen())[0] == expected
