"""Orders and payments, with a process between them: the domain of the tests of processes."""

from __future__ import annotations

from decimal import Decimal

import headwater as hw


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    total: Decimal


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class PlaceOrder(OrderCommand):
    total: Decimal


class PaymentEvent(hw.Event, entity="payment"):
    payment_id: hw.Key[str]


class PaymentRequested(PaymentEvent):
    amount: Decimal


class PaymentRecorded(PaymentEvent):
    amount: Decimal


class PaymentCommand(hw.Command, entity="payment"):
    payment_id: hw.Key[str]


class RequestPayment(PaymentCommand):
    amount: Decimal


class RecordPayment(PaymentCommand):
    amount: Decimal


class Order(hw.Aggregate[OrderEvent]):
    total: Decimal = Decimal(0)

    @hw.decides
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(command.order_id, command.total)

    @hw.evolves
    def placed(self, event: OrderPlaced) -> None:
        self.total += event.total


class Payment(hw.Aggregate[PaymentEvent]):
    """Does not defend itself against repetitions: what keeps payments single is the library."""

    requested: int = 0
    recorded: int = 0

    @hw.decides
    def request(self, command: RequestPayment) -> PaymentRequested:
        return PaymentRequested(command.payment_id, command.amount)

    @hw.decides
    def record(self, command: RecordPayment) -> PaymentRecorded:
        return PaymentRecorded(command.payment_id, command.amount)

    @hw.evolves
    def on_requested(self, event: PaymentRequested) -> None:
        self.requested += 1

    @hw.evolves
    def on_recorded(self, event: PaymentRecorded) -> None:
        self.recorded += 1


class Billing(hw.Process):
    order_id: hw.Key[str]
    asked: bool = False
    paid: bool = False

    @hw.on(OrderPlaced)
    def charge(self, event: OrderPlaced, meta: hw.Meta) -> RequestPayment:
        self.asked = True
        return RequestPayment(f"p-{event.order_id}", event.total)

    @hw.on(PaymentRequested, key=lambda event, meta: event.payment_id.removeprefix("p-"))
    def record(self, event: PaymentRequested, meta: hw.Meta) -> list[hw.Command]:
        self.paid = True
        return [RecordPayment(event.payment_id, event.amount)]


app = hw.App("shop", aggregates=[Order, Payment], processes=[Billing], partitions=4)
