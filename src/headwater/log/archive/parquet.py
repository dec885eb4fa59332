"""Records as Parquet, byte for byte, and back.

    offset int64 · timestamp ms UTC · key binary? · value binary? · headers list<name string, value binary?>

Written in row groups that fit in memory easily, each read back as a whole. Pages carry checksums, and the manifest has
the footer's, so a reader notices damage wherever it is. The columns are plain enough for any other program: order is
that of the partition.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.log.port import Headers, Record, TopicPartition

GROUP_RECORDS, GROUP_BYTES = 5_000, 4_000_000
"""A row group has at most about so much: it is what is in memory when an archive is written or read."""

_HEADER = pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary())])
_HEADERS = pa.list_(pa.field("element", _HEADER, nullable=False))
SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", _HEADERS, nullable=False),
    ]
)
_OFFSET, _TIMESTAMP = 0, 1
_TAIL_BYTES = 8
"""The length of the footer, and "PAR1"."""
_BARE = ["offset", "key", "value"]


class _HeaderBlock:
    """The headers of the records of a row group, made when somebody asks for the first of them: many never do."""

    __slots__ = ("_begins", "_column", "_pairs")

    def __init__(self, column: Any) -> None:
        self._column = column
        self._begins: list[int] = []
        self._pairs: list[tuple[str, bytes]] = []

    def of(self, row: int) -> Headers:
        column = self._column
        if column is not None:
            names = column.values.field(0).dictionary_encode()  # there are few, so each is made once
            known = names.dictionary.to_pylist()
            contents = column.values.field(1).to_pylist()
            self._pairs = list(zip(map(known.__getitem__, names.indices.to_pylist()), contents, strict=True))
            self._begins = column.offsets.to_pylist()
            self._column = None  # the last step: another thread may ask at the same time
        return tuple(self._pairs[self._begins[row] : self._begins[row + 1]]) if self._begins else ()


_NO_HEADERS = _HeaderBlock(None)


class ArchivedRecord(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A record of an archive."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    block: _HeaderBlock
    row: int

    @property
    def headers(self) -> Headers:
        return self.block.of(self.row)

    def __repr__(self) -> str:
        return f"ArchivedRecord({self.topic}/{self.partition}@{self.offset}, key={self.key!r})"


class KeyFilter(NamedTuple):
    """Whether a row group may have a key: a Bloom filter with two bits per key, for this process only.

    Arguments: mask: the number of bits less one; bits.
    """

    mask: int
    bits: bytes

    @classmethod
    def of(cls, keys: Sequence[bytes | None]) -> KeyFilter:
        size = 1 << (8 * len(keys) - 1).bit_length()  # so 5 of 100 other keys pass at most
        bits = bytearray(max(1, size >> 3))
        for key in keys:
            if key is not None:
                for bit in _bits(key, size - 1):
                    bits[bit >> 3] |= 1 << (bit & 7)
        return cls(size - 1, bytes(bits))

    def may_have(self, key: bytes) -> bool:
        return all(self.bits[bit >> 3] >> (bit & 7) & 1 for bit in _bits(key, self.mask))


def _bits(key: bytes, mask: int) -> tuple[int, int]:
    found = hash(key)
    return found & mask, found >> 32 & mask


class Content(NamedTuple):
    """What a written file holds. Arguments: as of `SealedFile`."""

    first: int
    last: int
    records: int
    oldest_ms: int
    newest_ms: int


class FileWriter:
    """Writes one file. Arguments: path; partition: for whoever finds the file alone."""

    def __init__(self, path: Path, partition: TopicPartition, topic_id: str) -> None:
        told = {"topic": partition.topic, "topicId": topic_id, "partition": str(partition.partition)}
        schema = SCHEMA.with_metadata({f"headwater.{name}": value for name, value in told.items()})
        self.path = path
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            use_dictionary=["key", "headers.list.element.name", "headers.list.element.value"],
            write_page_checksum=True,
        )
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._content: Content | None = None

    @property
    def records(self) -> int:
        return 0 if self._content is None else self._content.records

    @property
    def written_bytes(self) -> int:
        """What is in the file by now: whole row groups."""
        return int(self._sink.tell())

    def add(self, records: Sequence[Record]) -> None:
        """Records that follow those before."""
        for record in records:
            self._pending.append(record)
            self._pending_bytes += len(record.value or b"") + len(record.key or b"")
            if len(self._pending) >= GROUP_RECORDS or self._pending_bytes >= GROUP_BYTES:
                self._flush()
        if records:
            times = [record.timestamp_ms for record in records]
            content = Content(records[0].offset, records[-1].offset, len(records), min(times), max(times))
            self._content = content if self._content is None else _both(self._content, content)

    def close(self) -> Content:
        """Ends the file, which has at least one record."""
        self._flush()
        self._writer.close()
        self._sink.close()
        assert self._content is not None
        return self._content

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(_to_table(self._pending), row_group_size=len(self._pending))
            self._pending, self._pending_bytes = [], 0


def footer_sha256(source: Any) -> str:
    """The hash of a file's end, which says where everything is, and has no checksum of its own. Arguments: source: an
    open file, of pyarrow or Python. Raises: OSError: there is no such end."""
    source.seek(0, 2)
    end = source.tell()
    source.seek(max(0, end - _TAIL_BYTES))
    tail = source.read(_TAIL_BYTES)
    size_bytes = int.from_bytes(tail[:4], "little") + _TAIL_BYTES
    if not tail.endswith(b"PAR1") or size_bytes > end:
        raise OSError("its end is not that of a Parquet file")
    source.seek(end - size_bytes)
    return hashlib.sha256(source.read(size_bytes)).hexdigest()


class FileReader:
    """Reads one file, a row group at a time.

    Arguments: source: an open file of pyarrow; partition: of its records; footer: its `footer_sha256` when it was
    written. Raises, also in its methods: OSError: it is damaged, or cannot be read.
    """

    def __init__(self, source: Any, partition: TopicPartition, footer: str) -> None:
        self._partition = partition
        if footer_sha256(source) != footer:
            raise OSError("its end was changed")
        source.seek(0)
        try:
            self._file = pq.ParquetFile(source, page_checksum_verification=True)
        except pa.ArrowInvalid as error:
            raise OSError(str(error)) from error
        if not self._file.schema_arrow.remove_metadata().equals(SCHEMA):
            raise OSError("its columns are not those of an archive")
        metadata = self._file.metadata
        self.groups: list[Any] = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._lasts = [group.column(_OFFSET).statistics.max for group in self.groups]

    def group_at(self, offset: int) -> int:
        """The first row group with a record at or after an offset; the number of groups, where there is none."""
        return bisect_left(self._lasts, offset)

    def read(self, group: int, *, envelopes: bool = True) -> list[Record]:
        """The records of a row group; `envelopes` as of `Log.reader`."""
        return _to_records(self._read(group, None if envelopes else _BARE), self._partition)

    def key_filters(self) -> list[KeyFilter]:
        """Of each row group; reads all keys."""
        return [
            KeyFilter.of(self._read(number, ["key"]).column("key").unique().to_pylist())
            for number in range(len(self.groups))
        ]

    def keyed(self, key: bytes, groups: Iterable[int]) -> Iterator[Record]:
        """The records with this key in some row groups, in order."""
        for number in groups:
            table = self._read(number, None)
            chosen = pc.equal(table.column("key"), pa.scalar(key, pa.binary()))
            yield from _to_records(table.filter(chosen), self._partition)

    def first_since(self, timestamp_ms: int, begin: int) -> int | None:
        """The offset of the first record from `begin` on whose time is at or after the given one."""
        wanted = pa.scalar(timestamp_ms, pa.int64())
        for number in range(self.group_at(begin), len(self.groups)):
            table = self._read(number, ["offset", "timestamp"])
            late = pc.greater_equal(table.column("timestamp").cast(pa.int64()), wanted)
            chosen = table.column("offset").filter(late)
            found = chosen.filter(pc.greater_equal(chosen, begin))
            if len(found):
                return int(found[0].as_py())
        return None

    def _read(self, group: int, columns: list[str] | None) -> Any:
        try:
            return self._file.read_row_group(group, columns=columns, use_threads=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise OSError(str(error)) from error


def _both(before: Content, after: Content) -> Content:
    return Content(
        before.first,
        after.last,
        before.records + after.records,
        min(before.oldest_ms, after.oldest_ms),
        max(before.newest_ms, after.newest_ms),
    )


def _to_table(records: Sequence[Record]) -> Any:
    begins, names, values = [0], list[str](), list[bytes | None]()
    for record in records:
        for name, value in record.headers:
            names.append(name)
            values.append(value)
        begins.append(len(names))
    headers = pa.StructArray.from_arrays(
        [pa.array(names, pa.string()), pa.array(values, pa.binary())], fields=list(_HEADER)
    )
    columns = [
        pa.array([record.offset for record in records], pa.int64()),
        pa.array([record.timestamp_ms for record in records], pa.int64()).cast(SCHEMA.field(_TIMESTAMP).type),
        pa.array([record.key for record in records], pa.binary()),
        pa.array([record.value for record in records], pa.binary()),
        pa.ListArray.from_arrays(pa.array(begins, pa.int32()), headers, type=_HEADERS),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _to_records(table: Any, partition: TopicPartition) -> list[Record]:
    topic, number = partition
    offsets, keys, values = (table.column(name).to_pylist() for name in _BARE)
    if len(table.column_names) == len(_BARE):
        times: Iterable[int] = repeat(0, len(offsets))
        block = _NO_HEADERS
    else:
        times = table.column("timestamp").cast(pa.int64()).to_pylist()
        block = _HeaderBlock(table.column("headers").combine_chunks())
    found = zip(offsets, keys, values, times, range(len(offsets)), strict=True)
    return [
        ArchivedRecord(topic, number, offset, key, value, time_ms, block, row)
        for offset, key, value, time_ms, row in found
    ]
