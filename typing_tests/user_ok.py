"""A user's service, as in the README: it must pass mypy --strict and pyright without a word.

`tests/test_typing.py` hands it to both checkers, and runs it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, assert_type
from uuid import UUID

import headwater as hw
from headwater.messages import JsonCodec, Unreadable, key_of


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


@hw.upcasts(OrderCancelled, from_version=1)
def cancelled_with_a_reason(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"reason": fields.get("reason") or "not said"}


@hw.upcasts(OrderEvent, "OrderDropped", from_version=1)
def dropped(fields: dict[str, Any]) -> list[hw.Upcast]:
    return [hw.Upcast(OrderCancelled, 1, fields)]


@hw.upcasts(OrderEvent, "OrderRefused", from_version=1)
def refused(fields: dict[str, Any]) -> hw.Upcast:
    return hw.Upcast("OrderCancelled", version=1, fields=fields)


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class PlaceOrder(OrderCommand):
    customer_id: str
    items: list[Item]


class CancelOrder(OrderCommand, name="StopOrder"):
    reason: str = hw.field(default="", name="why")


class AlreadyPlaced(hw.Rejected):
    """The order was already placed."""


class TooMuch(hw.Rejected):
    """{total} is more than {limit}."""

    total: Decimal
    limit: Decimal = Decimal(1000)


class Order(hw.Aggregate[OrderEvent]):
    status: Literal["new", "placed", "cancelled"] = "new"
    total: Decimal = Decimal(0)

    @hw.decides
    def place(self, command: PlaceOrder, meta: hw.Meta) -> OrderPlaced:
        if self.status != "new":
            raise AlreadyPlaced
        total = sum((i.item_price * i.quantity for i in command.items), Decimal(0))
        if total > 1000:
            raise TooMuch(total=total)
        return OrderPlaced(command.order_id, command.customer_id, command.items, total)

    @hw.decides
    def cancel(self, command: CancelOrder) -> OrderCancelled | None:
        if self.status == "cancelled":
            return None
        return OrderCancelled(command.order_id, command.reason)

    @hw.evolves
    def placed(self, event: OrderPlaced) -> None:
        self.status, self.total = "placed", event.total

    @hw.evolves
    def cancelled(self, event: OrderCancelled) -> None:
        self.status = "cancelled"


class Revenue(hw.Projection, version=1):
    day: hw.Key[date]
    revenue: Decimal = Decimal(0)

    @hw.on(OrderPlaced, key=lambda event, meta: meta.time.date())
    def placed(self, event: OrderPlaced, meta: hw.Meta) -> None:
        self.revenue += event.total


BY_NUMBER = hw.by_sequence("no", of="till")


class Sold(hw.Projection, dedupe=hw.by_id):
    sku: hw.Key[str]
    quantity: int = 0

    @hw.on(OrderPlaced, keys=lambda event, meta: {i.sku for i in event.items})
    def placed(self, event: OrderPlaced, meta: hw.Meta) -> None:
        self.quantity += sum(i.quantity for i in event.items if i.sku == self.sku)


class OpenOrder(hw.Projection):
    order_id: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced, meta: hw.Meta) -> None:
        self.total = event.total

    @hw.on(OrderCancelled)
    def cancelled(self, event: OrderCancelled, meta: hw.Meta) -> hw.Deleted:
        return hw.DELETED

    @hw.on(hw.Reverted)
    def reverted(self, event: hw.Reverted, meta: hw.Meta) -> hw.Deleted | None:
        order: Order = event.state_as(Order)
        self.total = order.total
        return hw.DELETED if order.status == "cancelled" else None


class PaymentEvent(hw.Event, entity="payment"):
    payment_id: hw.Key[str]


class PaymentRequested(PaymentEvent):
    amount: Decimal


class PaymentCommand(hw.Command, entity="payment"):
    payment_id: hw.Key[str]


class RequestPayment(PaymentCommand):
    amount: Decimal


class Payment(hw.Aggregate[PaymentEvent]):
    asked: Decimal = Decimal(0)

    @hw.decides
    def request(self, command: RequestPayment) -> list[PaymentRequested]:
        return [PaymentRequested(command.payment_id, command.amount)]

    @hw.evolves
    def requested(self, event: PaymentRequested) -> None:
        self.asked += event.amount


class Unpaid(hw.Timeout):
    order_id: hw.Key[str]


class Billing(hw.Process, version=1):
    order_id: hw.Key[str]
    asked: bool = False

    @hw.on(OrderPlaced)
    def charge(self, event: OrderPlaced, meta: hw.Meta) -> list[hw.Command]:
        self.asked = True
        return [RequestPayment(event.order_id, event.total)]

    @hw.on(hw.Reverted, key=lambda event, meta: meta.entity_id)
    def reverted(self, event: hw.Reverted) -> None:
        self.asked = False


app = hw.App("shop", aggregates=[Order, Payment], projections=[Revenue, Sold, OpenOrder], processes=[Billing])


class Summary(hw.Value):
    order_id: str
    total: Decimal


def main(url: str, items: list[Item]) -> list[Summary]:
    with app.run(url) as shop:
        receipt = shop.send(
            PlaceOrder("123", "456", items),
            time=datetime(2024, 4, 10, tzinfo=UTC),
            command_id="a uuid",
            actor="user:ann",
        )
        order: Order = shop.get(Order, "123")
        row: Revenue | None = shop.row(Revenue, date(2024, 4, 10), after=receipt)
        sold: list[Sold] = shop.rows(Sold, after=receipt)
        rows: list[Summary] = shop.query("SELECT order_id, total FROM open_order", into=Summary, after=receipt)
        for recorded in shop.history(Order, "123"):
            assert_type(recorded, hw.Recorded[OrderEvent])
            match recorded.event:
                case OrderPlaced(customer_id=customer):
                    assert_type(customer, str)
                case OrderCancelled(reason=reason):
                    assert_type(reason, str)
                case _:
                    pass
        shop.append(Order, "123", [OrderCancelled("123", "x")], expected_version=order.version)
        assert row is not None
        assert row.revenue == order.total
        assert [line.sku for line in sold] == [item.sku for item in items]
        missing: Order | None = shop.find(Order, "124")
        assert missing is None
        return rows


async def the_same_without_blocking(url: str) -> Order:
    async with app.connect(url) as shop:
        await shop.send(CancelOrder("123"), expected_version=1)
        return await shop.get(Order, "123")


class Card(hw.Value, tag="card"):
    number: str


class Cash(hw.Value, tag="cash"):
    pass


class Deposit(hw.Value):
    by: Card | Cash
    note: str | None = None


class DeviceEvent(hw.Event, entity="device"):
    device_id: hw.Key[UUID]


class DeviceSeen(DeviceEvent):
    at: datetime


def fields_have_their_types() -> None:
    event = OrderPlaced("123", customer_id="456", items=[Item("CD-1", Decimal("11.77"))], total=Decimal("11.77"))
    assert_type(event.order_id, str)
    assert_type(event.items, list[Item])
    assert_type(event.items[0].quantity, int)
    assert_type(DeviceSeen(UUID(int=1), datetime.now(UTC)).device_id, UUID)
    assert_type(Deposit(Cash()).by, Card | Cash)
    assert_type(TooMuch(Decimal(1)).limit, Decimal)
    assert_type(Revenue(date(2024, 4, 10)).day, date)
    assert_type(Order().version, int)
    assert_type(key_of(Unpaid("1")), str)


def what_cannot_be_read_is_told_apart(value: bytes) -> str:
    codec: JsonCodec[OrderEvent] = JsonCodec([OrderEvent])
    event = codec.decode(value)
    if isinstance(event, Unreadable):
        return event.reason
    assert_type(event, OrderEvent)
    return event.order_id


def a_refusal_is_caught_with_its_fields(shop: hw.Shop) -> Decimal:
    try:
        shop.send(PlaceOrder("123", "456", []))
    except AlreadyPlaced:
        return Decimal(0)
    except TooMuch as refusal:
        return refusal.total - refusal.limit
    return Decimal(1)
