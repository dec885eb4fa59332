"""Orders: placed once, with a total that follows from the items."""

from decimal import Decimal

import headwater as hw
from examples.shop.contract import AlreadyPlaced, OrderEvent, OrderPlaced, PlaceOrder


class Order(hw.Aggregate[OrderEvent]):
    customer_id: str = ""
    total: Decimal = Decimal(0)

    @hw.decides
    def place(self, command: PlaceOrder) -> OrderPlaced:
        if self.version:
            raise AlreadyPlaced(command.order_id)
        total = sum((item.item_price * item.quantity for item in command.items), Decimal("0.00"))
        return OrderPlaced(command.order_id, command.customer_id, command.items, total)

    @hw.evolves
    def placed(self, event: OrderPlaced) -> None:
        self.customer_id, self.total = event.customer_id, event.total
