"""What was known before a call began: the greatest of the values whose calls had ended by then."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple


class Known(NamedTuple):
    """A value that was known from `ended_s` on. `source` says whence, for people."""

    ended_s: float
    value: int
    source: str


class Earlier:
    """Looks up what was known at a time."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._times: list[float] = []
        self._greatest: list[Known] = []
        for one in sorted(known):
            greatest = self._greatest[-1] if self._greatest else one
            self._times.append(one.ended_s)
            self._greatest.append(one if one.value > greatest.value else greatest)

    def before(self, started_s: float) -> Known | None:
        """The greatest value of the calls that had ended before; None where none had."""
        count = bisect_left(self._times, started_s)
        return self._greatest[count - 1] if count else None
