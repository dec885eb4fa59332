"""A projection of which every event of every partition changes the same row."""

from __future__ import annotations

from decimal import Decimal

import headwater as hw
from tests.projections.trade import Placed


class Everyone(hw.Projection):
    name: hw.Key[str]
    orders: int = 0
    total: Decimal = Decimal(0)

    @hw.on(Placed, key=lambda event, meta: "all")
    def placed(self, event: Placed) -> None:
        self.orders += 1
        self.total += event.total
