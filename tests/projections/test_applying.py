"""What a batch of events does to rows, on every store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.log.port import TopicPartition
from headwater.projections.declare import table_of
from headwater.stores.memory import MemoryStore
from headwater.stores.opening import open_store
from headwater.stores.port import Store
from headwater.stores.sqlite import SqliteStore
from tests.projections.trade import (
    TOPIC,
    Audited,
    Cancelled,
    OpenTrade,
    Paid,
    Placed,
    Reading,
    Revenue,
    Sold,
    TradeEvent,
    append,
    make_log,
    placed,
    raw,
)

P0 = TopicPartition(TOPIC, 0)


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store
    match request.param:
        case "memory":
            store = MemoryStore()
        case "sqlite":
            store = SqliteStore(tmp_path / "views.db")
        case other:
            store = open_store(request.getfixturevalue(f"{other}_url"))
    yield store
    store.close()


def rows_of(store: Store, projection: type[hw.Projection]) -> list[Any]:
    return store.rows(table_of(projection))


def test_events_of_a_day_make_one_row(store: Store) -> None:
    log = make_log()
    append(log, [placed(f"t{n}", total="0.10") for n in range(24)])
    Reading(log, Revenue, store=store).read()
    assert rows_of(store, Revenue) == [
        Revenue(date(2024, 4, 10), Decimal("1.40"), 14),
        Revenue(date(2024, 4, 11), Decimal("1.00"), 10),
    ]


def test_an_event_may_change_200_rows(store: Store) -> None:
    log = make_log()
    skus = [f"sku-{n:03}" for n in range(200)]
    append(log, [placed("t1", "ann", skus=skus), placed("t2", "bob", skus=skus[:100])])
    Reading(log, Sold, store=store).read()
    assert rows_of(store, Sold) == [Sold(s, 2, ["ann", "bob"]) for s in skus[:100]] + [
        Sold(s, 1, ["ann"]) for s in skus[100:]
    ]


@pytest.mark.parametrize("batch_records", [1, 2, 100])
def test_a_row_is_deleted_and_made_again(store: Store, batch_records: int) -> None:
    log = make_log()
    append(log, [placed("t1"), Paid("t1", Decimal(1)), placed("t2"), placed("t1", total="7"), Paid("t2", Decimal(1))])
    reading = Reading(log, OpenTrade, store=store)
    reading.read(batch_records)
    assert rows_of(store, OpenTrade) == [OpenTrade("t1", Decimal(7), 1)], "it begins with its defaults again"
    append(log, [Cancelled("t1", "late"), Cancelled("never there", "")], first=10)
    reading.read(batch_records)
    assert rows_of(store, OpenTrade) == []


def test_10_000_events_on_one_row_in_a_batch_are_one_write(tmp_path: Path) -> None:
    log = make_log()
    append(log, [placed(f"t{n}", total="0.01") for n in range(10_000)])

    class Total(hw.Projection):
        name: hw.Key[str]
        total: Decimal = Decimal(0)

        @hw.on(Placed, key=lambda event, meta: "all")
        def placed(self, event: Placed) -> None:
            self.total += event.total

    store = SqliteStore(tmp_path / "views.db")
    reading = Reading(log, Total, store=store)
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)
    reading.read(20_000)
    about_rows = [statement for statement in statements if "total_v1" in statement]
    assert [statement.split()[0] for statement in about_rows] == ["SELECT", "INSERT"]
    assert rows_of(store, Total) == [Total("all", Decimal("100.00"))]
    store.close()


class Product(hw.Projection, group="catalogue"):
    sku: hw.Key[str]
    sold: int = 0
    best_buyer: str = ""

    @hw.on(Placed, keys=lambda event, meta: [item.sku for item in event.items])
    def placed(self, event: Placed, rows: hw.Rows) -> None:
        self.sold += 1
        buyer = rows.get(Buyer, event.customer, self.sku) or Buyer(event.customer, self.sku)
        buyer.count += 1
        rows.put(buyer)
        best = rows.get(Buyer, self.best_buyer, self.sku)
        if best is None or buyer.count > best.count:
            self.best_buyer = event.customer

    @hw.on(Cancelled, key=lambda event, meta: event.reason)
    def recalled(self, event: Cancelled, meta: hw.Meta, rows: hw.Rows) -> hw.Deleted:
        rows.delete(Buyer, self.best_buyer, self.sku)
        return hw.DELETED


class Buyer(hw.Projection, group="catalogue"):
    customer: hw.Key[str]
    sku: hw.Key[str]
    count: int = 0


BUYS = [
    placed("1", "ann", skus=["a", "b"]),
    placed("2", "bob", skus=["a"]),
    placed("3", "bob", skus=["a"]),
    placed("4", "ann", skus=["b"]),
]


@pytest.mark.parametrize("batch_records", [1, 3, 100])
def test_look_ups_see_what_the_batch_has_changed(store: Store, batch_records: int) -> None:
    log = make_log()
    append(log, BUYS)
    reading = Reading(log, Product, Buyer, store=store)
    reading.read(batch_records)
    assert rows_of(store, Product) == [Product("a", 3, "bob"), Product("b", 2, "ann")]
    assert rows_of(store, Buyer) == [Buyer("ann", "a", 1), Buyer("ann", "b", 2), Buyer("bob", "a", 2)]
    append(log, [Cancelled("1", "a"), placed("5", "bob", skus=["a"])], first=4)
    reading.read(batch_records)
    assert rows_of(store, Product) == [Product("a", 1, "bob"), Product("b", 2, "ann")]
    assert rows_of(store, Buyer) == [Buyer("ann", "a", 1), Buyer("ann", "b", 2), Buyer("bob", "a", 1)]


def test_a_row_that_was_looked_up_and_changed_is_saved_and_an_unchanged_one_is_not_written(tmp_path: Path) -> None:
    class Rate(hw.Projection, group="rates"):
        name: hw.Key[str]
        used: list[str] = []

        @hw.on(Paid)
        def paid(self, event: Paid) -> None: ...

    class Use(hw.Projection, group="rates"):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, rows: hw.Rows) -> None:
            rate = rows.get(Rate, event.customer)
            assert rate is not None
            if event.total > 5:
                rate.used.append(event.trade_id)

    log = make_log()
    store = SqliteStore(tmp_path / "views.db")
    reading = Reading(log, Rate, Use, store=store)
    append(log, [Paid("low", Decimal(1)), Paid("high", Decimal(1))])
    reading.read()
    append(log, [placed("1", "low", "1"), placed("2", "high", "10"), placed("3", "high", "10")], first=2)
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)
    reading.read()
    assert rows_of(store, Rate) == [Rate("high", ["2", "3"]), Rate("low")]
    assert sum(statement.startswith('INSERT INTO "rate_v1"') for statement in statements) == 1
    store.close()


def test_types_that_nobody_listens_to_move_the_position_and_are_not_decoded(store: Store) -> None:
    log = make_log()
    append(log, [placed("t1"), Audited("t1", "x")])
    log.append([raw(b'{"eventType":"Audited","words":' + b"no JSON at all"), raw(b'{"eventType":"New","a":1}')])
    reading = Reading(log, Revenue, store=store)
    reading.read()
    assert reading.positions == log.ends([P0])
    assert len(rows_of(store, Revenue)) == 1


def test_records_of_others_are_read_as_they_are(store: Store) -> None:
    log = make_log()
    log.append(
        [
            raw(
                b'{ "timestamp":"2024-05-01T00:00:00Z", "eventVersion":1, "eventType":"Placed","tradeId":"t1",'
                b'"customer":"eve","items":[{"sku":"a","price":1.5,"quantity":3}],"total":4.5}'
            ),
            raw(b'{"note":"unknown to all","eventType":"Other"}'),
        ]
    )
    reading = Reading(log, Revenue, store=store)
    reading.read()
    assert rows_of(store, Revenue) == [Revenue(date(2024, 5, 1), Decimal("4.5"), 1)]


def test_a_restart_goes_on_where_the_store_stands(store: Store) -> None:
    log = make_log()
    append(log, [placed("t1")])
    reading = Reading(log, Revenue, store=store)
    reading.read()
    append(log, [placed("t2")], first=1)
    reading.start()
    reading.read()
    assert [row.orders for row in rows_of(store, Revenue)] == [2]


def test_a_new_version_begins_at_the_beginning_beside_the_old_one(store: Store) -> None:
    log = make_log()
    append(log, [placed("t1"), placed("t2")])
    Reading(log, Revenue, store=store).read()

    class Doubled(hw.Projection, name="revenue", version=2):
        day: hw.Key[date]
        twice: Decimal = Decimal(0)

        @hw.on(Placed, key=lambda event, meta: meta.time.date())
        def placed(self, event: Placed) -> None:
            self.twice += 2 * event.total

    Reading(log, Doubled, store=store).read()
    assert [row.twice for row in rows_of(store, Doubled)] == [Decimal("40.00")]
    assert [row.revenue for row in rows_of(store, Revenue)] == [Decimal("20.00")]


def test_partitions_are_read_together_and_ordered_each(store: Store) -> None:
    log = make_log(3)
    events: list[TradeEvent] = [placed("t", total="1"), Paid("t", Decimal(1))]
    for partition in range(3):
        append(log, events * 5 + ([placed(f"t{partition}", total="3")]), partition)
    Reading(log, OpenTrade, store=store).read(7)
    assert rows_of(store, OpenTrade) == [OpenTrade(f"t{p}", Decimal(3), 1) for p in range(3)]
