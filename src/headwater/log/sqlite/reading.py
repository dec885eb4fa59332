"""Reading partitions: in batches from a connection of the reader's own, waiting without holding anything.

A read asks only partitions of which `news` knows more than the reader has; its statements are run to their end
before anything else happens, so no read transaction stays open and SQLite can reuse its write-ahead log. A lean member
that has much to read is given values first, and the rest when it asks for it (see `lean`).

Nothing is read by another thread while a batch is worked on: the binding of SQLite gives Python's lock away at each row
and takes it again. Where the rows of a read model are in a SQLite file too, two threads hand the lock to and fro, and
all of it takes longer than one after the other.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from headwater.errors import Unavailable
from headwater.log.cursors import Cursors, Fetched
from headwater.log.port import Batch, Positions, Record, TopicPartition
from headwater.log.sqlite.catalog import Catalog
from headwater.log.sqlite.faults import explain
from headwater.log.sqlite.lean import Rest, to_lean_records
from headwater.log.sqlite.news import News
from headwater.log.sqlite.records import (
    SELECT,
    SELECT_BARE,
    SELECT_LEAN,
    SqliteRecord,
    place_of,
    to_bare_records,
    to_records,
)
from headwater.log.sqlite.schema import File

_CHUNK = 128
_VALUE = itemgetter(-1)
_MOST_BYTES = 16_000_000
_MANY = 1_000
"""Of fewer records all is read at once: a statement more would cost as much as it saves."""

_RANGE = "WHERE place >= ? AND place < ? ORDER BY place LIMIT ?"
_SELECT_RANGE = {table: f"{SELECT} {table} {_RANGE}" for table in ("records", "latest")}
_SELECT_BARE_RANGE = {table: f"{SELECT_BARE} {table} {_RANGE}" for table in ("records", "latest")}
_SELECT_LEAN_RANGE = f"{SELECT_LEAN} records {_RANGE}"


class Question(NamedTuple):
    """Arguments: slot: of the partition in the file; position, end: the records between them; limit: the most."""

    partition: TopicPartition
    slot: int
    position: int
    end: int
    limit: int


class Answer(NamedTuple):
    """Arguments: cut: there are more, and they were too large for the batch."""

    records: Sequence[Record]
    cut: bool


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

    def __init__(self, source: Source, *, member: bool = False, envelopes: bool = True, lean: bool = False) -> None:
        self._source, self._news, self._member, self._lean = source, source.news, member, lean
        self._questions = _SELECT_RANGE if envelopes else _SELECT_BARE_RANGE
        self._to_records: Callable[..., Sequence[Record]] = to_records if envelopes else to_bare_records
        self._connection = source.file.connect()
        self._cursors = Cursors()
        self._slots: dict[TopicPartition, int] = {}
        self._using = threading.Lock()
        self.woken = threading.Event()
        self.closed = False
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
        records, cut = self._select(Question(partition, slot, position, end, limit))
        # Fewer than asked for: nothing else is kept below the end, whatever gaps there are.
        complete = len(records) < limit and not cut
        reached = end if complete else records[-1].offset + 1
        return Fetched(records, reached, ended=reached == end)

    def _select(self, question: Question) -> Answer:
        """The records between two offsets, as many as fit into a batch's bytes."""
        _, _, position, end, limit = question
        table = self._source.catalog.find(question.partition.topic).table
        if self._lean and table == "records" and min(end - position, limit) >= _MANY:
            return self._select_lean(question)
        return self._run(self._questions[table], self._to_records, question)

    def _select_lean(self, question: Question) -> Answer:
        """The same with values only; but the last one is kept as the newest, and asked for its time at any time."""
        rest = Rest(question.partition, lambda end: self._ask_again(question._replace(end=end)))
        self._connection.execute("BEGIN")  # so that the last one is still there
        try:
            found = self._run(_SELECT_LEAN_RANGE, partial(to_lean_records, rest=rest), question)
            if not found.records:
                return found
            last = found.records[-1].offset
            rest.end = last + 1
            whole = self._whole(question._replace(position=last, end=rest.end))
            return Answer([*found.records[:-1], *whole], found.cut)
        finally:
            self._connection.execute("COMMIT")

    def _run(self, statement: str, to_records: Callable[..., Sequence[Record]], question: Question) -> Answer:
        (topic, number), slot, position, end, limit = question
        records: list[Record] = []
        size_bytes, cut = 0, False
        cursor = self._connection.execute(statement, (place_of(slot, position), place_of(slot, end), limit))
        while rows := cursor.fetchmany(_CHUNK):
            records += to_records(topic, number, rows)
            size_bytes += sum(map(len, filter(None, map(_VALUE, rows))))
            if size_bytes > _MOST_BYTES:
                cut = True
                break
        cursor.close()
        return Answer(records, cut)

    def _ask_again(self, question: Question) -> list[SqliteRecord]:
        """The records that were read lean. Nothing after `close`. Raises: Unavailable."""
        with self._using:
            try:
                return [] if self.closed else self._whole(question)
            except sqlite3.Error as error:
                raise explain(error, self._source.file.path) from error

    def _whole(self, question: Question) -> list[SqliteRecord]:
        """Records with all their parts; of a topic that is not compacted."""
        (topic, number), slot, position, end, limit = question
        places = place_of(slot, position), place_of(slot, end), limit
        rows = self._connection.execute(_SELECT_RANGE["records"], places).fetchall()
        return list(to_records(topic, number, rows))

    def _check(self, partition: TopicPartition, position: int, first: int, end: int) -> None:
        if position < first:
            raise Unavailable(
                f"records {position} to {first - 1} of {partition} are gone, deleted by age or on demand: reset the "
                f"reader to {first} or later, and look at the topic's retention"
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
