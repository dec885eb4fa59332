"""What is set aside, as rows beside the positions of the reader that set it aside; and what of it is in memory.

Three tables, opened with the reader's own and changed in its transactions (see `stores.port`):

- `held`: a record per row, whole. A row that `failed` is a dead letter; the others wait behind one, in order of offset.
- `asked`: what operators want to be done with dead letters. They add rows, the owner of the partition carries them out.
- `audit`: every step, for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from headwater.log.port import Record, StoredRecord, TopicPartition
from headwater.stores.port import TableSchema, bookkeeping_table

TEXT_CHARACTERS = 2_000
"""How much of a failure's text is kept."""

Stage = Literal["decode", "upcast", "apply", "decide", "sink", "late"]
Action = Literal["retry", "discard", "reload"]


class HeldRecord(msgspec.Struct):
    """A record that is set aside.

    Arguments: topic, partition, record_offset: where it stands; key, value, headers, timestamp_ms: as they came;
    failed: it is a dead letter, else it waits for one; published: it is in the dead-letter topic, too; stage, handler,
    error, message: where and why it failed last (error: the class of the exception); attempts: how often it was tried;
    first_failed, last_failed: when; holds: later records of its key wait for it.
    """

    topic: str
    partition: int
    record_offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int
    failed: bool = False
    published: bool = False
    stage: str = ""
    handler: str = ""
    error: str = ""
    message: str = ""
    attempts: int = 0
    first_failed: datetime | None = None
    last_failed: datetime | None = None
    holds: bool = True

    @property
    def tp(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def held_key(self) -> bytes | None:
        """The key whose later records wait for it; None: none do."""
        return self.key if self.holds else None

    @property
    def size_bytes(self) -> int:
        headers = sum(len(name) + len(content) for name, content in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers

    def record(self) -> StoredRecord:
        at = self.topic, self.partition, self.record_offset
        return StoredRecord(*at, self.key, self.value, self.headers, self.timestamp_ms)

    @classmethod
    def of(cls, record: Record) -> HeldRecord:
        """One that waits."""
        at = record.topic, record.partition, record.offset
        return cls(*at, record.key, record.value, list(record.headers), record.timestamp_ms)


class Asked(msgspec.Struct):
    """What somebody wants to be done with a dead letter.

    Arguments: id: a UUIDv7; action; topic, partition, record_offset: which one; edited: whether `value` takes the
    place of its own; who, reason: for the audit; asked: when. It is gone when it was carried out; the audit has its id.
    """

    id: str
    action: Action
    topic: str
    partition: int
    record_offset: int
    edited: bool
    value: bytes | None
    who: str
    reason: str
    asked: datetime


def exchanged(now: datetime) -> Asked:
    """Tells the runners that what is set aside was exchanged with the rows. It stays, and the latest counts."""
    return Asked("exchanged", "reload", "", -1, -1, False, None, "", "", now)


class Audit(msgspec.Struct):
    """A step in the life of a dead letter. Arguments: id: of what was asked; at: when; step: what came of it; message:
    of the failure, or what else happened; before: the value that an edit replaced."""

    id: str
    at: datetime
    topic: str
    partition: int
    record_offset: int
    step: str
    who: str
    reason: str
    handler: str
    error: str
    message: str
    before: bytes | None = None


class Tables(NamedTuple):
    """The tables of a runner."""

    held: TableSchema[HeldRecord]
    asked: TableSchema[Asked]
    audit: TableSchema[Audit]


@lru_cache(maxsize=1024)
def tables_of(runner: str) -> Tables:
    """Made once: whoever waits for a receipt asks for them."""
    return Tables(
        bookkeeping_table("held", runner, HeldRecord, ("topic", "partition", "record_offset")),
        bookkeeping_table("asked", runner, Asked, ("id",)),
        bookkeeping_table("audit", runner, Audit, ("id",)),
    )


class Brief(NamedTuple):
    """What is kept of a held record in memory. Arguments: key: that it holds back."""

    key: bytes | None
    size_bytes: int
    failed: bool


class Shelf:
    """What is set aside in one partition, in memory. A key that is there holds back all later records of it."""

    def __init__(self, rows: Iterable[HeldRecord] = ()) -> None:
        self._briefs: dict[int, Brief] = {}
        self._keys: dict[bytes, set[int]] = {}
        self._newest = -1
        self.size_bytes = self.failed = 0
        for row in rows:
            self.put(row)

    def __len__(self) -> int:
        return len(self._briefs)

    def __contains__(self, offset: int) -> bool:
        return offset in self._briefs

    def put(self, row: HeldRecord) -> None:
        """Adds a record, or replaces the one at its offset."""
        self.take(row.record_offset)
        brief = self._briefs[row.record_offset] = Brief(row.held_key, row.size_bytes, row.failed)
        self.size_bytes += brief.size_bytes
        self.failed += brief.failed
        self._newest = max(self._newest, row.record_offset)
        if brief.key is not None:
            self._keys.setdefault(brief.key, set()).add(row.record_offset)

    def take(self, offset: int) -> None:
        """Removes a record, if it is there."""
        brief = self._briefs.pop(offset, None)
        if brief is None:
            return
        self.size_bytes -= brief.size_bytes
        self.failed -= brief.failed
        if brief.key is not None:
            offsets = self._keys[brief.key]
            offsets.remove(offset)
            if not offsets:
                del self._keys[brief.key]

    @property
    def holding(self) -> bool:
        """Whether any key is held."""
        return bool(self._keys)

    def holds(self, key: bytes, offset: int) -> bool:
        """Whether a record has to wait there. One that stands before what is held of its key has not: its reader was
        sent back."""
        offsets = self._keys.get(key)
        return offsets is not None and (offset > self._newest or offset >= min(offsets))

    def offsets(self, key: bytes) -> list[int]:
        """Where the records of a key stand, in order."""
        return sorted(self._keys.get(key, ()))


class Shelves:
    """The shelves of the partitions that a reader owns."""

    def __init__(self) -> None:
        self._shelves: dict[TopicPartition, Shelf] = {}

    def __getitem__(self, tp: TopicPartition) -> Shelf:
        found = self._shelves.get(tp)
        if found is None:
            found = self._shelves[tp] = Shelf()
        return found

    def set(self, tp: TopicPartition, rows: Iterable[HeldRecord]) -> None:
        self._shelves[tp] = Shelf(rows)

    def drop(self, tp: TopicPartition) -> None:
        self._shelves.pop(tp, None)

    def holding(self, partitions: Collection[TopicPartition]) -> bool:
        """Whether any key is held there. Most of the time nothing is, anywhere."""
        return any(tp in self._shelves and self._shelves[tp].holding for tp in partitions)

    def changed(self, saved: Iterable[HeldRecord], gone: Iterable[HeldRecord] = ()) -> None:
        """After a commit."""
        for row in gone:
            self[row.tp].take(row.record_offset)
        for row in saved:
            self[row.tp].put(row)
