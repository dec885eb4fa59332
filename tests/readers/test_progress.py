"""Whether a reader gets on: what is made of its status, in a time that is moved by hand."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from headwater.log.port import TopicPartition
from headwater.readers.loop import Status
from headwater.readers.progress import STALLED_S, Mark, Stuck, at_the_end, mark, place_of, standing, stuck
from headwater.testing.waiting import eventually

P0, P1 = TopicPartition("order-events", 0), TopicPartition("order-events", 1)


class Reader:
    """A reader that is looked at: its status, and what was made of it."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.mark: Mark | None = None

    def at(self, now_s: float, *, done: bool = True) -> Stuck | None:
        self.mark = mark(self.mark, self.status, done, now_s)
        return stuck(self.status, self.mark, now_s)

    def fails_at(self, now_s: float) -> Stuck | None:
        self.status.failures += 1
        self.status.step_s = now_s
        return self.at(now_s, done=False)

    def rounds_at(self, now_s: float, *, done: bool = True) -> Stuck | None:
        self.status.rounds += 1
        self.status.step_s = now_s
        return self.at(now_s, done=done)


def test_a_reader_that_handles_batches_gets_on_whatever_fails_between_them() -> None:
    reader = Reader(Status("r", state="retrying"))
    for now_s in range(0, 60, 3):
        assert reader.status.batches == now_s // 3
        assert reader.fails_at(float(now_s)) is None
        reader.status.batches += 1


def test_an_idle_reader_gets_on() -> None:
    reader = Reader(Status("r", state="running", step="reads"))
    assert [reader.rounds_at(now_s) for now_s in (0.0, 50.0, 100.0)] == [None] * 3


def test_one_that_fails_after_it_was_idle_for_long_is_not_stuck_at_once() -> None:
    reader = Reader(Status("r", state="running", step="reads", failed_at="Unavailable: no"))
    reader.rounds_at(0.0)
    reader.rounds_at(100.0)
    assert reader.fails_at(103.0) is None
    assert reader.fails_at(120.0) is None
    assert reader.fails_at(120.1) is not None


def test_one_that_fails_in_each_round_is_stuck_with_the_reason_and_not_the_words_of_data() -> None:
    reader = Reader(Status("r", state="running", last_failure="Failed: secret", failed_at="Failed at offset 7"))
    for now_s in range(0, 30, 3):
        found = reader.fails_at(float(now_s))
        assert (found is not None) is (now_s > STALLED_S)
    assert found is not None
    assert found.text == "has not got on for more than 20 s: Failed at offset 7"
    assert found.details == "Failed: secret"


def test_it_is_stuck_since_it_got_on_last_and_not_since_its_first_failure() -> None:
    reader = Reader(Status("r", state="running", step="is at a batch", failed_at="Unavailable: locked for 20 s"))
    for now_s in (3.0, 9.0, 18.0):
        assert reader.at(now_s, done=False) is None
    found = reader.fails_at(20.1)
    assert found is not None
    assert found.text == "has not got on for more than 20 s: Unavailable: locked for 20 s"


def test_it_stays_stuck_whatever_it_tries_until_a_batch_is_committed() -> None:
    reader = Reader(Status("r", state="running", step="is at a batch", failed_at="Unavailable: no"))
    assert reader.at(20.1, done=False) is not None
    for now_s in range(21, 99, 3):
        tried = reader.fails_at if now_s % 2 else reader.rounds_at
        assert tried(float(now_s)) is not None
    reader.status.batches += 1
    assert reader.at(100.0, done=False) is None


def test_one_that_has_nothing_to_read_is_stuck_until_its_rounds_have_come_to_their_end_for_a_while() -> None:
    reader = Reader(Status("r", state="running", step="is between batches", failed_at="Unavailable: no"))
    assert reader.at(20.1) is not None
    assert reader.rounds_at(23.0) is not None, "it may not have asked for what is away"
    assert reader.fails_at(26.0) is not None
    assert [reader.rounds_at(now_s) is None for now_s in (29.0, 32.0, 35.0, 36.0)] == [False, False, False, True]


def test_a_batch_under_way_between_two_failures_is_no_success() -> None:
    reader = Reader(Status("r", state="retrying", failures=1, failed_at="Unavailable: no"))
    reader.at(0.0, done=False)
    reader.status.state, reader.status.step = "running", "is at a batch"
    reader.at(3.0, done=False)
    reader.at(6.0, done=False)
    assert reader.fails_at(20.1) is not None


def test_a_batch_under_way_is_no_failure_either() -> None:
    reader = Reader(Status("r", state="running", step="is at a batch"))
    assert [reader.at(now_s, done=False) for now_s in (0.0, 10.0, STALLED_S)] == [None] * 3


@pytest.mark.parametrize("step", ["is at a batch", "is between batches", "is given partitions", "joins its group"])
def test_one_that_is_at_one_step_for_long_is_stuck_there(step: str) -> None:
    reader = Reader(Status("r", state="running", step=step, step_s=100.0))  # type: ignore[arg-type] # from the list above
    assert reader.at(100.0 + STALLED_S) is None
    found = reader.at(100.1 + STALLED_S)
    assert found is not None
    assert found.text == f"{step}, for more than 20 s"


def test_one_that_has_ended_by_a_failure_is_stuck_at_once_and_one_that_was_stopped_is_not() -> None:
    reader = Reader(Status("r", state="failed", last_failure="secret", failed_at="BadData at offset 7"))
    found = reader.at(0.0)
    assert found is not None
    assert found.text == "has ended: BadData at offset 7"
    reader.status.state = "stopped"
    assert reader.at(99.0) is None


def test_what_a_reader_has_left_or_does_not_own_is_none_of_its_work() -> None:
    status = Status("r", owned=frozenset([P0, P1]), reached={P0: 5, P1: 7})
    assert at_the_end(status, {P0: 5, P1: 7})
    assert not at_the_end(status, {P0: 5, P1: 8})
    assert not at_the_end(status, {P0: 5}), "nobody has asked yet"
    status.stopped = {1: "BadData"}
    assert at_the_end(status, {P0: 5, P1: 8})
    status.owned = frozenset()
    assert at_the_end(status, {})


def test_one_whose_thread_is_gone_is_stuck() -> None:
    status = Status("r", state="running", thread=threading.Thread())
    found = Reader(status).at(0.0)
    assert found is not None
    assert "its thread is gone" in found.text


def test_since_when_a_partition_with_work_has_not_moved() -> None:
    first = standing({}, {P0: 5, P1: 7}, {P0: 9, P1: 7}, 10.0)
    assert first == {P0: (5, 10.0)}
    assert standing(first, {P0: 5, P1: 7}, {P0: 12, P1: 8}, 20.0) == {P0: (5, 10.0), P1: (7, 20.0)}
    assert standing(first, {P0: 6}, {P0: 12}, 20.0) == {P0: (6, 20.0)}
    assert standing(first, {P0: 12}, {P0: 12}, 20.0) == {}


def test_where_a_thread_is() -> None:
    release, waiting = threading.Event(), threading.Event()

    def waits_for_somebody() -> None:
        waiting.set()
        release.wait()

    thread = threading.Thread(target=waits_for_somebody)
    thread.start()
    waiting.wait()
    assert thread.ident is not None
    place = partial(place_of, thread.ident)
    try:
        eventually(lambda: "waits_for_somebody (test_progress.py:" in place(), saying="it waits, and does no more")
    finally:
        release.set()
        thread.join()
    assert place_of(thread.ident) == ""
