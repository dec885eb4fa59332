"""The rows that the records of a batch become in a stream, each with what its record says of where it comes from.

    of one topic     records ─► rows                                           nothing is kept
    of two streams   topic in which both are together ─► rows of both sides (DuckDB, in memory) ─► pairs

What is kept of two streams is made again from their topic, up to where the positions stand, when a partition is given
to a process. Offsets tell which of two records is the later one, and so of which one a pair is a row, so it does not
matter how the topic was cut into batches, nor whether what is kept goes beyond a record that is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import duckdb
import pyarrow as pa

from headwater.environment import Environment
from headwater.failures.parking import Place, Trouble, place_of, trouble_in
from headwater.log.port import Log, Positions, Record, TopicPartition
from headwater.messages.envelope import EPOCH, Meta
from headwater.messages.unreadable import Unreadable
from headwater.projections.gathering import bad_data
from headwater.readers.spans import batches_between
from headwater.schemas.topics import Codecs
from headwater.views.inputs import input_of
from headwater.views.metadata import Envelopes
from headwater.views.plan import Column, Relation, View
from headwater.views.repartitioning import as_read
from headwater.views.stream_joins import near_of
from headwater.views.stream_query import AT, HOME, KEY, PART, TOLD, kept_of, new_of, pairs_of, query_of
from headwater.views.topics import events_of, topic_of
from headwater.views.types import METADATA, PLACE, quoted

PLACED = "hw_placed"
"""What the places of a side's records in a batch are registered as."""


class Origin(NamedTuple):
    """Where a row comes from.

    Arguments: id: of its record, or of both; cause: of the one that is named as the cause; time; correlation, actor: of
    that one; key, partition: of the record, of two that on the left.
    """

    id: str
    cause: str
    time: datetime
    correlation: str
    actor: str | None
    key: bytes | None
    partition: int


class Made(NamedTuple):
    """A row. Arguments: origin; values: of its columns."""

    origin: Origin
    values: tuple[Any, ...]


Rows = dict[int, list[Made]]
"""By the place of a record in its batch, its rows in order."""


class Source(Protocol):
    """Makes the rows of a batch. Belongs to one thread."""

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the tables, without rows."""
        ...

    def decode(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> dict[Place, Trouble]:
        """Makes the tables of a batch. Returns why some records are not in them."""
        ...

    def rows(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> tuple[Rows, dict[int, Trouble]]:
        """The rows of the batch that was decoded, and why some records have none. Raises: duckdb.Error: an expression
        does not go with one of them."""
        ...

    def taken(self, start: Positions) -> None:
        """Partitions are given to this process, which goes on from there. Raises: Unavailable."""
        ...

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """They are taken away."""
        ...


class OneTopic:
    """A `Source`: the records of one topic. Arguments: view; runner: whose tables they are; codecs."""

    def __init__(self, view: View, runner: str, codecs: Codecs) -> None:
        self._input = input_of(view.relation, runner, codecs, True)
        self._envelopes = Envelopes(codecs.of(topic_of(view.relation)[0], events_of(view.relation)))
        self._query = query_of(view)

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._input.open(connection)
        connection.execute(self._query)  # what is wrong with it is no fault of a record

    def decode(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> dict[Place, Trouble]:
        troubles = self._input.prepare(records)(connection)
        self._input.choose(connection, None)
        return troubles

    def rows(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> tuple[Rows, dict[int, Trouble]]:
        found: Rows = {}
        troubles: dict[int, Trouble] = {}
        origins: dict[int, Origin] = {}
        for i, *values in connection.execute(self._query).fetchall():
            if i in troubles:
                continue
            if i not in origins:
                meta = self._envelopes.of(records[i])
                if isinstance(meta, Unreadable):
                    troubles[i] = trouble_in(meta, bad_data(meta, records[i]))
                    continue
                origins[i] = origin_of(records[i], meta)
            found.setdefault(i, []).append(Made(origins[i], tuple(values)))
        return found, troubles

    def taken(self, start: Positions) -> None:
        """Nothing is kept."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing is kept."""


class TwoStreams:
    """A `Source`: the pairs of two streams. Arguments: view; topic: in which both are together; runner; log;
    environment; codecs."""

    def __init__(self, view: View, topic: str, runner: str, log: Log, environment: Environment, codecs: Codecs) -> None:
        near = near_of(view)
        assert near is not None, "it joins two streams"
        self._topic, self._log, self._environment, self._runner = topic, log, environment, runner
        self._sides = [Side(one, runner, codecs) for one in (view.relation, near.right)]
        self._query = pairs_of(view)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._kept: dict[int, int] = {}
        """By partition, up to which offset its rows are kept."""
        self._lost: set[int] = set()

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        for side in self._sides:
            side.open(connection)
        connection.execute(self._query)
        self._connection, self._kept = connection, {}

    def decode(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> dict[Place, Trouble]:
        troubles: dict[Place, Trouble] = {}
        for side in self._sides:
            troubles |= side.decode(connection, records)
            side.keep(connection, self._kept)
        for one in records:
            self._kept[one.partition] = max(self._kept.get(one.partition, 0), one.offset + 1)
        return troubles

    def rows(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> tuple[Rows, dict[int, Trouble]]:
        found: Rows = {}
        for i, key, home, *told in connection.execute(self._query).fetchall():
            left, right, values = told[: len(TOLD)], told[len(TOLD) : 2 * len(TOLD)], told[2 * len(TOLD) :]
            id, at_us, correlation, actor = max(right, left, key=lambda one: one[1])
            time = EPOCH + timedelta(microseconds=at_us)
            origin = Origin(f"{left[0]}-{right[0]}", id, time, correlation or id, actor, key, home)
            found.setdefault(i, []).append(Made(origin, tuple(values)))
        return found, {}

    def taken(self, start: Positions) -> None:
        connection = self._connection
        assert connection is not None, "it is opened before the group is joined"
        partitions = {tp.partition for tp in start}
        gone = self._lost - partitions
        for side in self._sides if gone else ():
            side.forget(connection, gone)
        self._kept = {p: at for p, at in self._kept.items() if p not in gone}
        self._lost.clear()
        new = [tp for tp in start if tp.partition not in self._kept]
        begins = self._log.begins(new) if new else {}
        missing = {tp: self._kept.get(tp.partition, begins.get(tp, 0)) for tp in start}
        what = f"reading {self._topic} again for {self._runner}"
        for batch in batches_between(self._log, missing, start, what, self._environment):
            self.decode(connection, batch.records)

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """They may come back in a moment; what is kept of them is forgotten when they do not."""
        self._lost.update(tp.partition for tp in partitions)


class Side:
    """One of two streams that are joined. Arguments: relation; runner: whose tables they are; codecs."""

    def __init__(self, relation: Relation, runner: str, codecs: Codecs) -> None:
        there = {one.name for one in relation.columns}
        more = [Column(name, METADATA[name]) for name in TOLD if name not in there]
        self._relation = replace(relation, columns=(*relation.columns, *more))
        self._input = input_of(self._relation, runner, codecs, False)
        self._new, self._kept = new_of(relation), kept_of(relation)

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._input.open(connection)
        self._place(connection, [], [])
        connection.execute(f"CREATE TABLE {self._kept} AS SELECT * EXCLUDE ({PLACE}) FROM {self._new}")

    def decode(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> dict[Place, Trouble]:
        """Makes the table of the rows of a batch. Returns why records have none, by their places in the topic."""
        read = [as_read(record, self._relation.alias) for record in records]
        mine = [i for i, one in enumerate(read) if one.topic == self._relation.name]
        found = self._input.prepare([read[i] for i in mine])(connection)
        self._input.choose(connection, None)
        self._place(connection, [records[i] for i in mine], mine, [read[i] for i in mine])
        return {place_of(records[i]): found[place_of(read[i])] for i in mine if place_of(read[i]) in found}

    def keep(self, connection: duckdb.DuckDBPyConnection, kept: Mapping[int, int]) -> None:
        """Adds the rows of the batch that are not kept yet. Arguments: kept: by partition, up to which offset."""
        known = [f"{PART} = {part:d} AND {AT} < {at:d}" for part, at in kept.items()]
        new = f"SELECT * EXCLUDE ({PLACE}) FROM {self._new} WHERE NOT ({' OR '.join(known) or 'false'})"
        connection.execute(f"INSERT INTO {self._kept} BY NAME {new}")

    def forget(self, connection: duckdb.DuckDBPyConnection, partitions: set[int]) -> None:
        connection.execute(f"DELETE FROM {self._kept} WHERE {PART} IN ({', '.join(map(str, partitions))})")

    def _place(
        self,
        connection: duckdb.DuckDBPyConnection,
        records: Sequence[Record],
        places: Sequence[int],
        read: Sequence[Record] = (),
    ) -> None:
        columns = {
            "i": pa.array(range(len(records)), pa.int32()),
            "place": pa.array(places, pa.int32()),
            "part": pa.array([one.partition for one in records], pa.int32()),
            "at": pa.array([one.offset for one in records], pa.int64()),
            "k": pa.array([one.key for one in records], pa.binary()),
            "home": pa.array([one.partition for one in read], pa.int32()),
        }
        alias = quoted(self._relation.alias)
        listed = ", ".join(f"t.{quoted(one.name)}" for one in self._relation.columns)
        connection.register(PLACED, pa.table(columns))
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {self._new} AS SELECT p.place AS {PLACE}, p.part AS {PART}, p.at AS "
                f"{AT}, p.k AS {KEY}, p.home AS {HOME}, {listed} FROM {alias} AS t JOIN {PLACED} AS p "
                f"ON p.i = t.{PLACE} ORDER BY t.{PLACE}, t.rowid"
            )
        finally:
            connection.unregister(PLACED)


def origin_of(record: Record, meta: Meta) -> Origin:
    return Origin(meta.id, meta.id, meta.time, meta.correlation_id or meta.id, meta.actor, record.key, record.partition)
