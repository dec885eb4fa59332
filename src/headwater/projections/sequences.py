"""Numbers that somebody counts up, one by one: which of them came, which are missing, which came twice. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["new", "late", "duplicate"]

MOST_GAPS = 64
"""So many gaps of a stream are remembered, the newest ones; a number of an older one counts as a duplicate."""


class Came(NamedTuple):
    """What is known of a stream. Arguments: last: the highest number that came; gaps: ranges of numbers below it that
    did not, first and last of each, in order."""

    last: int
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def missing(self) -> int:
        return sum(end - begin + 1 for begin, end in self.gaps)


def take(came: Came | None, number: int) -> tuple[Came, Verdict]:
    """The next number. The first one that is seen of a stream begins it: what came before is not known."""
    if came is None:
        return Came(number), "new"
    last, gaps = came
    if number > last:
        if number > last + 1:
            gaps = (*gaps, (last + 1, number - 1))[-MOST_GAPS:]
        return Came(number, gaps), "new"
    for index, (begin, end) in enumerate(gaps):
        if begin <= number <= end:
            rest = [part for part in ((begin, number - 1), (number + 1, end)) if part[0] <= part[1]]
            return Came(last, (*gaps[:index], *rest, *gaps[index + 1 :])[-MOST_GAPS:]), "late"
    return came, "duplicate"
