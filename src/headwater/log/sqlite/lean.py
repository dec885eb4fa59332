"""Records of which only the value was read, for who asks for nothing else.

    10,000 places and values ─► records ─► somebody asks one for its key, headers or time ─► those of all, at once

An event carries four times as many bytes in its headers as in its value. A projection whose handlers want no meta asks
for none of them, until something goes wrong: then what was left out is read from the file, for the whole batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import msgspec

from headwater.errors import Unavailable
from headwater.log.port import Headers, TopicPartition
from headwater.log.sqlite.records import OFFSET_MASK, SqliteRecord

LeanRow = tuple[int, bytes | None]
"""place, value."""


class Rest:
    """What was left out of some records of one partition. Thread-safe.

    Arguments: partition; read: finds the whole records before an offset again, those that are still there.
    """

    def __init__(self, partition: TopicPartition, read: Callable[[int], Sequence[SqliteRecord]]) -> None:
        self._partition, self._read = partition, read
        self.end = 0
        """The offset after the last of them; set when it is known."""
        self._lock = threading.Lock()
        self._records: dict[int, SqliteRecord] | None = None

    def of(self, offset: int) -> SqliteRecord:
        """The whole record. Raises: Unavailable: it is there no more, or its reader was closed."""
        with self._lock:
            if self._records is None:
                self._records = {record.offset: record for record in self._read(self.end)}
        found = self._records.get(offset)
        if found is None:
            raise Unavailable(
                f"record {offset} of {self._partition} was deleted, or its reader was closed, before its key and "
                "headers were read"
            )
        return found


class LeanRecord(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A record of which only the value was read. The garbage collector need not look at it: what it holds does not
    lead back to it."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    rest: Rest

    @property
    def key(self) -> bytes | None:
        return self.rest.of(self.offset).key

    @property
    def headers(self) -> Headers:
        return self.rest.of(self.offset).headers

    @property
    def timestamp_ms(self) -> int:
        return self.rest.of(self.offset).timestamp_ms

    def __repr__(self) -> str:
        return f"LeanRecord({self.topic}/{self.partition}@{self.offset})"


def to_lean_records(topic: str, partition: int, rows: Iterable[LeanRow], rest: Rest) -> list[LeanRecord]:
    """Rows of one partition as records."""
    return [LeanRecord(topic, partition, place & OFFSET_MASK, value, rest) for place, value in rows]
