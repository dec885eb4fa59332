"""The topic of a shared view, or of a stream, that joins: all records with one join key are in one of its partitions.

    source ─► the join key of each record ─► its partition of the topic, in one transaction with the positions behind
    the source, and in every partition a marker of how far the source was read

A record is written as it is, with a header that says where it stood and for which relations it is there, so the view
reads it as if it had come from its source. A marker comes after all records of the source before its positions, so who
has read it has read those: that is how a view that waits for a receipt knows. The topic is kept for ever, as events
are, for views are made from it; another statement has another topic.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import msgspec

from headwater.environment import Environment
from headwater.errors import BadData, Misuse
from headwater.failures.parking import Parking, Place, Trouble, place_of, trouble_of
from headwater.log.limits import check_size
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Positions, Record, StoredRecord, TopicPartition
from headwater.readers.loop import ReadingLoop
from headwater.readers.relaying import Relaying
from headwater.schemas.topics import Codecs
from headwater.views.failing import OF_VALUES
from headwater.views.inputs import input_of
from headwater.views.plan import View
from headwater.views.relays import failed_at, in_memory, partitions_for, relay
from headwater.views.routes import Route, routes_of
from headwater.views.topics import topic_of
from headwater.views.types import PLACE, quoted

ROUTED, REACHED = "hw_routed", "hw_reached"
"""Headers: where a record stood and what it is for; how far sources were read."""


class Origin(msgspec.Struct, array_like=True, frozen=True):
    """Where a record stood. Arguments: aliases: of the relations that it is for."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    aliases: tuple[str, ...]


ORIGIN = msgspec.msgpack.Decoder(Origin)
MARK = msgspec.msgpack.Decoder(list[tuple[str, int, int]])


class Router:
    """Makes the records of the topic. Belongs to one thread. Arguments: view; topic: its name; log; codecs."""

    def __init__(self, view: View, topic: str, log: Log, codecs: Codecs) -> None:
        self._view, self._log, self.topic = view, log, topic
        self.sources = list(dict.fromkeys(topic_of(route.relation)[0] for route in routes_of(view)))
        self._sides = [Side(route, topic, codecs) for route in routes_of(view)]
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._partitions = 0

    def open(self) -> None:
        """Makes the topic where it is missing, with as many partitions as the largest source has. Raises:
        Unavailable."""
        self._partitions = partitions_for(self._log, f"view {self._view.name}", self.sources, self.topic, log_time=True)
        if self._connection is None:
            connection = in_memory()
            for side in self._sides:
                side.open(connection)
            self._connection = connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def goes_on(self, partition: TopicPartition, position: int) -> str:
        """See `Maker`."""
        of = "files of shared views" if self._view.target == "table" else "positions of the stream"
        return (
            f"{self.topic} gets the records from there on, and those that it has once more: delete the topic and the "
            f"{of}, and set the group to the beginning"
        )

    def made(self, records: Sequence[Record], parking: Parking, late: bool) -> list[NewRecord]:
        """See `Maker`."""
        connection = self._connection
        assert connection is not None, "it is opened before the group is joined"
        found: list[dict[int, list[str]]] = [{} for _ in records]
        troubles: dict[Place, Trouble] = {}
        for side in self._sides:
            keys, bad = self._keys(connection, side, records)
            troubles |= bad
            for i, key in keys.items():
                at = records[i].partition % self._partitions if key is None else partition_of(key, self._partitions)
                found[i].setdefault(at, []).append(side.alias)
        written: list[NewRecord] = []
        for record, places in zip(records, found, strict=True):
            if parking.parks(record):
                continue
            trouble = troubles.get(place_of(record))
            if trouble is not None:
                parking.fail(record, trouble)
                continue
            try:
                written += [self._routed(record, at, tuple(aliases)) for at, aliases in places.items()]
            except Misuse as error:  # its header makes it larger than a record may be
                parking.fail(record, trouble_of(failed_at(f"view {self._view.name}", record, error)))
        return written

    def marks(self, positions: Positions) -> list[NewRecord]:
        """In each partition, how far sources were read."""
        said = msgspec.msgpack.encode([(*tp, position) for tp, position in positions.items()])
        return [NewRecord(self.topic, at, None, None, [(REACHED, said)]) for at in range(self._partitions)]

    def _routed(self, record: Record, partition: int, aliases: tuple[str, ...]) -> NewRecord:
        origin = Origin(record.topic, record.partition, record.offset, record.timestamp_ms, aliases)
        headers = [(ROUTED, msgspec.msgpack.encode(origin)), *record.headers]
        new = NewRecord(self.topic, partition, record.key, record.value, headers)
        check_size(new)
        return new

    def _keys(
        self, connection: duckdb.DuckDBPyConnection, side: Side, records: Sequence[Record]
    ) -> tuple[dict[int, bytes | None], dict[Place, Trouble]]:
        """The key of each record that a relation reads, and why others have none."""
        try:
            return side.keys(connection, records)
        except OF_VALUES as error:
            if len(records) == 1:
                return {}, {place_of(records[0]): trouble_of(failed_at(f"view {self._view.name}", records[0], error))}
        keys: dict[int, bytes | None] = {}
        troubles: dict[Place, Trouble] = {}
        for i, record in enumerate(records):  # one of them is to blame, and the others go on
            alone, why = self._keys(connection, side, [record])
            troubles |= why
            if 0 in alone:
                keys[i] = alone[0]
        return keys, troubles


class Side:
    """One relation of the join. Arguments: route; runner: whose tables they are; codecs."""

    def __init__(self, route: Route, runner: str, codecs: Codecs) -> None:
        self.alias, self._key = route.relation.alias, route.key
        self._topic = topic_of(route.relation)[0]
        self._input = None if route.key is None else input_of(route.relation, runner, codecs, False)

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self._input is not None:
            self._input.open(connection)

    def keys(
        self, connection: duckdb.DuckDBPyConnection, records: Sequence[Record]
    ) -> tuple[dict[int, bytes | None], dict[Place, Trouble]]:
        """Raises: duckdb.Error: the expression does not go with one of them."""
        if self._input is None:
            return {i: one.key for i, one in enumerate(records) if one.topic == self._topic}, {}
        mine = [i for i, one in enumerate(records) if one.topic == self._topic]
        chosen = [records[i] for i in mine]
        troubles = self._input.prepare(chosen)(connection)
        self._input.choose(connection, None)
        rows = connection.execute(f"SELECT {PLACE}, ({self._key})::VARCHAR FROM {quoted(self.alias)}").fetchall()
        keys: dict[int, bytes | None] = {}
        for i, text in rows:
            key = None if text is None else str(text).encode()
            if keys.setdefault(mine[i], key) != key:  # an old event that is several of today's
                record = chosen[i]
                why = f"it is several events, which {self.alias} joins by different keys, so it has no one place"
                topic, partition, offset = place_of(record)
                bad = BadData(why, topic=topic, partition=partition, offset=offset)
                troubles[place_of(record)] = trouble_of(bad)
        return keys, troubles


class Repartitioning:
    """What writes the topic of one view. Arguments: view; topic: its name, and that of the group; log; environment;
    codecs."""

    def __init__(self, view: View, topic: str, log: Log, environment: Environment, codecs: Codecs) -> None:
        self.view, self.group = view, topic
        self._log, self._environment = log, environment
        self.router = Router(view, topic, log, codecs)

    def begin(self, worker: str) -> tuple[Relaying, ReadingLoop]:
        """What writes and what reads, not yet started. Arguments: worker: names the process."""
        return relay(
            self._log,
            self.group,
            self.router.sources,
            self.router,
            worker=worker,
            code=self.group,
            followed_as=f"repartition {self.view.name}",
            environment=self._environment,
            marks=self.router.marks,
        )

    def close(self) -> None:
        self.router.close()


def reached_in(record: Record) -> list[tuple[str, int, int]]:
    """Of a marker, topic, partition and next offset of what was read; of any other record nothing."""
    for name, content in record.headers:
        if name == REACHED:
            return MARK.decode(content)
    return []


def as_read(record: Record, alias: str) -> Record:
    """A record of the topic as a relation reads it: where it stood; one that is not for it is of no topic."""
    for place, (name, content) in enumerate(record.headers):
        if name == ROUTED:
            origin = ORIGIN.decode(content)
            topic = origin.topic if alias in origin.aliases else ""
            headers = [*record.headers[:place], *record.headers[place + 1 :]]
            at = topic, origin.partition, origin.offset
            return StoredRecord(*at, record.key, record.value, headers, origin.timestamp_ms)
    return StoredRecord("", record.partition, record.offset, None, None, (), record.timestamp_ms)


def origin_of(record: Record) -> tuple[str, int, int] | None:
    """Topic, partition and offset of what a record of the topic was; None: it is a marker."""
    for name, content in record.headers:
        if name == ROUTED:
            origin = ORIGIN.decode(content)
            return origin.topic, origin.partition, origin.offset
    return None
