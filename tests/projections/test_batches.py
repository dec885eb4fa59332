"""How an app's events are cut into batches: what a row costs follows from it."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import headwater as hw
from headwater.client.receipts import Receipt
from tests.orders import Order, OrderPlaced, PlaceOrder


class Total(hw.Projection):
    name: hw.Key[str]
    orders: int = 0
    total: Decimal = Decimal(0)

    @hw.on(OrderPlaced, key=lambda event, meta: "all")
    def placed(self, event: OrderPlaced) -> None:
        self.orders += 1
        self.total += event.total


def test_an_app_that_is_10_000_events_behind_writes_their_row_once(tmp_path: Path) -> None:
    app = hw.App("shop", aggregates=[Order], projections=[Total], partitions=1)
    log, store = f"sqlite:///{tmp_path}/log.db", f"sqlite:///{tmp_path}/views.db"
    with app.run(log, store=store):
        pass  # the tables are made
    with app.run(log, only=["commands"], store=store) as shop:
        orders = [PlaceOrder(f"o{n}", Decimal("0.01")) for n in range(10_000)]
        receipts = [answer for answer in shop.send_many(orders, timeout_s=60) if isinstance(answer, Receipt)]
    views = sqlite3.connect(tmp_path / "views.db", isolation_level=None)
    views.execute("CREATE TABLE writes (kind TEXT)")
    for kind in ("INSERT", "UPDATE"):
        views.execute(
            f"CREATE TRIGGER t{kind} AFTER {kind} ON total_v1 BEGIN INSERT INTO writes VALUES ('{kind}'); END"
        )
    with app.run(log, store=store) as shop:
        assert shop.row(Total, "all", after=receipts, timeout_s=60) == Total("all", 10_000, Decimal("100.00"))
    assert views.execute("SELECT kind FROM writes").fetchall() == [("INSERT",)]
    views.close()
