"""Views with windows by shape, events that come out of order, and what each view is to say, computed over all at once.

The late rule is applied first, in plain Python: record by record of a partition, in order, with the greatest time so
far. The windows of what is left are made by DuckDB's own SQL.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb

from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record
from tests.views.orders import CODEC, TOPIC, Item, OrderPlaced, make_log

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE_US = 60_000_000


class Shape(NamedTuple):
    """Arguments: name; window: as it stands in GROUP BY; kind, size, every, grace: of it, in minutes, without a grace
    nothing is late; keys: of groups, beside the window; aggregates; where: of the view, and whether an event passes it;
    having; elements: whether a row is an item, `i`; late: the option."""

    name: str
    window: str
    kind: str
    size: int
    every: int
    grace: int | None
    keys: tuple[str, ...]
    aggregates: str
    where: str = ""
    passes: Callable[[OrderPlaced], bool] = lambda event: True
    having: str = ""
    elements: bool = False
    late: str = "dead_letter"

    @property
    def view(self) -> str:
        """The statement."""
        options = f" WITH (late = '{self.late}')" if self.late != "dead_letter" else ""
        source = "order-events" + (", UNNEST(items) AS i" if self.elements else "")
        where = f" WHERE {self.where}" if self.where else ""
        having = f" HAVING {self.having}" if self.having else ""
        columns = ", ".join([*self.keys, "window_start", "window_end", self.aggregates])
        by = ", ".join([*self.keys, self.window])
        return f"CREATE TABLE v{options} AS SELECT {columns} FROM {source}{where} GROUP BY {by}{having}"


SHAPES = [
    Shape(
        *("tumble", "TUMBLE(_time, INTERVAL 10 MINUTE, grace => INTERVAL 5 MINUTE)", "hop", 10, 10, 5),
        *(("customerId",), "COUNT(*) AS n, SUM(total) AS s, COUNT(DISTINCT orderId) AS o"),
    ),
    Shape(
        *("hop", "HOP(_time, INTERVAL 12 MINUTE, INTERVAL 5 MINUTE, grace => INTERVAL 3 MINUTE)", "hop", 12, 5, 3),
        *(("customerId",), "COUNT(*) AS n, MIN(total) AS lo, COUNT(discount) AS d, COUNT(DISTINCT discount) AS dd"),
        where="total > 1",
        passes=lambda event: event.total > 1,
    ),
    Shape(
        *("no key", "TUMBLE(_time, INTERVAL 7 MINUTE, grace => INTERVAL 1 MINUTE)", "hop", 7, 7, 1, ()),
        *("MAX(total) AS hi, ARG_MAX(discount, total) AS d",),
        having="COUNT(*) > 1",
        late="drop",
    ),
    Shape(
        *("without a grace", "HOP(_time, INTERVAL 10 MINUTE, INTERVAL 4 MINUTE)", "hop", 10, 4, None),
        *(("customerId",), "COUNT(*) AS n, SUM(discount) AS s"),
    ),
    Shape(
        *("session", "SESSION(_time, INTERVAL 3 MINUTE, grace => INTERVAL 4 MINUTE)", "session", 3, 0, 4),
        *(("customerId",), "COUNT(*) AS n, SUM(total) AS s, COUNT(DISTINCT orderId) AS o, MAX(discount) AS hi"),
    ),
    Shape(
        *("session without a grace", "SESSION(_time, INTERVAL 2 MINUTE)", "session", 2, 0, None),
        *(("customerId", "orderId"), "COUNT(*) AS n, MIN(total) AS lo, COUNT(DISTINCT discount) AS d"),
        having="COUNT(*) > 1",
    ),
    Shape(
        *("session of all", "SESSION(_time, INTERVAL 1 MINUTE, grace => INTERVAL 1 MINUTE)", "session", 1, 0, 1),
        *((), "COUNT(*) AS n, SUM(total) AS s"),
        where="customerId IS NOT NULL",
        passes=lambda event: event.customer_id is not None,
        late="drop",
    ),
    Shape(
        *("session of elements", "SESSION(_time, INTERVAL 4 MINUTE, grace => INTERVAL 2 MINUTE)", "session", 4, 0, 2),
        *(("i.sku",), "COUNT(*) AS n, SUM(i.item_price) AS s, COUNT(DISTINCT i.item_price) AS p"),
        where="i.item_price > 1",
        passes=lambda event: any(item.item_price > 1 for item in event.items),
        elements=True,
    ),
]


def timed_log(chance: random.Random) -> Log:
    """Orders in two partitions; times go on by half minutes, and jump back now and then."""
    log = make_log(2, MemoryLog())
    records = []
    for number in range(chance.randrange(1, 70)):
        minutes = number // 2 + chance.choice([0, 0, 0, 0.5, 1, 4, -1, -2, -5, -8, -15, -30])
        order = chance.choice("1234567")
        items = [Item(chance.choice("ab"), price(chance)) for _ in range(chance.choice([0, 1, 2]))]
        who = chance.choice(["ann", "bob", None])
        event = OrderPlaced(order, who, items, price(chance), chance.choice([None, Decimal(1), price(chance)]))
        at_ms = int((NOON + timedelta(minutes=minutes)).timestamp() * 1000)
        key = order.encode()
        records.append(NewRecord(TOPIC, partition_of(key, 2), key, CODEC.encode(event), (), at_ms))
    log.append(records)
    return log


def price(chance: random.Random) -> Decimal:
    return Decimal(chance.randrange(-20, 100)) / 10


class Timed:
    """All events so far. Arguments: shape."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._clocks: dict[int, int] = {}
        self.late: set[tuple[int, int]] = set()
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(
            "CREATE TABLE events (customerId VARCHAR, orderId VARCHAR, items STRUCT(sku VARCHAR, itemPrice "
            "DECIMAL(38,9))[], total DECIMAL(38,9), discount DECIMAL(38,9), t BIGINT, starts BIGINT[], "
            "place STRUCT(p INTEGER, o BIGINT))"
        )

    def add(self, records: Sequence[Record]) -> None:
        """Applies the late rule. A row is kept with the windows that took it; a session has but one, 0."""
        cells: list[object] = []
        for record in records:
            event = CODEC.decode(record.value)
            assert isinstance(event, OrderPlaced)
            if not self._shape.passes(event):
                continue
            time, partition = record.timestamp_ms * 1000, record.partition
            clock = self._clocks[partition] = max(self._clocks.get(partition, time), time)
            starts = list(self._starts(time))
            taken = [one for one in starts if self._open(one, time, clock)]
            if len(taken) < len(starts):
                self.late.add((partition, record.offset))
            items = [{"sku": one.sku, "itemPrice": one.item_price} for one in event.items]
            place = {"p": partition, "o": record.offset}
            cells += [event.customer_id, event.order_id, items, event.total, event.discount, time, taken, place]
        if cells:
            marks = ", ".join([f"({', '.join('?' * 8)})"] * (len(cells) // 8))
            self._connection.execute(f"INSERT INTO events VALUES {marks}", cells)

    def _starts(self, time: int) -> Iterator[int]:
        if self._shape.kind == "session":
            yield 0
            return
        every, size = self._shape.every * MINUTE_US, self._shape.size * MINUTE_US
        start = time // every * every
        while start + size > time:
            yield start
            start -= every

    def _open(self, start: int, time: int, clock: int) -> bool:
        shape = self._shape
        if shape.grace is None:
            return True
        if shape.kind == "session":
            return time + (shape.size + shape.grace) * MINUTE_US >= clock
        return start + (shape.size + shape.grace) * MINUTE_US > clock

    def rows(self) -> list[tuple[Any, ...]]:
        """What the view is to say."""
        shape = self._shape
        source = "(SELECT *, unnest(starts) AS s FROM events)"
        if shape.elements:
            source = f"(SELECT *, unnest(items) AS i FROM {source})"
        where = shape.where.replace("item_price", "itemPrice") or "true"
        if shape.kind == "session":
            times = f"t, {', '.join(f'{key} AS key{place}' for place, key in enumerate(shape.keys))}".rstrip(", ")
            by = "".join(f"key{place}, " for place in range(len(shape.keys)))
            over = f"OVER (PARTITION BY {by.rstrip(', ')} ORDER BY t)" if by else "OVER (ORDER BY t)"
            rows = f"SELECT *, {times} FROM {source} WHERE {where}"
            begins = f"SELECT *, t - lag(t) {over} <= {shape.size * MINUTE_US} AS goes_on FROM ({rows})"
            begun = f"SELECT * REPLACE (sum(CASE WHEN goes_on THEN 0 ELSE 1 END) {over} AS s) FROM ({begins})"
            ends = f"make_timestamptz(min(t)), make_timestamptz(max(t) + {shape.size * MINUTE_US})"
            source, where = f"({begun})", "true"
        else:
            ends = f"make_timestamptz(s), make_timestamptz(s + {shape.size * MINUTE_US})"
        aggregates = shape.aggregates.replace("item_price", "itemPrice").replace(", total)", ", (total, place))")
        columns = ", ".join([*shape.keys, ends, aggregates])
        having = f" HAVING {shape.having}" if shape.having else ""
        by = ", ".join([*shape.keys, "s"])
        return self._connection.execute(
            f"SELECT {columns} FROM {source} WHERE {where} GROUP BY {by}{having}"
        ).fetchall()

    def close(self) -> None:
        self._connection.close()
