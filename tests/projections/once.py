"""A read model of a topic whose records are there twice."""

from __future__ import annotations

import headwater as hw
from tests.projections.trade import Placed


class Once(hw.Projection, dedupe=hw.by_id):
    """How many trades everybody has placed, and how many each customer has."""

    customer: hw.Key[str]
    trades: int = 0

    @hw.on(Placed, keys=lambda event, meta: {event.customer, "everybody"})
    def placed(self, event: Placed) -> None:
        self.trades += 1
