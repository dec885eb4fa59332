"""An app with its read models in a search server."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from tests.orders import Order, OrderPlaced, PlaceOrder


class Total(hw.Projection):
    name: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(OrderPlaced, key=lambda event, meta: "all")
    def placed(self, event: OrderPlaced) -> None:
        self.total += event.total


@pytest.mark.slow
def test_an_app_keeps_its_read_models_there(opensearch_url: str, tmp_path: Path) -> None:
    app = hw.App("shop", aggregates=[Order], projections=[Total])
    log = f"sqlite:///{tmp_path}/log.db"
    asked = '{"index": "total", "query": {"term": {"name": "?"}}}'
    for total in (Decimal("1.10"), Decimal("2.20")):
        with app.run(log, store=opensearch_url) as shop:
            receipt = shop.send(PlaceOrder(f"o{total}", Decimal("1.10")), timeout_s=60)
            assert list(shop.query(asked, "all", into=Total, after=receipt, timeout_s=60)) == [Total("all", total)]
            assert shop.row(Total, "all") == Total("all", total)
            assert shop.rows(Total) == [Total("all", total)]
            assert {order.id for order in shop.rows(Order, after=receipt, timeout_s=60)} >= {f"o{total}"}
