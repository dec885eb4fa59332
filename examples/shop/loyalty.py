"""Loyalty: an order counts for its buyer.

Orders of one customer come through several partitions, in any order. So what is counted here must not depend on
which comes first, such as the day since when somebody is a customer: that is said by whoever registers them.
"""

import headwater as hw
from examples.shop.contract import OrderPlaced, RecordPurchase


class Loyalty(hw.Process):
    customer_id: hw.Key[str]

    @hw.on(OrderPlaced, key=lambda event, meta: event.customer_id)
    def count(self, event: OrderPlaced, meta: hw.Meta) -> RecordPurchase:
        return RecordPurchase(self.customer_id, event.order_id, event.total, meta.time.date())
