"""A call that never comes back is left behind, and the next one is made all the same."""

from __future__ import annotations

import threading

import pytest

from headwater.log.kafka.bounded import Bounded


@pytest.fixture
def bounded() -> Bounded:
    return Bounded("calls")


def never(waited_s: float) -> bool:
    return False


def test_a_call_is_made_and_its_error_is_raised(bounded: Bounded) -> None:
    made: list[int] = []
    assert bounded.call(lambda: made.append(1), never)
    with pytest.raises(ZeroDivisionError):
        bounded.call(lambda: made.append(1 // 0), never)
    assert bounded.call(lambda: made.append(2), never)
    assert made == [1, 2]


def test_one_that_hangs_is_left_behind(bounded: Bounded) -> None:
    hung, made, waited = threading.Event(), [], []

    def gives_up(waited_s: float) -> bool:
        waited.append(waited_s)
        return len(waited) == 3

    def hangs() -> None:
        if hung.wait():
            made.append("late")

    assert not bounded.call(hangs, gives_up, look_s=0.01)
    assert waited == pytest.approx([0.01, 0.02, 0.03])
    assert bounded.call(lambda: made.append("next"), never)
    assert made == ["next"]
    hung.set()


def test_the_caller_does_something_else_while_the_call_is_under_way(bounded: Bounded) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def hand_in_hand() -> None:
        begun.set()
        assert goes_on.wait(60)

    def meanwhile() -> None:
        assert begun.wait(60)
        goes_on.set()

    assert bounded.call(hand_in_hand, never, meanwhile=meanwhile)


def test_its_thread_ends_with_it(bounded: Bounded) -> None:
    seen: list[threading.Thread] = []
    bounded.call(lambda: seen.append(threading.current_thread()), never)
    bounded.close()
    seen[0].join(60)
    assert not seen[0].is_alive()
