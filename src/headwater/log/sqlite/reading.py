"""Reading partitions: in batches from a connection of the reader's own, waiting without holding anything.

A read asks only partitions of which `news` knows more than the reader has; its statements are run to their end
before anything else happens, so no read transaction stays open and SQLite can reuse its write-ahead log.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from operator import itemgetter

from headwater.errors import Unavailable
from headwater.log.cursors import Cursors, Fetched
from headwater.log.port import Batch, Positions, Record, TopicPartition
from headwater.log.sqlite.catalog import Catalog
from headwater.log.sqlite.faults import explain
from headwater.log.sqlite.news import News
from headwater.log.sqlite.records import SELECT, SELECT_BARE, place_of, to_bare_records, to_records
from headwater.log.sqlite.schema import File

_CHUNK = 128
_VALUE = itemgetter(-1)
_MOST_BYTES = 16_000_000

_RANGE = "WHERE place >= ? AND place < ? ORDER BY place LIMIT ?"
_SELECT_RANGE = {table: f"{SELECT} {table} {_RANGE}" for table in ("records", "latest")}
_SELECT_BARE_RANGE = {table: f"{SELECT_BARE} {table} {_RANGE}" for table in ("records", "latest")}


class Handed:
    """How many records a log has handed out. Thread-safe."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.count += count


class Source:
    """What readers of one handle share.

    Arguments: file; catalog: finds partitions; news: knows where they end; handed: counts what is read.
    """

    def __init__(self, file: File, catalog: Catalog, news: News, handed: Handed) -> None:
        self.file, self.catalog, self.news, self.handed = file, catalog, news, handed


class Reading:
    """The partitions that one reader or member reads. Its `close` may come from any thread."""

    def __init__(self, source: Source, *, member: bool = False, envelopes: bool = True) -> None:
        self._source, self._news, self._member = source, source.news, member
        self._questions = _SELECT_RANGE if envelopes else _SELECT_BARE_RANGE
        self._to_records: Callable[..., Sequence[Record]] = to_records if envelopes else to_bare_records
        self._connection = source.file.connect()
        self._cursors = Cursors()
        self._slots: dict[TopicPartition, int] = {}
        self._using = threading.Lock()
        self.woken = threading.Event()
        self.closed = self._cut = False
        self._news.listen(self.woken, (), member=member)

    def start(self, positions: Positions) -> None:
        """Reads these from now on, beside those that are read already."""
        self._slots |= self._source.catalog.slots(positions)
        self._cursors.set(positions)
        self._listen()

    @property
    def partitions(self) -> list[TopicPartition]:
        return list(self._slots)

    def stop(self, partitions: list[TopicPartition]) -> None:
        """Reads these no longer."""
        for partition in partitions:
            self._slots.pop(partition, None)
        self._cursors.drop(partitions)
        self._listen()

    def _listen(self) -> None:
        self._news.listen(self.woken, self._slots.values(), member=self._member)

    def take(self, max_records: int) -> Batch:
        """What is there now. Empty after `close`."""
        with self._using:
            if self.closed:
                return Batch()
            try:
                batch = self._cursors.take(max_records, self._fetch)
            except sqlite3.Error as error:
                raise explain(error, self._source.file.path) from error
        self._source.handed.add(len(batch.records))
        return batch

    def ask(self, question: str, arguments: tuple[object, ...]) -> list[tuple[object, ...]]:
        """Answers a small question from the file. Nothing after `close`."""
        with self._using:
            return [] if self.closed else self._connection.execute(question, arguments).fetchall()

    def _fetch(self, partition: TopicPartition, position: int, limit: int) -> Fetched:
        slot = self._slots[partition]
        end = self._news.nexts.get(slot, 0)
        if position > end:
            self._news.look(0)
            end = self._news.nexts.get(slot, 0)
        if position >= end or position < self._news.firsts.get(slot, 0):
            self._check(partition, position, self._news.firsts.get(slot, 0), end)
            return Fetched((), position, ended=True)
        records = self._select(partition, slot, position, end, limit)
        # Fewer than asked for: nothing else is kept below the end, whatever gaps there are.
        complete = len(records) < limit and not self._cut
        reached = end if complete else records[-1].offset + 1
        return Fetched(records, reached, ended=reached == end)

    def _select(self, partition: TopicPartition, slot: int, position: int, end: int, limit: int) -> list[Record]:
        """The records between two offsets, as many as fit into a batch's bytes."""
        self._cut = False
        topic, number = partition
        records: list[Record] = []
        size_bytes = 0
        question = self._questions[self._source.catalog.find(topic).table]
        cursor = self._connection.execute(question, (place_of(slot, position), place_of(slot, end), limit))
        while rows := cursor.fetchmany(_CHUNK):
            records += self._to_records(topic, number, rows)
            size_bytes += sum(map(len, filter(None, map(_VALUE, rows))))
            if size_bytes > _MOST_BYTES:
                self._cut = True
                break
        cursor.close()
        return records

    def _check(self, partition: TopicPartition, position: int, first: int, end: int) -> None:
        if position < first:
            raise Unavailable(
                f"records {position} to {first - 1} of {partition} are gone, deleted by age: reset the reader to "
                f"{first} or later, and look at the topic's retention"
            )
        if position > end:
            raise Unavailable(
                f"position {position} of {partition} lies beyond its end {end}: it was read from another log, "
                f"or the file {self._source.file.path} was replaced by an older copy"
            )

    def wait(self, at_most_s: float) -> None:
        """Waits until there may be news, but not long: the file is to be asked again soon."""
        self._news.wait(self.woken, at_most_s)

    def close(self) -> None:
        self.closed = True
        self.woken.set()
        self._news.ignore(self.woken)
        with self._using:
            self._connection.close()


class SqliteReader:
    """See `headwater.log.port.Reader`."""

    def __init__(self, source: Source, envelopes: bool) -> None:
        self._source, self._reading = source, Reading(source, envelopes=envelopes)

    def assign(self, positions: Positions) -> None:
        self._source.catalog.slots(positions)  # unknown ones are refused before anything changes
        self._reading.stop(self._reading.partitions)
        self._reading.start(positions)

    def read(self, max_records: int, timeout_s: float) -> Batch:
        deadline = time.monotonic() + timeout_s
        reading = self._reading
        while True:
            reading.woken.clear()
            self._source.news.look()
            batch = reading.take(max_records)
            if batch.reached or batch.ended or reading.closed:
                return batch
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return batch
            reading.wait(remaining_s)

    def close(self) -> None:
        self._reading.close()
