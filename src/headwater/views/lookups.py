"""What the rows of a table were, and when: for a stream that looks each event up at a time.

    the table's topic, up to its end ─► versions: each row from one time to another (DuckDB, in memory)

Before a batch of events is looked up, the topic is read up to where it ends at that moment, so each event finds all
that had been written when it was read, whatever the order of topics, partitions and batches. The table is read from its
beginning when a process starts, by every process as a whole, and has no positions of its own: what was looked up is in
the stream's topic, with the positions of the events.

A record that cannot be read, or at which an `@evolves` method fails, makes unknown what its row is from its time on: of
a table of others until the next record of the row, of an entity's states for good. Whoever looks it up is told so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.failures.parking import Place, Trouble, place_of, where_of
from headwater.log.port import Log, Record, TopicPartition
from headwater.messages.envelope import Meta, record_time
from headwater.projections.folding import Stopped
from headwater.readers.spans import batches_between
from headwater.schemas.topics import Codecs
from headwater.views.inputs import input_of
from headwater.views.kept import GONE, ROW_KEY, identity_of, span_of, states_of
from headwater.views.metadata import TIME, Envelopes
from headwater.views.plan import Join
from headwater.views.stream_query import AT, BROKEN, PART, RK, SINCE, UNTIL, WENT, new_of, versions_of
from headwater.views.topics import events_of, topic_of
from headwater.views.types import quoted

UNKNOWN = "hw_unknown"
"""What the records of a batch that cannot be taken are registered as."""

SCHEMA: Mapping[str, pa.DataType] = {
    "k": pa.binary(),
    "since": TIME,
    "part": pa.int32(),
    "place": pa.int64(),
    "why": pa.string(),
}


class Unknown(NamedTuple):
    """A record that says something of a row which is not known. Arguments: key; since; part, at: where it stands; why:
    in words."""

    key: bytes
    since: datetime
    part: int
    at: int
    why: str


class Lookup:
    """One table that a stream looks up. Belongs to one thread. Arguments: step: the join; stream: is said in errors;
    log; environment; codecs."""

    def __init__(self, step: Join, stream: str, log: Log, environment: Environment, codecs: Codecs) -> None:
        relation = step.right
        self._relation, self._stream, self._log, self._environment = relation, stream, log, environment
        self.topic = topic_of(relation)[0]
        self._input = input_of(relation, stream, codecs, True)
        self._envelopes = Envelopes(codecs.of(self.topic, events_of(relation)))
        self._folds = relation.origin == "states"
        self._states = states_of(relation, stream) if self._folds else None
        self._reached: dict[TopicPartition, int] = {}
        self._ended: set[bytes | None] = set()
        """The keys of entities of which nothing more is known."""
        self._versions, self._new = versions_of(relation), new_of(relation)

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the table, without rows."""
        connection.execute("CREATE SCHEMA IF NOT EXISTS hw")
        self._input.open(connection)
        self._gather(connection, [])
        connection.execute(f"CREATE TABLE {self._versions} AS SELECT *, {SINCE} AS {UNTIL} FROM {self._new}")

    def catch_up(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Reads what the topic has by now. Raises: Unavailable."""
        there = self._log.topics([self.topic]).get(self.topic)
        if there is None:
            raise Unavailable(f"{self._stream}: there is no topic {self.topic} yet")
        partitions = [TopicPartition(self.topic, p) for p in range(there.partitions)]
        ends = self._log.ends(partitions)
        if missing := [tp for tp in partitions if tp not in self._reached]:
            self._reached |= self._log.begins(missing)
        what = f"{self._stream}: reading {self.topic}"
        for batch in batches_between(self._log, dict(self._reached), ends, what, self._environment):
            self._take(connection, batch.records)
            self._reached |= {tp: min(at, ends[tp]) for tp, at in batch.reached.items()}

    def _take(self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]) -> None:
        troubles = self._input.prepare(records)(connection)
        unknown = self._choose(connection, records, troubles)
        self._gather(connection, unknown)
        connection.begin()
        if self._states is not None:
            changed = self._states.adds
            connection.execute(f"DELETE FROM {self._states.name} WHERE id IN (SELECT id FROM ({changed}))")
            connection.execute(f"INSERT INTO {self._states.name} FROM ({changed}) WHERE w > 0")
        connection.execute(f"INSERT INTO {self._versions} BY NAME FROM {self._new}")
        until = f"lead({SINCE}) OVER (PARTITION BY {RK} ORDER BY {SINCE}, {PART}, {AT})"
        known = f"{self._versions} AS v SEMI JOIN {self._new} AS n ON v.{RK} = n.{RK}"
        connection.execute(
            f"UPDATE {self._versions} AS v SET {UNTIL} = e.until FROM (SELECT v.rowid AS row, {until} AS until FROM "
            f"{known}) AS e WHERE v.rowid = e.row AND v.{UNTIL} IS DISTINCT FROM e.until"
        )
        connection.commit()

    def _choose(
        self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record], troubles: Mapping[Place, Trouble]
    ) -> list[Unknown]:
        """Makes the rows of the records that can be taken. Returns what the others make unknown."""
        failed = {place: one.message for place, one in troubles.items()}
        while True:
            ended, chosen, unknown = set(self._ended), list[int](), list[Unknown]()
            for i, record in enumerate(records):
                why = failed.get(place_of(record))
                if why is None and (not self._folds or record.key not in ended):
                    chosen.append(i)
                elif why is not None and record.key is not None and record.key not in ended:
                    unknown.append(self._unknown(record, record.key, why))
                    if self._folds:
                        ended.add(record.key)
            try:
                self._input.choose(connection, chosen)
            except Stopped as error:
                failed[place_of(error.record)] = error.cause.cause
                continue
            self._ended = ended
            return unknown

    def _unknown(self, record: Record, key: bytes, why: str) -> Unknown:
        found = self._envelopes.of(record) if record.value is not None else None
        since = found.time if isinstance(found, Meta) else record_time(record.timestamp_ms)
        return Unknown(key, since, record.partition, record.offset, f"{where_of(record)}: {why}")

    def _gather(self, connection: duckdb.DuckDBPyConnection, unknown: Sequence[Unknown]) -> None:
        """Makes the table of what is new."""
        relation, span = self._relation, quoted(span_of(self._relation))
        own = [quoted(one.name) for one in relation.columns]
        [identity] = identity_of(relation)
        went = "false" if self._folds else quoted(GONE)
        placed = f"{span}.since AS {SINCE}, {span}.part AS {PART}, {span}.place AS {AT}"
        flags = f"{went} AS {WENT}, NULL::VARCHAR AS {BROKEN}"
        rows = f"SELECT {', '.join(own)}, {quoted(identity)} AS {RK}, {placed}, {flags}"
        columns: dict[str, Any] = {
            name: pa.array([getattr(one, field) for one in unknown], kind)
            for (name, kind), field in zip(SCHEMA.items(), Unknown._fields, strict=True)
        }
        connection.register(UNKNOWN, pa.table(columns))
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {self._new} AS {rows} FROM {quoted(relation.alias)}")
            if unknown:
                self._add_unknown(connection, identity)
        finally:
            connection.unregister(UNKNOWN)

    def _add_unknown(self, connection: duckdb.DuckDBPyConnection, identity: str) -> None:
        """A row of which only the key is known: as in another record of the row, or, where it is one column, as the
        record's key says it."""
        kinds = {one.name: one.type.sql for one in self._relation.columns}
        row = "k" if identity == ROW_KEY else "decode(k)"
        rows = f"(FROM {self._versions} UNION ALL BY NAME FROM {self._new}) AS v WHERE v.{RK} = {row}"
        keys = []
        for key in self._relation.key:
            said = f"(SELECT any_value({quoted(key)}) FROM {rows})"
            if len(self._relation.key) == 1:
                said = f"coalesce({said}, TRY_CAST(TRY(decode(k)) AS {kinds[key]}))"
            keys.append(f"{said} AS {quoted(key)}")
        placed = f"{row} AS {RK}, since AS {SINCE}, part AS {PART}, place AS {AT}"
        connection.execute(
            f"INSERT INTO {self._new} BY NAME SELECT {', '.join(keys)}, {placed}, false AS {WENT}, why AS {BROKEN} "
            f"FROM {UNKNOWN}"
        )
