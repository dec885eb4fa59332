"""Topics that others write are read as they are: their count, no headers, keys or not, the seed's JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import headwater as hw
from headwater.log.port import NewRecord, TopicSpec
from headwater.operations.lag import read_model_lags
from headwater.testing import eventually
from headwater.testing.conformance.log.waiting import settled_ends
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
            row = eventually(
                lambda: found if (found := shop.row(Spent, "456")) and found.total == Decimal("35.31") else None
            )
            assert row.last == datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
    assert sorted(name for name in log.topics() if name.startswith("order-")) == ["order-events"]


class SpentOnce(hw.Projection, dedupe=hw.by_id):
    customer_id: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(OrderPlaced, key=lambda event, meta: event.customer_id)
    def placed(self, event: OrderPlaced) -> None:
        self.total += sum((item.item_price for item in event.items), Decimal(0))


once = hw.App("once", projections=[SpentOnce])


def test_what_another_program_writes_twice_counts_once_also_across_a_restart(
    open_again: OpenAgain, tmp_path: Path
) -> None:
    log, store = open_again(), f"sqlite:///{tmp_path / 'models.db'}"
    log.create_topics([TopicSpec("order-events", 3)])
    records = [
        NewRecord("order-events", n % 3, b"%d" % n, VALUE % n, [("ce_id", b"%d" % n), ("ce_source", b"theirs")])
        for n in range(30)
    ]
    for sent in ([*records[:20], *records[5:15]], [*records[10:], *records]):
        log.append(sent)
        settled_ends(log, "order-events", 60)  # the lag is what can be seen and was not read
        with once.run(open_again(), store=store) as shop:
            eventually(lambda: sum(shop._models.lag().values()) == 0)
            row = shop.row(SpentOnce, "456")
            [lag] = read_model_lags(shop._models)
    assert row is not None
    assert row.total == 30 * Decimal("11.77")
    assert lag.duplicates == 80 - 30
