"""Topics that others write are read as they are: their count, no headers, keys or not, the seed's JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import headwater as hw
from headwater.log.port import NewRecord, TopicSpec
from headwater.testing import eventually
from tests.logs import OpenAgain


class Item(hw.Value):
    sku: str
    item_price: Decimal


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str
    items: list[Item]


class Spent(hw.Projection):
    customer_id: hw.Key[str]
    total: Decimal = Decimal(0)
    last: datetime | None = None

    @hw.on(OrderPlaced, key=lambda event, meta: event.customer_id)
    def placed(self, event: OrderPlaced, meta: hw.Meta) -> None:
        assert meta.type == "OrderPlaced"
        self.total += sum((item.item_price for item in event.items), Decimal(0))
        self.last = meta.time


VALUE = (
    b'{"eventType":"OrderPlaced","orderId":"%d","customerId":"456","items":[{"sku":"CD-1","itemPrice":"11.77"}],'
    b'"timestamp":"2024-04-10T10:30:00Z"}'
)
reporting = hw.App("reporting", projections=[Spent])


def test_an_app_that_only_listens_takes_the_topic_as_it_is_and_makes_none_beside_it(open_again: OpenAgain) -> None:
    log = open_again()
    log.create_topics([TopicSpec("order-events", 3)])
    keys = [b"1", None, b"3"]
    log.append([NewRecord("order-events", p, key, VALUE % p) for p, key in enumerate(keys)])
    for _ in range(2):
        with reporting.run(open_again(), store="memory://") as shop:
            row = eventually(lambda: (found := shop.row(Spent, "456")) and found.total == Decimal("35.31") and found)
            assert row.last == datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
    assert sorted(name for name in log.topics() if name.startswith("order-")) == ["order-events"]
