"""Readers and members of the log in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence

from headwater.errors import Misuse, Unavailable
from headwater.log.cursors import Cursors, Fetched
from headwater.log.memory.groups import Ownership
from headwater.log.memory.shelf import Shelf
from headwater.log.port import Batch, Fence, Positions, TopicPartition

_LATE_PAUSE_S = 0.001
_MEMBERSHIP_PAUSE_S = 0.02


class Counter:
    """How many records one handle has handed out."""

    def __init__(self) -> None:
        self.records = 0


class MemoryReader:
    """See `headwater.log.port.Reader`."""

    def __init__(self, shelf: Shelf, counter: Counter) -> None:
        self._shelf, self._counter = shelf, counter
        self._cursors = Cursors()
        self._partitions: list[TopicPartition] = []
        self._closed = False

    def assign(self, positions: Positions) -> None:
        with self._shelf.changed:
            for partition in positions:
                self._shelf.partition(partition)
        self._cursors = Cursors()
        self._cursors.set(positions)
        self._partitions = list(positions)

    def read(self, max_records: int, timeout_s: float) -> Batch:
        deadline = time.monotonic() + timeout_s
        with self._shelf.changed:
            while True:
                settled = self._shelf.look(self._partitions)
                batch = Batch() if self._closed else self._cursors.take(max_records, self._fetch)
                remaining_s = deadline - time.monotonic()
                if batch.reached or batch.ended or self._closed or remaining_s <= 0:
                    self._counter.records += len(batch.records)
                    return batch
                self._shelf.changed.wait(remaining_s if settled else min(remaining_s, _LATE_PAUSE_S))

    def _fetch(self, name: TopicPartition, position: int, limit: int) -> Fetched:
        return fetch(self._shelf, name, position, limit)

    def close(self) -> None:
        with self._shelf.changed:
            self._closed = True
            self._shelf.changed.notify_all()


class MemoryMember:
    """See `headwater.log.port.Member`."""

    def __init__(self, shelf: Shelf, counter: Counter, group: str, topics: Sequence[str], name: str) -> None:
        self._shelf, self._counter = shelf, counter
        self._topics = tuple(topics)
        self._cursors = Cursors()
        self._owned: dict[TopicPartition, int] = {}
        self._closed = False
        self._id = f"{name}-{shelf.environment.new_id()}"
        with shelf.changed:
            for topic in self._topics:
                shelf.partition(TopicPartition(topic, 0))
            self._group = shelf.group(group)
            self._group.join(self._id, self._topics, shelf.environment.monotonic_s())
            shelf.changed.notify_all()

    @property
    def id(self) -> str:
        return self._id

    def read(self, max_records: int, timeout_s: float) -> Batch:
        deadline = time.monotonic() + timeout_s
        with self._shelf.changed:
            while not self._closed:
                assigned, revoked = self._attend()
                settled = self._shelf.look(self._owned)
                batch = self._cursors.take(max_records, self._fetch)
                batch.assigned, batch.revoked = assigned, revoked
                remaining_s = deadline - time.monotonic()
                if assigned or revoked or batch.reached or batch.ended or remaining_s <= 0:
                    self._counter.records += len(batch.records)
                    return batch
                self._shelf.changed.wait(min(remaining_s, _MEMBERSHIP_PAUSE_S if settled else _LATE_PAUSE_S))
        return Batch()

    def _attend(self) -> tuple[list[TopicPartition], list[TopicPartition]]:
        shelf = self._shelf
        before = self._owned
        now_s = shelf.environment.monotonic_s()
        self._owned = owned = self._group.attend(self._id, self._topics, shelf.counts(), now_s)
        if owned == before:
            return [], []
        # Lost and taken again in between is both: what was known of the partition is no longer true.
        revoked = [p for p, epoch in before.items() if owned.get(p) != epoch]
        assigned = [p for p, epoch in owned.items() if before.get(p) != epoch]
        self._cursors.drop(revoked)
        shelf.changed.notify_all()
        return assigned, revoked

    def _fetch(self, name: TopicPartition, position: int, limit: int) -> Fetched:
        return fetch(self._shelf, name, position, limit)

    def start(self, positions: Positions) -> None:
        for partition in positions:
            if partition not in self._owned:
                raise Misuse(f"{self._id} cannot start {partition}: it is not assigned to it")
        self._cursors.set(positions)

    def fence(self) -> Fence:
        return Ownership(self._group.name, self._id, dict(self._owned))

    def commit(self, positions: Positions) -> None:
        with self._shelf.changed:
            self._group.check(positions, self.fence())
            self._group.positions.update(positions)

    def close(self) -> None:
        with self._shelf.changed:
            if not self._closed:
                self._closed = True
                self._group.leave(self._id)
                self._shelf.changed.notify_all()


def fetch(shelf: Shelf, name: TopicPartition, position: int, limit: int) -> Fetched:
    """What can be seen of a partition from a position on."""
    partition = shelf.partition(name)
    if position > partition.next:
        raise Unavailable(
            f"position {position} of {name} lies beyond its end {partition.next}: "
            "it was read from another log, or the log was replaced"
        )
    if position < partition.first:
        raise Unavailable(f"records {position} to {partition.first - 1} of {name} are gone: they were deleted")
    return partition.fetch(position, limit)
