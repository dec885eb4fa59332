"""What the tests of Flink SQL read: orders with prices of two digits, with and without headers, among them such as no
view may count."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec

import headwater as hw
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Transaction
from headwater.messages.envelope import event_headers, time_text
from headwater.messages.json_codec import JsonCodec
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text

TOPIC = "order-events"
Money = Annotated[Decimal, msgspec.Meta(extra={"scale": 2})]
START = datetime(2026, 1, 5, 8, tzinfo=UTC)


class Part(hw.Value):
    weight: int


class Item(hw.Value):
    sku: str
    item_price: Money
    quantity: int = 1
    parts: list[Part] = []


class Address(hw.Value):
    city: str


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str
    items: list[Item]
    total: Money
    exact: Decimal
    shipping: Money | None = None
    address: Address | None = None
    due: date | None = None
    since: datetime | None = None
    weight_kg: float | None = None
    tags: list[str] = []
    urgent: bool = False


class OrderCancelled(OrderEvent):
    reason: str


class PaymentEvent(hw.Event, entity="payment"):
    payment_id: hw.Key[str]


class PaymentTaken(PaymentEvent):
    order_id: str
    amount: Money


class PaymentRefused(PaymentEvent):
    order_id: str


PAYMENTS, PRICES, RATES = "payment-events", "sap-prices", "sap-rates"
LATER = timedelta(hours=20)
"""After this all windows of the orders have closed."""

CODEC: JsonCodec[OrderEvent] = JsonCodec([OrderPlaced, OrderCancelled])
OF_PAYMENTS: JsonCodec[PaymentEvent] = JsonCodec([PaymentTaken, PaymentRefused])


def plans(sql: str) -> list[View]:
    return plan_views([Text(sql)], catalogue_of([OrderEvent, PaymentEvent], []))


class Rolled(Exception):
    """Ends a transaction without a result."""


def fill(log: Log, seed: int, count: int) -> None:
    """Appends events, of which every other has headers, a tombstone, and a transaction that came to nothing."""
    chance = random.Random(seed)
    partitions = log.topics([TOPIC])[TOPIC].partitions
    records = []
    for i, (event, time) in enumerate(events(chance, count)):
        key = event.order_id.encode()
        headers = (
            event_headers(
                id=f"id-{i}", source="shop", type=type(event).__name__, time=time, subject=event.order_id,
                entity_version=i, recorded=time + timedelta(seconds=1), actor="user:ann",
            )
            if i % 2
            else []
        )  # fmt: skip
        value = CODEC.encode(event, None if i % 2 or i % 3 == 0 else time)
        stamp = int(time.timestamp() * 1000)
        records.append(NewRecord(TOPIC, partition_of(key, partitions), key, value, headers, stamp))
    records.append(NewRecord(TOPIC, 0, b"gone", None, (), int(START.timestamp() * 1000)))
    log.append(records)
    log.append([*payments(chance, count, log), *others(chance), *last_events(partitions)])
    writer = log.writer("rolled-back")

    def roll(tx: Transaction) -> None:
        tx.append([msgspec.structs.replace(one) for one in records[:20]])
        raise Rolled

    try:
        writer.transact(roll)
    except Rolled:
        pass
    finally:
        writer.close()


def payments(chance: random.Random, count: int, log: Log) -> Iterator[NewRecord]:
    """Payments of some orders, near them in time or not."""
    partitions = log.topics([PAYMENTS])[PAYMENTS].partitions
    for i in range(count // 3):
        time = START + timedelta(milliseconds=chance.randrange(0, 7 * 3_600_000))
        order = f"o{chance.randrange(count // 3 + 20)}"
        taken = PaymentTaken(f"p{i}", order, money(chance))
        event = taken if chance.random() < 0.9 else PaymentRefused(f"p{i}", order)
        key = event.payment_id.encode()
        yield NewRecord(
            PAYMENTS, partition_of(key, partitions), key, OF_PAYMENTS.encode(event, time), [],
            int(time.timestamp() * 1000),
        )  # fmt: skip


def others(chance: random.Random) -> Iterator[NewRecord]:
    """Rows of tables of others, some of which are changed and some deleted."""
    for i in range(40):
        sku, number = chance.choice("abcdxy"), chance.randrange(5)
        price = f'{{"sku":"{sku}","price":{money(chance)},"label":"of {i}"}}'.encode()
        yield NewRecord(PRICES, 0, sku.encode(), None if i in (33, 36) else price)
        rate = f'{{"id":{number},"rate":{i / 4}}}'.encode()
        yield NewRecord(RATES, 0, str(number).encode(), None if i == 38 else rate)


def last_events(partitions: int) -> Iterator[NewRecord]:
    """An event in each partition that is so much later that all windows before it close."""
    for partition in range(partitions):
        event = OrderPlaced(f"last-{partition}", "zoe", [], Decimal(100), Decimal(1))
        time = START + LATER
        yield NewRecord(
            TOPIC, partition, event.order_id.encode(), CODEC.encode(event, time), [], int(time.timestamp() * 1000)
        )


def events(chance: random.Random, count: int) -> Iterator[tuple[OrderEvent, datetime]]:
    for i in range(count):
        time = START + timedelta(milliseconds=chance.randrange(0, 6 * 3_600_000), microseconds=chance.choice([0, 0, 7]))
        order = f"o{chance.randrange(count // 3)}"
        if chance.random() < 0.2:
            yield OrderCancelled(order, chance.choice(["x", "late", "it's"])), time
            continue
        items = [
            Item(
                chance.choice("abcd"),
                money(chance),
                chance.randrange(1, 4),
                [Part(chance.randrange(9)) for _ in range(chance.randrange(3))],
            )
            for _ in range(chance.choice([0, 1, 2, 3]))
        ]
        yield (
            OrderPlaced(
                order,
                chance.choice(["ann", "Bob", "eve", "ñandú"]),
                items,
                money(chance),
                Decimal(chance.randrange(-(10**12), 10**12)) / 10**9,
                chance.choice([None, money(chance)]),
                chance.choice([None, Address(chance.choice(["Wien", "Graz"]))]),
                chance.choice([None, date(2026, 1, 1 + i % 28)]),
                chance.choice([None, datetime.fromisoformat(time_text(time))]),
                chance.choice([None, chance.random() * 10]),
                [chance.choice(["new", "gift"]) for _ in range(chance.randrange(3))],
                chance.random() < 0.3,
            ),
            time,
        )


def money(chance: random.Random) -> Decimal:
    return Decimal(chance.randrange(-500, 10_000)) / 100
