"""Numbers that are counted up, against the set of those that came."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.projections.sequences import MOST_GAPS, Came, take


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1))
def test_each_number_counts_once_and_the_missing_ones_are_known(numbers: list[int]) -> None:
    came: Came | None = None
    seen: set[int] = set()
    begun = numbers[0]
    for number in numbers:
        came, verdict = take(came, number)
        if number in seen:
            assert verdict == "duplicate"
        elif number < begun:
            assert verdict == "duplicate", "what was before the first one is not known"
            continue
        else:
            assert verdict == ("new" if not seen or number > max(seen) else "late")
        seen.add(number)
        assert came.last == max(seen)
        assert came.missing == len(set(range(begun, came.last)) - seen)
        assert all(begin <= end for begin, end in came.gaps)


def test_only_the_newest_gaps_are_remembered() -> None:
    came = None
    for number in range(0, 3 * MOST_GAPS, 2):
        came, _ = take(came, number)
    assert came is not None
    assert len(came.gaps) == MOST_GAPS
    assert take(came, 1)[1] == "duplicate", "of a gap that is forgotten"
    assert take(came, came.last - 1)[1] == "late"
