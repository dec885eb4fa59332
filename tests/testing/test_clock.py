"""Virtual time, ids that repeat, and waiting with a deadline."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.testing import VirtualEnvironment, eventually


def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualEnvironment(datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == clock.now() == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    assert clock.advance(timedelta(days=3)) == clock.now() == datetime(2024, 1, 4, 10, tzinfo=UTC)


def test_it_does_not_go_back() -> None:
    with pytest.raises(Misuse, match="does not go back"):
        VirtualEnvironment().advance(timedelta(seconds=-1))


def test_its_start_is_aware() -> None:
    with pytest.raises(Misuse, match="must be aware"):
        VirtualEnvironment(datetime(2024, 1, 1))


def test_deadlines_stay_on_the_machines_clock() -> None:
    clock: Environment = VirtualEnvironment()
    assert time.monotonic() <= clock.monotonic_s() <= time.monotonic()


def test_ids_repeat_from_run_to_run_and_never_within_one() -> None:
    one, again, other = VirtualEnvironment(), VirtualEnvironment(), VirtualEnvironment(seed=1)
    ids = [one.new_id() for _ in range(100)]
    assert ids == [again.new_id() for _ in range(100)]
    assert ids == sorted(set(ids))
    assert not set(ids) & {other.new_id() for _ in range(100)}
    one.advance(timedelta(milliseconds=1))
    assert one.new_id() > ids[-1]


def test_ids_are_uuids_of_version_7_of_the_virtual_time() -> None:
    clock = VirtualEnvironment(datetime(2024, 4, 10, tzinfo=UTC), seed=4095)
    made = UUID(clock.new_id())
    assert (made.version, made.variant) == (7, UUID("018ec555-0000-7000-8000-000000000000").variant)
    assert made.int >> 80 == int(clock.now().timestamp() * 1000)


def test_a_seed_has_12_bits() -> None:
    with pytest.raises(Misuse, match="12 bits"):
        VirtualEnvironment(seed=4096)


def test_eventually_gives_the_first_true_answer() -> None:
    answers = iter([None, 0, "yes", "too late"])
    assert eventually(lambda: next(answers)) == "yes"


def test_eventually_sees_what_another_thread_does() -> None:
    done: list[int] = []
    worker = threading.Timer(0.03, lambda: done.append(1))
    worker.start()
    assert eventually(lambda: done) == [1]
    worker.join()


def test_eventually_fails_at_its_deadline_and_says_what_for() -> None:
    with pytest.raises(AssertionError, match=r"within 0.02 s it did not happen: the moon fell \(last answer: 0\)"):
        eventually(lambda: 0, 0.02, saying="the moon fell")


def test_eventually_passes_on_what_the_condition_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0)
