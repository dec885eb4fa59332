"""What a process may ask for is said when the app is made, and not at the first event."""

from __future__ import annotations

from typing import Any

import pytest

import headwater as hw
from headwater.errors import Misuse
from headwater.processes.declare import shape_of
from tests.orders import OrderPlaced


def test_rows_and_sinks_are_for_projections() -> None:
    class Looks(hw.Process):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced)
        def placed(self, event: OrderPlaced, rows: hw.Rows) -> None: ...

    class Writes(hw.Process):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced)
        def placed(self, event: OrderPlaced, sink: hw.Sink[Any]) -> None: ...

    for process in (Looks, Writes):
        with pytest.raises(Misuse, match="asks for rows or a sink, which only projections have"):
            shape_of(process)
