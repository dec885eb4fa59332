"""The records of one key: a local index, since Kafka has none.

A file per partition holds the key and the bytes of every record, filled on demand by a reader from where the index
stands up to the committed end. The second question about a partition costs one round trip for its end and the
rows of the key. The index is a cache: it lies under the cluster's and the topic's id, and is thrown away when it
is damaged or the topic ends before it. Several processes may use it: one fills, the others wait for it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headwater.errors import Unavailable
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.reading import KafkaReader
from headwater.log.kafka.records import Counter, KafkaRecord
from headwater.log.port import Record, StoredRecord, TopicPartition

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
PRAGMA busy_timeout = 60000;
CREATE TABLE IF NOT EXISTS stands (only INTEGER PRIMARY KEY CHECK (only = 0), position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (offset INTEGER PRIMARY KEY, key BLOB NOT NULL, content BLOB NOT NULL);
"""
_BY_KEY = "CREATE INDEX IF NOT EXISTS by_key ON records (key)"
_BATCH = 20_000
_MANY = 200_000
"""From so many records on it is faster to sort the keys once at the end."""

_encode = msgspec.msgpack.Encoder().encode
_Content = tuple[int, bytes | None, list[tuple[str, bytes]] | None]
_decoder = msgspec.msgpack.Decoder(_Content)


class KeyIndex:
    """Arguments: connection; administration; counter: of the records handed out."""

    def __init__(self, connection: Connection, administration: Administration, counter: Counter) -> None:
        self._connection, self._administration, self._counter = connection, administration, counter
        self._lock = threading.Lock()
        self._partitions: dict[TopicPartition, _PartitionIndex] = {}

    def records(self, partition: TopicPartition, key: bytes) -> list[Record]:
        """All committed records of a key, in order. Raises: Misuse: no such partition. Unavailable: the cluster
        does not answer, or the index cannot be written."""
        end = self._administration.ends([partition])[partition]
        index = self._of(partition)
        try:
            found = index.records(key, end)
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"the index of {partition} in {index.path} cannot be used: {error}; make room there, or choose "
                "another place with index_directory"
            ) from error
        except sqlite3.DatabaseError:
            # Written without waiting for the disk: a power cut may have torn it.
            index.wipe()
            found = index.records(key, end)
        self._counter.add(len(found))
        return found

    def close(self) -> None:
        with self._lock:
            for index in self._partitions.values():
                index.close()
            self._partitions.clear()

    def _of(self, partition: TopicPartition) -> _PartitionIndex:
        with self._lock:
            index = self._partitions.get(partition)
            if index is None:
                topic_id = self._administration.topic_id(partition.topic).replace("/", "_")
                directory = self._connection.cache / "keys" / f"{partition.topic}-{topic_id}"
                index = _PartitionIndex(self._connection, self._administration, partition, directory)
                self._partitions[partition] = index
            return index


class _PartitionIndex:
    """The file of one partition, and the reader that fills it."""

    def __init__(
        self, connection: Connection, administration: Administration, partition: TopicPartition, directory: Path
    ) -> None:
        self._connection, self._administration, self._partition = connection, administration, partition
        self._lock = threading.Lock()
        self._reader: KafkaReader | None = None
        self._rows: sqlite3.Connection | None = None
        self.path = directory / f"{partition.partition}.db"

    def records(self, key: bytes, end: int) -> list[Record]:
        with self._lock:
            rows = self._opened()
            stands = _position(rows)
            if stands is not None and stands > end:
                self._wipe()
                rows, stands = self._opened(), None
            if stands is None or stands < end:
                self._fill(rows, end)
            found = rows.execute(
                "SELECT offset, content FROM records WHERE key = ? AND offset < ? ORDER BY offset", (key, end)
            ).fetchall()
        topic, number = self._partition
        records: list[Record] = []
        for offset, content in found:
            time_ms, value, headers = _decoder.decode(content)
            records.append(StoredRecord(topic, number, offset, key, value, headers or (), time_ms))
        return records

    def wipe(self) -> None:
        with self._lock:
            self._wipe()

    def close(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._reader.close()
            if self._rows is not None:
                self._rows.close()
            self._reader = self._rows = None

    def _opened(self) -> sqlite3.Connection:
        if self._rows is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            rows = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)
            rows.executescript(_SCHEMA)
            self._rows = rows
        return self._rows

    def _wipe(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _fill(self, rows: sqlite3.Connection, end: int) -> None:
        """Takes in what was committed since, up to `end`."""
        if self._reader is None:
            self._reader = KafkaReader(self._connection, self._administration, Counter(), name="key-index")
        reader, partition = self._reader, self._partition
        begin = self._administration.begins([partition])[partition]
        reading_from = -1
        deadline = time.monotonic() + self._connection.options.answer_timeout_s
        try:
            position = _position(rows) or begin
            if end - position < _MANY:
                rows.execute(_BY_KEY)
            while position < end:
                with _writing(rows):
                    # Another process may have come further while this one waited for the file.
                    position = max(_position(rows) or begin, begin)
                    if position >= end:
                        break
                    if position != reading_from:
                        reader.assign({partition: position})
                    batch = reader.read(_BATCH, 1.0)
                    reading_from = batch.reached.get(partition, position)
                    _insert(rows, batch.records, reading_from)
                if reading_from > position:
                    position, deadline = reading_from, time.monotonic() + self._connection.options.answer_timeout_s
                elif time.monotonic() > deadline:
                    raise self._connection.unavailable(f"reading {partition} stands still at {position}")
            rows.execute(_BY_KEY)
        finally:
            reader.assign({})


@contextmanager
def _writing(rows: sqlite3.Connection) -> Iterator[None]:
    rows.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        rows.execute("ROLLBACK")
        raise
    rows.execute("COMMIT")


def _position(rows: sqlite3.Connection) -> int | None:
    found = rows.execute("SELECT position FROM stands").fetchone()
    return None if found is None else int(found[0])


def _insert(rows: sqlite3.Connection, records: Sequence[Record], position: int) -> None:
    contents = []
    for record in records:
        assert isinstance(record, KafkaRecord)
        message = record.message
        key = message.key()
        if key is not None:
            content = (message.timestamp()[1], message.value(), message.headers())
            contents.append((message.offset(), key, _encode(content)))
    rows.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?)", contents)
    rows.execute("INSERT INTO stands VALUES (0, ?) ON CONFLICT DO UPDATE SET position = excluded.position", (position,))
