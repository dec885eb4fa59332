"""A user's file, as in the README: it must pass mypy --strict and pyright without a word.

It is never run; `tests/test_typing.py` hands it to both checkers.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal, assert_type
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


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class PlaceOrder(OrderCommand):
    customer_id: str
    items: list[Item]


class CancelOrder(OrderCommand, name="StopOrder"):
    reason: str = hw.field(default="", name="why")


class DeviceEvent(hw.Event, entity="device"):
    device_id: hw.Key[UUID]


class DeviceSeen(DeviceEvent):
    at: datetime
    note: str | None = None


class Unpaid(hw.Timeout):
    order_id: hw.Key[str]


class AlreadyPlaced(hw.Rejected):
    """The order was already placed."""


class Overdrawn(hw.Rejected):
    """The balance is {balance} only."""

    balance: Decimal
    limit: Decimal = Decimal(0)


class Card(hw.Value, tag="card"):
    number: str


class Cash(hw.Value, tag="cash"):
    pass


class Payment(hw.Value):
    by: Card | Cash


class Sold(hw.State, version=1):
    sku: hw.Key[str]
    day: hw.Key[date]
    status: Literal["few", "many"] = "few"
    quantity: int = 0

    def add(self, event: OrderPlaced) -> None:
        self.quantity += sum(item.quantity for item in event.items if item.sku == self.sku)
        self.status = "many"


def place(command: PlaceOrder, placed: bool) -> OrderPlaced:
    if placed:
        raise AlreadyPlaced
    total = sum((item.item_price * item.quantity for item in command.items), Decimal(0))
    if total > 100:
        raise Overdrawn(balance=total)
    return OrderPlaced(command.order_id, command.customer_id, command.items, total)


def fields_have_their_types() -> None:
    event = OrderPlaced("123", customer_id="456", items=[Item("CD-1", Decimal("11.77"))], total=Decimal("11.77"))
    assert_type(event.order_id, str)
    assert_type(event.items, list[Item])
    assert_type(event.items[0].quantity, int)
    seen = DeviceSeen(UUID(int=1), datetime.now(UTC))
    assert_type(seen.device_id, UUID)
    assert_type(seen.note, str | None)
    row = Sold("CD-1", date(2024, 4, 10))
    assert_type(row.day, date)
    row.add(event)
    row.quantity += 1
    assert_type(Payment(Cash()).by, Card | Cash)
    assert_type(Overdrawn(Decimal(1)).limit, Decimal)
    assert_type(hw.key_of(Unpaid("1")), str)
    assert_type(CancelOrder("1").reason, str)


def events_are_told_apart(recorded: hw.Recorded[OrderEvent]) -> str:
    assert_type(recorded.meta.time, datetime)
    match recorded.event:
        case OrderPlaced(customer_id=customer, total=total):
            assert_type(total, Decimal)
            return customer
        case OrderCancelled(reason=reason):
            return reason
        case _:
            return recorded.meta.type


def what_cannot_be_read_is_told_apart(value: bytes) -> str:
    codec: hw.JsonCodec[OrderEvent] = hw.JsonCodec([OrderEvent])
    event = codec.decode(value)
    if isinstance(event, hw.Unreadable):
        return event.reason
    assert_type(event, OrderEvent)
    return event.order_id


def a_refusal_is_caught_with_its_fields() -> Decimal:
    try:
        place(PlaceOrder("123", "456", []), placed=False)
    except AlreadyPlaced:
        return Decimal(0)
    except Overdrawn as refusal:
        return refusal.balance
    return Decimal(1)
