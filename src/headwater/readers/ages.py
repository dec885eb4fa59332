"""How old what a reader has not read yet is, without reading it.

Whoever looks at the ends of partitions every few seconds knows within those seconds when each position was written:

    looks:      (t0, end 10)   (t3, end 10)   (t6, end 17)   (t9, end 40)
    position 12, at t9: it was not there at t3 and was there at t6, so it is at least 3 s old, at most 6

What was there before the first look is older than that look. There a reader's own newest record tells more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from datetime import datetime

from headwater.log.port import Record, TopicPartition
from headwater.messages.envelope import parse_time, record_time

LOOKS_KEPT = 2000
"""Per partition; beyond that every second one is forgotten, which makes ages of long ago less exact."""


class Arrivals:
    """When the ends of partitions were seen where. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._looks: dict[TopicPartition, tuple[list[int], list[float]]] = {}

    def note(self, tp: TopicPartition, end: int, now_s: float) -> None:
        """An end as it is now. Kept only if it has moved."""
        ends, times_s = self._looks.setdefault(tp, ([], []))
        if ends and ends[-1] >= end:
            return
        if len(ends) >= LOOKS_KEPT:
            del ends[1::2], times_s[1::2]
        ends.append(end)
        times_s.append(now_s)

    def age_s(self, tp: TopicPartition, position: int, now_s: float) -> tuple[float, bool]:
        """For how long at least there has been something at a position; and whether it came after the first look, so
        that this is nearly all of it."""
        ends, times_s = self._looks[tp]
        at = bisect_right(ends, position)
        return (now_s - times_s[at], at > 0) if at < len(ends) else (0.0, True)

    def keep_only(self, partitions: Collection[TopicPartition]) -> None:
        """Forgets all others."""
        for tp in self._looks.keys() - set(partitions):
            del self._looks[tp]


def written_at(record: Record) -> datetime:
    """When it was accepted: the record's own time is that of the business, which may lie years back."""
    said = dict(record.headers).get("hw_recorded")
    if said is not None:
        try:
            return parse_time(said.decode())
        except ValueError:
            return record_time(record.timestamp_ms)
    return record_time(record.timestamp_ms)
