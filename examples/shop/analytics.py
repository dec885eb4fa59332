"""Analytics: tables that answer what the shop earned, and from whom."""

from datetime import date
from decimal import Decimal

import headwater as hw
from examples.shop.contract import CustomerRegistered, OrderPlaced, PaymentRecorded, PurchaseRecorded


class Month(hw.Projection):
    """What happened in a month, such as "1997-03": by the day of the purchase, not by when it was imported."""

    month: hw.Key[str]
    orders: int = 0
    cds: int = 0
    revenue: Decimal = Decimal("0.00")
    payments: int = 0
    paid: Decimal = Decimal("0.00")

    @hw.on(OrderPlaced, key=lambda event, meta: f"{meta.time:%Y-%m}")
    def ordered(self, event: OrderPlaced) -> None:
        self.orders += 1
        self.cds += sum(item.quantity for item in event.items)
        self.revenue += event.total

    @hw.on(PaymentRecorded, key=lambda event, meta: f"{meta.time:%Y-%m}")
    def was_paid(self, event: PaymentRecorded) -> None:
        self.payments += 1
        self.paid += event.amount


class Buyer(hw.Projection):
    """Since when somebody is a customer, and what they bought, for rankings."""

    customer_id: hw.Key[str]
    since: date | None = None
    purchases: int = 0
    total: Decimal = Decimal("0.00")

    @hw.on(CustomerRegistered)
    def registered(self, event: CustomerRegistered) -> None:
        self.since = event.day

    @hw.on(PurchaseRecorded)
    def bought(self, event: PurchaseRecorded) -> None:
        self.purchases += 1
        self.total += event.amount
