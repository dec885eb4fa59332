"""A process listens to a topic that another program writes: no headers, its time in the payload."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord
from tests.orders import Billing, Order, Payment, app
from tests.processes.test_billing import recorded, until

del Billing, Order


def test_an_event_without_headers_is_charged_at_its_own_time() -> None:
    log = MemoryLog()
    with app.run(log):
        pass
    value = b'{"orderId":"7","eventType":"OrderPlaced","total":"5.50","timestamp":"2024-04-10T10:30:00Z"}'
    log.append([NewRecord("order-events", 2, b"7", value)])
    with app.run(log) as shop:
        until(lambda: recorded(log) == 1)
        history = shop.history(Payment, "p-7")
    assert [r.meta.time for r in history] == [datetime(2024, 4, 10, 10, 30, tzinfo=UTC)] * 2
    assert history[0].event.amount == Decimal("5.50")  # type: ignore[attr-defined] # a PaymentRequested
    assert history[0].meta.causation_id is not None
    assert isinstance(history[0], hw.Recorded)
