"""Ten mistakes that a user may make. Each line marked `# error` must be reported by mypy and by pyright, and no
other line may be.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from user_ok import AlreadyPlaced, Item, OrderCancelled, OrderEvent, OrderPlaced, Overdrawn, PlaceOrder

import headwater.messages as hw


class Order(hw.State):
    status: Literal["new", "placed"] = "open"  # error


def mistakes(event: OrderPlaced, items: list[Item], order: Order) -> str:
    PlaceOrder("123", "456")  # error
    PlaceOrder("123", 456, items)  # error
    OrderCancelled(123, "late")  # error
    OrderPlaced("123", "456", items, total=Decimal(1), currency="EUR")  # error
    event.total = Decimal(2)  # error
    order.status = "lost"  # error
    if event.customer:  # error
        raise Overdrawn(balance="3")  # error
    return event.total  # error


def right(event: OrderEvent) -> str:
    if isinstance(event, OrderCancelled):
        raise AlreadyPlaced
    return event.order_id
