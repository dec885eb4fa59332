"""Billing: an order is to be paid; a payment that was asked for comes in.

The second step stands where a bank would answer. Here every buyer pays, so that each order has one payment.
"""

import headwater as hw
from examples.shop.contract import OrderPlaced, PaymentRequested, RecordPayment, RequestPayment


class Billing(hw.Process):
    order_id: hw.Key[str]

    @hw.on(OrderPlaced)
    def ask(self, event: OrderPlaced) -> RequestPayment:
        return RequestPayment(self.order_id, event.total)

    @hw.on(PaymentRequested)
    def receive(self, event: PaymentRequested) -> RecordPayment:
        return RecordPayment(event.payment_id, f"transfer for order {self.order_id}")
