"""Customers: what each has bought so far. Fed by `loyalty`, which belongs to the same service."""

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
    registered: bool = False
    purchases: int = 0
    total: Decimal = Decimal("0.00")

    @hw.decides
    def register(self, command: RegisterCustomer) -> CustomerRegistered | None:
        return None if self.registered else CustomerRegistered(command.customer_id)

    @hw.decides
    def record(self, command: RecordPurchase) -> PurchaseRecorded:
        return PurchaseRecorded(command.customer_id, command.order_id, command.amount, command.day)

    @hw.evolves
    def was_registered(self, event: CustomerRegistered) -> None:
        self.registered = True

    @hw.evolves
    def bought(self, event: PurchaseRecorded) -> None:
        self.purchases += 1
        self.total += event.amount
