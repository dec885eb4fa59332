"""The shop's contract, as another service would import it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import headwater.messages as hw


class Item(hw.Value):
    sku: str
    item_price: Decimal
    quantity: int = 1


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str
    items: list[Item]
    total: Decimal


class OrderCancelled(OrderEvent, version=2):
    reason: str


class OrderDelivered(OrderEvent):
    at: datetime
    stops: list[datetime] = []
    signed_by: str | None = None


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class PlaceOrder(OrderCommand):
    customer_id: str
    items: list[Item]


class CancelOrder(OrderCommand, version=2):
    reason: str


class Unpaid(hw.Timeout):
    order_id: hw.Key[str]


class Counted(hw.Event, entity="counter"):
    number: hw.Key[int]


class CountedUp(Counted):
    by: int


class CountedDown(Counted):
    by: int


class Day(hw.Event, entity="day"):
    day: hw.Key[date]


class DayBegan(Day):
    pass


class Device(hw.Event, entity="device"):
    device_id: hw.Key[UUID]


class DeviceSeen(Device):
    pass
