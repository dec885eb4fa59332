"""A stream: each row of a view becomes a record of a topic, once.

    source ─► rows (DuckDB, in memory) ─► records ─► the topic, in one transaction with the positions behind the source

The topic is the state. What is kept in memory of two streams that are joined, and of tables that are looked up, is made
again from their topics (see `stream_rows`, `lookups`). A record is an event of the wire contract whose type is the
stream's name, so projections, views and programs of others read it as any event. Its id follows from the ids of the
records that it comes from and its place among the rows of these, so a reader that counts ids once also bears that the
source is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import msgspec

from headwater.environment import Environment
from headwater.errors import Failed, Misuse
from headwater.failures.parking import Parking, Place, Trouble, place_of, trouble_of, where_of
from headwater.log.limits import check_size
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record, TopicPartition
from headwater.messages.envelope import event_headers, time_text
from headwater.readers.loop import ReadingLoop
from headwater.readers.relaying import Relaying
from headwater.schemas.topics import Codecs
from headwater.views.failing import OF_VALUES
from headwater.views.lookups import Lookup
from headwater.views.plan import View
from headwater.views.record_values import in_json
from headwater.views.relays import failed_at, in_memory, partitions_for, relay
from headwater.views.routes import routes_of
from headwater.views.stream_joins import lookups_of
from headwater.views.stream_query import unknown_of
from headwater.views.stream_rows import Made, OneTopic, Origin, Rows, Source, TwoStreams
from headwater.views.topics import topic_of, topics_of


class StreamMaker:
    """Makes the records of a stream. Belongs to one thread. Arguments: app: its name, which is their source; view; log;
    environment; codecs. `topics`: what it reads."""

    def __init__(self, app: str, view: View, log: Log, environment: Environment, codecs: Codecs) -> None:
        self._app, self._view, self._log = app, view, log
        self.topic, self._said = str(view.topic), f"stream {view.name}"
        group, self._together = group_of(app, view), repartition_of(app, view)
        self.source: Source
        if self._together is None:
            self._read = self.topics = [topic_of(view.relation)[0]]
            self.source = OneTopic(view, group, codecs)
        else:
            self._read, self.topics = [topic_of(one.relation)[0] for one in routes_of(view)], [self._together]
            self.source = TwoStreams(view, self._together, group, log, environment, codecs)
        self._lookups = [Lookup(step, self._said, log, environment, codecs) for step in lookups_of(view)]
        self._unknown = unknown_of(view)
        self._names = [one.name for one in view.output]
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._partitions = 0

    def open(self) -> None:
        """Makes the topic where it is missing, and the one in which two streams are together, with as many partitions
        as the larger source has. Raises: Unavailable."""
        if self._together is not None:
            partitions_for(self._log, self._said, self._read, self._together, log_time=True)
        self._partitions = partitions_for(self._log, self._said, self._read, self.topic)
        if self._connection is None:
            connection = in_memory()
            for lookup in self._lookups:
                lookup.open(connection)
            self.source.open(connection)
            self._connection = connection
        for lookup in self._lookups:  # a large table may take long, and a member of a group must not be silent so long
            lookup.catch_up(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def goes_on(self, partition: TopicPartition, position: int) -> str:
        """See `Maker`."""
        return f"{self.topic} gets the rows from there on; those that it has come again, with the same ids"

    def made(self, records: Sequence[Record], parking: Parking, late: bool) -> list[NewRecord]:
        """See `Maker`."""
        connection = self._connection
        assert connection is not None, "it is opened before the group is joined"
        for lookup in self._lookups if records else ():
            lookup.catch_up(connection)
        rows, troubles = self._rows(connection, records)
        found: list[NewRecord] = []
        for i, record in enumerate(records):
            if parking.parks(record):
                continue
            trouble = troubles.get(place_of(record))
            new: list[NewRecord] = []
            if trouble is None and i in rows:
                try:
                    new = list(self._records_of(record, rows[i]))
                except Failed as error:
                    trouble = trouble_of(error)
            if trouble is not None:
                parking.fail(record, trouble)
            found += new
        return found

    def _rows(
        self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]
    ) -> tuple[Rows, dict[Place, Trouble]]:
        """The rows of each record, by its place, and why some have none."""
        troubles = self.source.decode(connection, records)
        try:
            for query in self._unknown:
                for i, why in connection.execute(query).fetchall():
                    failed = Failed(self._said, where_of(records[i]), f"what it looks up is not known: {why}")
                    troubles.setdefault(place_of(records[i]), trouble_of(failed))
            rows, more = self.source.rows(connection, records)
        except OF_VALUES as error:
            if len(records) == 1:
                return {}, {place_of(records[0]): trouble_of(failed_at(self._said, records[0], error))}
            rows = {}
            for i, record in enumerate(records):  # one of them is to blame, and the others go on
                alone, why = self._rows(connection, [record])
                if 0 in alone:
                    rows[i] = alone[0]
                troubles.update(why)
            return rows, troubles
        troubles.update({place_of(records[i]): trouble for i, trouble in more.items()})
        return rows, troubles

    def _records_of(self, record: Record, rows: Sequence[Made]) -> Iterator[NewRecord]:
        """Raises: Failed: a row is no record."""
        places: dict[str, int] = {}
        for origin, values in rows:
            place = places[origin.id] = places.get(origin.id, -1) + 1
            try:
                yield self._record(origin, place, values)
            except (ValueError, OverflowError, Misuse) as error:
                raise failed_at(self._said, record, error) from error

    def _record(self, origin: Origin, place: int, row: Sequence[Any]) -> NewRecord:
        name = self._view.name
        values = dict(zip(self._names, row, strict=True))
        time = time_text(origin.time)
        key = origin.key if self._view.record_key is None else key_of(values[self._view.record_key])
        content = {"eventType": name, "eventVersion": 1, **{one: in_json(value) for one, value in values.items()}}
        value = msgspec.json.encode({**content, "timestamp": time})
        partition = origin.partition % self._partitions if key is None else partition_of(key, self._partitions)
        headers = event_headers(
            id=f"{origin.id}-{name}-{place}",
            source=self._app,
            type=name,
            time=time,
            subject="" if key is None else key.decode(),
            entity_version=None,
            causation_id=origin.cause,
            correlation_id=origin.correlation,
            actor=origin.actor,
        )
        new = NewRecord(self.topic, partition, key, value, headers, int(origin.time.timestamp() * 1000))
        check_size(new)
        return new


class StreamRunner:
    """The reader of one stream. Arguments: app: its name; view; log; environment; codecs."""

    def __init__(self, app: str, view: View, log: Log, environment: Environment, codecs: Codecs) -> None:
        self.view, self.group = view, group_of(app, view)
        self._log, self._environment = log, environment
        self._maker = StreamMaker(app, view, log, environment, codecs)
        self.repartition = repartition_of(app, view)

    @property
    def families(self) -> set[str]:
        """The entity types whose events it reads."""
        return {one.entity for one in topics_of(self.view) if one.entity}

    def begin(self, worker: str) -> tuple[Relaying, ReadingLoop]:
        """What writes and what reads, not yet started. Arguments: worker: names the process."""
        code = hashlib.blake2b(self.view.sql.encode(), digest_size=8).hexdigest()
        return relay(
            self._log,
            self.group,
            self._maker.topics,
            self._maker,
            worker=worker,
            code=code,
            followed_as=f"stream {self.view.name}",
            environment=self._environment,
            following=self._maker.source,
        )

    def close(self) -> None:
        self._maker.close()


def repartition_of(app: str, view: View) -> str | None:
    """The topic in which two streams are together that a stream joins, which is the group that writes it, too; None:
    it joins none. By another key they are together in another topic."""
    routes = [(topic_of(one.relation)[0], one.key) for one in routes_of(view)]
    if not routes:
        return None
    return f"{app}-{view.name}-repartition-{hashlib.blake2b(repr(routes).encode(), digest_size=4).hexdigest()}"


def group_of(app: str, view: View) -> str:
    """Whose positions a stream's are."""
    return f"{app}-{view.name}-stream"


def key_of(value: Any) -> bytes | None:
    """The key of a record, from the column that is named for it."""
    return None if value is None else str(value).encode()
