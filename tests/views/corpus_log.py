"""A log with records of all topics that the corpus reads, and the same rows as tables of DuckDB."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import duckdb
import msgspec

import headwater as hw
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord
from headwater.messages.envelope import event_headers
from headwater.messages.json_codec import JsonCodec
from headwater.messages.unreadable import Unreadable
from headwater.views.sources import Source, SourceType
from headwater.views.types import quoted
from tests.views.evaluating import row_of
from tests.views.selling import CustomerEvent, CustomerMoved, Order, OrderCancelled, OrderEvent, OrderPlaced


@hw.upcasts(OrderCancelled, from_version=1)
def as_it_was(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


PARTITIONS: Final = 3
ROWS: Final = 40
VERSIONS: Final = (
    "CREATE TABLE state_versions (id VARCHAR, status VARCHAR, total DECIMAL(38,9), since TIMESTAMPTZ, place BIGINT)"
)
"""All that the states of orders have been, and since when."""

JSON: Final = msgspec.json.Encoder(decimal_format="number")
ORDERS: Final[JsonCodec[OrderEvent]] = JsonCodec([OrderPlaced, OrderCancelled])
CUSTOMERS: Final[JsonCodec[CustomerEvent]] = JsonCodec([CustomerMoved])


@dataclass
class Filling:
    """Makes both. Arguments: session: where the tables are made; seed. `records`: in the order of the log."""

    session: duckdb.DuckDBPyConnection
    seed: int
    records: list[NewRecord] = field(default_factory=list)

    def fill(self, sources: Sequence[Source]) -> None:
        """A table for each source, with what is known of each record. What comes within an hour is in any order, so
        that nothing is too late for windows of an hour; many times, keys and values are equal."""
        for source in sources:
            if source.origin != "states":
                self.topic(source)
        self.states(next(one for one in sources if one.origin == "states"))

    def topic(self, source: Source) -> None:
        chance, topic = random.Random(f"{self.seed} {source.name}"), source.topic or source.name
        make_table(self.session, topic, source)
        rows = [self.row(chance, chance.choice(source.types), source, place) for place in range(ROWS)]
        if source.key:
            rows = list({row[source.key[0]]: row for row in rows}.values())
        else:
            rows.sort(key=lambda row: row["_time"].hour)
        offsets, versions = dict.fromkeys(range(PARTITIONS), 0), dict[str, int]()
        for place, row in enumerate(rows):
            key = key_of(row, source)
            row["_partition"] = place % PARTITIONS if key is None else partition_of(key.encode(), PARTITIONS)
            row["_offset"] = offsets[row["_partition"]]
            offsets[row["_partition"]] += 1
            row["_entity_version"] = None
            if source.origin == "events":
                assert key is not None, "an event is of an entity"
                row["_entity_version"] = versions[key] = versions.get(key, 0) + 1
            put(self.session, topic, row)
            self.records.append(record_of(topic, row, key, source))

    def row(self, chance: random.Random, kind: SourceType, source: Source, place: int) -> dict[str, Any]:
        """One that its class takes."""
        while True:
            row = row_of(chance, kind, source, place)
            codec: JsonCodec[Any] = ORDERS if source.name == "order-events" else CUSTOMERS
            if source.origin != "events" or not isinstance(codec.decode(value_of(row, source)), Unreadable):
                return row

    def states(self, source: Source) -> None:
        """The states that the events of orders come to, and all that they have been."""
        make_table(self.session, source.name, source)
        self.session.execute(VERSIONS)
        orders: dict[str, Order] = {}
        rows: dict[str, dict[str, Any]] = {}
        for record in self.records:
            if record.topic != "order-events":
                continue
            event = ORDERS.decode(record.value)
            assert isinstance(event, OrderEvent)
            order = orders.setdefault(event.order_id, Order(id=event.order_id))
            order.version += 1
            if isinstance(event, OrderPlaced):
                order.placed(event)
            rows[order.id] = {"id": order.id, "version": order.version, "status": order.status, "total": order.total}
            assert record.timestamp_ms is not None
            at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
            version = [order.id, order.status, order.total, at, sum(order.version for order in orders.values())]
            self.session.execute("INSERT INTO state_versions VALUES (?, ?, ?, ?, ?)", version)
        for row in rows.values():
            put(self.session, source.name, row)


def make_table(session: duckdb.DuckDBPyConnection, name: str, source: Source) -> None:
    columns = {one.wire: one.type for kind in source.types for one in kind.members}
    columns |= {one.wire: one.type for one in source.metadata}
    named = ", ".join(f"{quoted(one)} {kind.sql}" for one, kind in columns.items())
    session.execute(f"CREATE TABLE {quoted(name)} ({named})")


def put(session: duckdb.DuckDBPyConnection, name: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" for _ in row)
    session.execute(f"INSERT INTO {quoted(name)} ({', '.join(map(quoted, row))}) VALUES ({marks})", list(row.values()))


def key_of(row: dict[str, Any], source: Source) -> str | None:
    if source.key:
        return str(row[source.key[0]])
    return row.get("orderId" if source.name == "order-events" else "customerId")


def fields_of(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in row.items() if not name.startswith("_"))


def value_of(row: dict[str, Any], source: Source) -> bytes:
    said = {}
    if source.origin == "events":
        said = {"eventType": row["_type"], "eventVersion": 2 if row["_type"] == "OrderCancelled" else 1}
    return JSON.encode({**said, **dict(fields_of(row))})


def record_of(topic: str, row: dict[str, Any], key: str | None, source: Source) -> NewRecord:
    headers: tuple[tuple[str, bytes], ...] = ()
    if source.origin == "events":
        assert key is not None, "an event is of an entity"
        place = f"{topic} {row['_partition']} {row['_offset']}"
        headers = tuple(
            event_headers(
                id=place,
                source="/shop",
                type=row["_type"],
                time=row["_time"],
                subject=key,
                entity_version=row["_entity_version"],
            )
        )
    at = round(row["_time"].timestamp() * 1000)
    return NewRecord(
        topic, row["_partition"], None if key is None else key.encode(), value_of(row, source), headers, at
    )
