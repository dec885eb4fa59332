"""Orders, payments and a process between them, for processes that are killed: a payment can also be checked, which
only makes its owner forget what it remembers."""

from __future__ import annotations

from decimal import Decimal

import headwater as hw
from headwater.services import Part

PARTITIONS = 3
PARTS: tuple[Part, ...] = ("commands", "processes")


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


class PaymentChecked(PaymentEvent):
    pass


class PaymentCommand(hw.Command, entity="payment"):
    payment_id: hw.Key[str]


class RequestPayment(PaymentCommand):
    amount: Decimal


class RecordPayment(PaymentCommand):
    amount: Decimal


class CheckPayment(PaymentCommand):
    pass


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

    recorded: int = 0

    @hw.decides
    def request(self, command: RequestPayment) -> PaymentRequested:
        return PaymentRequested(command.payment_id, command.amount)

    @hw.decides
    def record(self, command: RecordPayment) -> PaymentRecorded:
        return PaymentRecorded(command.payment_id, command.amount)

    @hw.decides
    def check(self, command: CheckPayment) -> PaymentChecked:
        return PaymentChecked(command.payment_id)

    @hw.evolves
    def on_requested(self, event: PaymentRequested) -> None:
        """Nothing to keep."""

    @hw.evolves
    def on_recorded(self, event: PaymentRecorded) -> None:
        self.recorded += 1

    @hw.evolves
    def on_checked(self, event: PaymentChecked) -> None:
        """Nothing to keep."""


def app(version: int = 1) -> hw.App:
    """The shop. A new version of its process starts from the first event, with a state that remembers nothing."""

    class Billing(hw.Process, version=version):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced)
        def charge(self, event: OrderPlaced, meta: hw.Meta) -> RequestPayment:
            return RequestPayment(f"p-{event.order_id}", event.total)

        @hw.on(PaymentRequested, key=lambda event, meta: event.payment_id.removeprefix("p-"))
        def record(self, event: PaymentRequested, meta: hw.Meta) -> list[hw.Command]:
            return [RecordPayment(event.payment_id, event.amount)]

    return hw.App("shop", aggregates=[Order, Payment], processes=[Billing], partitions=PARTITIONS)
