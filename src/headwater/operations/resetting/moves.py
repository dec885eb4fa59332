"""What would change: per partition the position now and then, and how many records lie between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headwater.environment import SYSTEM, Environment
from headwater.log.port import Log, Positions, TopicPartition
from headwater.operations.resetting.scenarios import Bounds
from headwater.readers.spans import batches_between

MOST_COUNTED = 1_000_000
"""So many positions of a group are looked at, which takes some seconds. Of more, positions are counted, not records."""


class Move(NamedTuple):
    """A partition of a group.

    Arguments: current: its position (None: it has none, and begins at the beginning); new; records: that lie
    between, read again where `new` is before `current`, skipped where it is behind; counted: whether these are
    records (False: positions, of which some are gaps).
    """

    group: str
    partition: TopicPartition
    current: int | None
    new: int
    records: int
    counted: bool

    @property
    def back(self) -> bool:
        """Whether something is read again."""
        return self.current is not None and self.new < self.current

    @property
    def again(self) -> int:
        return self.records if self.back else 0

    @property
    def skipped(self) -> int:
        return 0 if self.back else self.records


def moves_of(
    log: Log, group: str, current: Positions, new: Positions, bounds: Bounds, environment: Environment = SYSTEM
) -> list[Move]:
    """In order of topic and partition. Reads what lies between, if it is not too much. Raises: Unavailable."""
    spans = {tp: _span(current.get(tp, bounds.begins[tp]), new[tp], bounds, tp) for tp in sorted(new)}
    counted = sum(end - start for start, end in spans.values()) <= MOST_COUNTED
    records = _counts(log, spans, environment) if counted else {tp: end - start for tp, (start, end) in spans.items()}
    return [Move(group, tp, current.get(tp), new[tp], records[tp], counted) for tp in spans]


def positions_of(moves: Sequence[Move]) -> dict[TopicPartition, int]:
    """The new positions."""
    return {move.partition: move.new for move in moves}


def _span(one: int, other: int, bounds: Bounds, tp: TopicPartition) -> tuple[int, int]:
    """What can be read of what lies between: a group may stand at what is gone."""
    begin, end = bounds.begins[tp], bounds.ends[tp]
    start = max(min(one, other), begin)
    return start, max(start, min(max(one, other), end))


def _counts(
    log: Log, spans: dict[TopicPartition, tuple[int, int]], environment: Environment
) -> dict[TopicPartition, int]:
    found = dict.fromkeys(spans, 0)
    starts = {tp: start for tp, (start, _) in spans.items()}
    ends = {tp: end for tp, (_, end) in spans.items()}
    for batch in batches_between(log, starts, ends, "counting records", environment, envelopes=False):
        for record in batch.records:
            found[TopicPartition(record.topic, record.partition)] += 1
    return found
