"""Payments: first asked for, then recorded."""

from decimal import Decimal
from typing import Literal

import headwater as hw
from examples.shop.contract import (
    NothingToPay,
    PaymentEvent,
    PaymentRecorded,
    PaymentRequested,
    RecordPayment,
    RequestPayment,
)


class Payment(hw.Aggregate[PaymentEvent]):
    status: Literal["new", "requested", "recorded"] = "new"
    amount: Decimal = Decimal(0)

    @hw.decides
    def request(self, command: RequestPayment) -> PaymentRequested | None:
        return PaymentRequested(command.payment_id, command.amount) if self.status == "new" else None

    @hw.decides
    def record(self, command: RecordPayment) -> PaymentRecorded | None:
        if self.status == "new":
            raise NothingToPay(command.payment_id)
        if self.status == "recorded":
            return None
        return PaymentRecorded(command.payment_id, self.amount, command.reference)

    @hw.evolves
    def requested(self, event: PaymentRequested) -> None:
        self.status, self.amount = "requested", event.amount

    @hw.evolves
    def recorded(self, event: PaymentRecorded) -> None:
        self.status = "recorded"
