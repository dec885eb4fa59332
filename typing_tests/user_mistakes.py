"""Ten mistakes that a user may make. Each line marked `# error` must be reported by mypy and by pyright, and no
other line may be.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from user_ok import (
    Item,
    Order,
    OrderCancelled,
    OrderEvent,
    OrderPlaced,
    PaymentRequested,
    PlaceOrder,
    Revenue,
    Sold,
    TooMuch,
)

import headwater as hw


class Wrong(hw.Aggregate[Item]):  # error
    pass


class Sales(hw.Projection):
    day: hw.Key[date]
    revenue: Decimal = Decimal(0)

    @hw.on(OrderPlaced, key=lambda event, meta: event.day)  # error
    def placed(self, event: OrderPlaced) -> None:
        self.revenue = "much"  # error

    @hw.on(OrderCancelled)  # error
    def cancelled(self, event: OrderPlaced) -> None:
        self.revenue -= event.total


def mistakes(shop: hw.Shop, event: OrderPlaced, items: list[Item]) -> Sold | None:
    PlaceOrder("123", 456, items)  # error
    shop.send(PlaceOrder("123", "456"))  # error
    event.total = Decimal(2)  # error
    shop.append(Order, "123", [PaymentRequested("123", Decimal(1))])  # error
    if shop.get(Order, "123").status == "placed":
        raise TooMuch(total="3")  # error
    return shop.row(Revenue, date(2024, 4, 10))  # error


def right(event: OrderEvent) -> str:
    return event.order_id
