"""How old what was not read yet is, as far as looks at the ends tell."""

from __future__ import annotations

from headwater.log.port import TopicPartition
from headwater.readers.ages import LOOKS_KEPT, Arrivals

P0, P1 = TopicPartition("order-events", 0), TopicPartition("order-events", 1)


def test_a_position_is_as_old_as_the_first_look_that_saw_something_there() -> None:
    arrivals = Arrivals()
    for now_s, end in ((0.0, 10), (3.0, 10), (6.0, 17), (9.0, 40)):
        arrivals.note(P0, end, now_s)
    assert arrivals.age_s(P0, 4, 9.0) == (9.0, False), "it was there before the first look"
    assert arrivals.age_s(P0, 10, 9.0) == (3.0, True)
    assert arrivals.age_s(P0, 16, 9.0) == (3.0, True)
    assert arrivals.age_s(P0, 17, 10.0) == (1.0, True)
    assert arrivals.age_s(P0, 40, 99.0) == (0.0, True), "nothing is there"


def test_many_looks_take_little_room_and_ages_stay_near() -> None:
    arrivals = Arrivals()
    for now_s in range(10 * LOOKS_KEPT):
        arrivals.note(P0, now_s + 1, float(now_s))
    last_s = 10 * LOOKS_KEPT - 1.0
    for age_s in (1.0, 100.0, 15_000.0):
        told_s, _ = arrivals.age_s(P0, int(last_s - age_s), last_s)
        assert 0.5 * age_s <= told_s <= age_s
    (ends, _) = arrivals._looks[P0]
    assert len(ends) <= LOOKS_KEPT


def test_what_is_not_owned_any_more_is_forgotten() -> None:
    arrivals = Arrivals()
    arrivals.note(P0, 1, 0.0)
    arrivals.note(P1, 1, 0.0)
    arrivals.keep_only([P1])
    arrivals.note(P0, 5, 9.0)
    assert arrivals.age_s(P0, 0, 9.0) == (0.0, False)
    assert arrivals.age_s(P1, 0, 9.0) == (9.0, False)
