"""Loyalty: an order makes its buyer a customer, and counts for that customer."""

import headwater as hw
from examples.shop.contract import OrderPlaced, RecordPurchase, RegisterCustomer


class Loyalty(hw.Process):
    customer_id: hw.Key[str]
    registered: bool = False

    @hw.on(OrderPlaced, key=lambda event, meta: event.customer_id)
    def count(self, event: OrderPlaced, meta: hw.Meta) -> list[hw.Command]:
        bought = RecordPurchase(self.customer_id, event.order_id, event.total, meta.time.date())
        if self.registered:
            return [bought]
        self.registered = True
        return [RegisterCustomer(self.customer_id), bought]
