"""Whether a reader gets on: what is made of its status, in a time that is moved by hand."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from headwater.log.port import TopicPartition
from headwater.readers.loop import Status
from headwater.readers.progress import STALLED_S, Mark, mark, place_of, standing, stuck
from headwater.testing.waiting import eventually

P0, P1 = TopicPartition("order-events", 0), TopicPartition("order-events", 1)


def looks(status: Status, before: Mark | None, *times_s: float) -> Mark:
    for now_s in times_s:
        before = mark(before, status, now_s)
    assert before is not None
    return before


def test_a_reader_that_handles_batches_gets_on_whatever_fails_between_them() -> None:
    status = Status("r", state="retrying")
    before = looks(status, None, 0.0, 3.0)
    assert before.since_s == 0.0
    status.batches, status.failures = 1, 7
    assert mark(before, status, 6.0).since_s is None


def test_an_idle_reader_gets_on() -> None:
    status = Status("r", state="running", step="reads", step_s=99.0)
    assert stuck(status, looks(status, None, 0.0, 50.0, 100.0).since_s, 100.0) is None


def test_one_that_fails_in_each_round_is_stuck_with_the_reason_and_not_the_words_of_data() -> None:
    status = Status("r", state="running", last_failure="Failed: secret", failed_at="Failed at offset 7")
    before = None
    for now_s in range(0, 30, 3):
        status.failures += 1
        status.step_s = float(now_s)
        before = mark(before, status, float(now_s))
        found = stuck(status, before.since_s, float(now_s))
        assert (found is not None) is (now_s > STALLED_S)
    assert found is not None
    assert found.text == "has not got on for more than 20 s: Failed at offset 7"
    assert found.details == "Failed: secret"


def test_a_batch_under_way_between_two_failures_is_no_success() -> None:
    status = Status("r", state="retrying", failures=1)
    before = looks(status, None, 0.0)
    status.state, status.step = "running", "is at a batch"
    before = looks(status, before, 3.0, 6.0)
    status.failures = 2
    assert mark(before, status, 9.0).since_s == 0.0


def test_a_batch_under_way_is_no_failure_either() -> None:
    status = Status("r", state="running", step="is at a batch")
    assert looks(status, None, 0.0, 3.0, 6.0).since_s is None


@pytest.mark.parametrize("step", ["is at a batch", "is between batches", "is given partitions", "joins its group"])
def test_one_that_is_at_one_step_for_long_is_stuck_there(step: str) -> None:
    status = Status("r", state="running", step=step, step_s=100.0)  # type: ignore[arg-type] # from the list above
    assert stuck(status, None, 100.0 + STALLED_S) is None
    found = stuck(status, None, 100.1 + STALLED_S)
    assert found is not None
    assert found.text == f"{step}, for more than 20 s"


def test_one_that_has_ended_by_a_failure_is_stuck_at_once_and_one_that_was_stopped_is_not() -> None:
    status = Status("r", state="failed", last_failure="secret", failed_at="BadData at offset 7")
    found = stuck(status, 0.0, 0.0)
    assert found is not None
    assert found.text == "has ended: BadData at offset 7"
    status.state = "stopped"
    assert stuck(status, 0.0, 99.0) is None


def test_one_whose_thread_is_gone_is_stuck() -> None:
    status = Status("r", state="running", thread=threading.Thread())
    found = stuck(status, None, 0.0)
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
