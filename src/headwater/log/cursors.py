"""Where a reader of an embedded log stands: one cursor per partition, and the batch that the next read makes.

The log gives a function that fetches from one partition; here is decided in which order partitions are asked,
how the room in a batch is used up, and when an end is news.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from headwater.log.port import Batch, Positions, Record, TopicPartition


class Fetched(NamedTuple):
    """What lies in a partition from a position on.

    Arguments: records: the first of them; reached: the next position, past gaps; ended: whether that is the
    end as far as anybody may read now.
    """

    records: Sequence[Record]
    reached: int
    ended: bool


Fetch = Callable[[TopicPartition, int, int], Fetched]
"""(partition, position, at most so many records) to what is there."""


class Cursors:
    """The partitions that one reader reads. Not thread-safe."""

    def __init__(self) -> None:
        self._positions: dict[TopicPartition, int] = {}
        self._at_end: set[TopicPartition] = set()
        self._order: list[TopicPartition] = []

    def set(self, positions: Positions) -> None:
        """Reads these partitions from these positions from now on, beside those that are read already."""
        self._positions.update(positions)
        self._at_end.difference_update(positions)
        self._order = list(self._positions)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Reads these no longer."""
        for partition in partitions:
            self._positions.pop(partition, None)
            self._at_end.discard(partition)
        self._order = list(self._positions)

    def take(self, max_records: int, fetch: Fetch) -> Batch:
        """The next batch. A partition that stays at its end is told once, not at every read."""
        batch = Batch()
        for partition in self._order:
            room = max_records - len(batch.records)
            if room <= 0:
                break
            position = self._positions[partition]
            records, reached, ended = fetch(partition, position, room)
            if reached > position:
                batch.records += records
                batch.reached[partition] = self._positions[partition] = reached
                self._at_end.discard(partition)
            if ended and partition not in self._at_end:
                self._at_end.add(partition)
                batch.ended.add(partition)
        if batch.reached:
            # A partition that always has more would otherwise keep the later ones waiting for ever.
            self._order.append(self._order.pop(0))
        return batch
