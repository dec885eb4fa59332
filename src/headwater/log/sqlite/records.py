"""How a record lies in the file: one row, found by its place.

A place is one integer: the number of the partition in this file (its slot) and the offset. So a partition is one
range of the table's own key, offsets in order; and in the index over keys, entries of one key are ordered by
place as well, so the records of one entity are one range of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from headwater.log.port import Headers

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1

Row = tuple[int, int, bytes | None, bytes | None, bytes | None]
"""place, timestamp_ms, key, headers, value: the columns of the tables `records` and `latest`."""

BareRow = tuple[int, bytes | None, bytes | None]
"""place, key, value."""

INSERT = "INSERT INTO records (place, timestamp_ms, key, headers, value) VALUES (?, ?, ?, ?, ?)"
REPLACE = """
INSERT INTO latest (place, timestamp_ms, key, headers, value, slot) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (slot, key) DO UPDATE SET place = excluded.place, timestamp_ms = excluded.timestamp_ms,
    headers = excluded.headers, value = excluded.value"""
SELECT = "SELECT place, timestamp_ms, key, headers, value FROM"
SELECT_BARE = "SELECT place, key, value FROM"
SELECT_LEAN = "SELECT place, value FROM"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def place_of(slot: int, offset: int) -> int:
    return slot << OFFSET_BITS | offset


def pack_headers(headers: Headers) -> bytes | None:
    """Headers in one value: MessagePack, an array of pairs; nothing for none."""
    return _encode(headers) if headers else None


class SqliteRecord(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A record as it was read; its headers are unpacked when somebody asks for them.

    A struct, and not looked at by the garbage collector: a replay makes millions, and they hold no other objects.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    packed_headers: bytes | None
    value: bytes | None

    @property
    def headers(self) -> Headers:
        return () if self.packed_headers is None else _decode(self.packed_headers)

    def __repr__(self) -> str:
        return f"SqliteRecord({self.topic}/{self.partition}@{self.offset}, key={self.key!r})"


class BareRecord(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A record without its envelope."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def headers(self) -> Headers:
        return ()

    @property
    def timestamp_ms(self) -> int:
        return 0


def to_bare_records(topic: str, partition: int, rows: Iterable[BareRow]) -> Sequence[BareRecord]:
    """Rows of one partition as records without envelopes."""
    return [BareRecord(topic, partition, place & OFFSET_MASK, key, value) for place, key, value in rows]


def to_records(topic: str, partition: int, rows: Iterable[Row]) -> Sequence[SqliteRecord]:
    """Rows of one partition as records."""
    return [
        SqliteRecord(topic, partition, place & OFFSET_MASK, timestamp_ms, key, headers, value)
        for place, timestamp_ms, key, headers, value in rows
    ]
