"""An open transaction: what it will write, held in memory until all of it is known.

A draft that fails is dropped and has touched nothing, so transactions that share a commit need no savepoints.
Drafts are filled one after another, while the commit that they share holds the file's write lock: that is why
the offsets given here are final.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from headwater.errors import Misuse
from headwater.log.limits import MAX_RECORD_BYTES, check_partition, check_size, check_types
from headwater.log.port import Fence, Fenced, NewRecord, Positions, TopicPartition
from headwater.log.sqlite.catalog import Catalog
from headwater.log.sqlite.membership import Leases, Ownership, Presence
from headwater.log.sqlite.records import OFFSET_BITS, Row, pack_headers


class Clock(Protocol):
    def now_ms(self) -> int:
        """For records."""
        ...

    def alive_ms(self) -> int:
        """For heartbeats."""
        ...


class Draft:
    """See `headwater.log.port.Transaction`.

    Arguments: catalog: finds topics; next_offset: a slot's next offset before this draft; leases: who owns what,
    as of now; clock: the log's.
    """

    __slots__ = (
        "_begins",
        "_catalog",
        "_clock",
        "_leases",
        "_next_offset",
        "compacted",
        "ends",
        "lively",
        "moved",
        "rows",
    )

    def __init__(
        self,
        catalog: Catalog,
        next_offset: Callable[[int], int],
        leases: Leases,
        clock: Clock,
    ) -> None:
        self._catalog, self._next_offset, self._leases, self._clock = catalog, next_offset, leases, clock
        self._begins: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        """Per slot that it writes to, the next offset after its records."""
        self.rows: list[Row] = []
        self.compacted: dict[tuple[int, bytes], Row] = {}
        """The latest row per slot and key of compacted topics: what they replace is never written."""
        self.moved: dict[tuple[str, int], int] = {}
        """Per group and slot, the new position."""
        self.lively: list[Presence] = []
        """The members that proved to be alive by this transaction."""

    def write(self, records: Sequence[NewRecord]) -> None:
        self.append(records)

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        known, ends, rows = self._catalog.known, self.ends, self.rows
        offsets: list[int] = []
        for record in records:
            name, partition, key, value = record.topic, record.partition, record.key, record.value
            timestamp_ms = record.timestamp_ms
            topic = known.get(name) or self._catalog.find(name)
            if not 0 <= partition < topic.partitions:
                check_partition(record, topic.partitions)
            check_types(record)
            packed = pack_headers(record.headers)
            # Packed headers are never smaller than what the limit counts, so this can only ask too often.
            if len(key or b"") + len(value or b"") + len(packed or b"") > MAX_RECORD_BYTES:
                check_size(record)
            if timestamp_ms is None or topic.log_time:
                timestamp_ms = self._clock.now_ms()
            slot = topic.first_slot + partition
            offset = ends.get(slot)
            if offset is None:
                offset = self._begins[slot] = self._next_offset(slot)
            ends[slot] = offset + 1
            row = (slot << OFFSET_BITS | offset, timestamp_ms, key, packed, value)
            if topic.compacted:
                self._replace(topic.name, slot, row)
            else:
                rows.append(row)
            offsets.append(offset)
        return offsets

    def firsts(self) -> dict[TopicPartition, int]:
        """Where its first record of each partition is."""
        partition = self._catalog.partition
        return {partition(slot): offset for slot, offset in self._begins.items()}

    def _replace(self, topic: str, slot: int, row: Row) -> None:
        key = row[2]
        if key is None:
            raise Misuse(f"topic {topic} is compacted: each of its records needs a key")
        self.compacted[slot, key] = row

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        if not isinstance(fence, Ownership) or fence.group != group:
            raise Misuse(f"positions of group {group} need a fence made by one of its members")
        for partition, position in positions.items():
            slot = self._catalog.slot(partition)
            owner = self._leases.owner(group, slot)
            epoch = fence.epochs.get(partition)
            if owner != (fence.presence.id, epoch):
                raise Fenced(
                    f"{fence.presence.id} does not own {partition} in group {group} "
                    f"(owner: {owner[0] or 'none'}); nothing was written"
                )
            self.moved[group, slot] = position
        now_ms = self._clock.alive_ms()
        if fence.presence.is_due(now_ms):
            fence.presence.seen_ms = now_ms
            self.lively.append(fence.presence)

    def absorb(self, later: Draft) -> None:
        """Takes over what a later draft writes."""
        self.ends |= later.ends
        self.rows += later.rows
        self.compacted |= later.compacted
        self.moved |= later.moved
        self.lively += later.lively
