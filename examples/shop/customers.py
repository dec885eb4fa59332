"""Customers: what each has bought so far. Fed by `loyalty`, which belongs to the same service."""

from datetime import date
from decimal import Decimal

import headwater as hw
from examples.shop.contract import (
    CustomerEvent,
    CustomerRegistered,
    PurchaseRecorded,
    RecordPurchase,
    RegisterCustomer,
)


class Customer(hw.Aggregate[CustomerEvent]):
    since: date | None = None
    purchases: int = 0
    total: Decimal = Decimal("0.00")

    @hw.decides
    def register(self, command: RegisterCustomer) -> CustomerRegistered | None:
        return CustomerRegistered(command.customer_id, command.day) if self.since is None else None

    @hw.decides
    def record(self, command: RecordPurchase) -> PurchaseRecorded:
        return PurchaseRecorded(command.customer_id, command.order_id, command.amount, command.day)

    @hw.evolves
    def was_registered(self, event: CustomerRegistered) -> None:
        self.since = event.day

    @hw.evolves
    def bought(self, event: PurchaseRecorded) -> None:
        self.purchases += 1
        self.total += event.amount
