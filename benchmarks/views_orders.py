"""The events of `views`: orders of about 200 bytes as JSON, written once for all sides, and their totals."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import headwater as hw
from headwater.log.partitioning import partition_of

TOPIC, PARTITIONS = "order-events", 4
SEED = 7
CUSTOMERS = 10_000
CUSTOMER_TOPIC = "customer-events"
_ENCODE = msgspec.json.Encoder().encode


class Item(hw.Value):
    sku: str
    item_price: Decimal = hw.field(name="item_price")
    quantity: int = 1


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str
    items: list[Item]


class CustomerEvent(hw.Event, entity="customer"):
    customer_id: hw.Key[str]


class CustomerRegistered(CustomerEvent):
    country: str


class Customer(hw.Aggregate[CustomerEvent]):
    country: str = ""

    @hw.evolves
    def registered(self, event: CustomerRegistered) -> None:
        self.country = event.country


def encoded(order: str, cents: Sequence[int], chance: random.Random) -> bytes:
    """An event as JSON, of about 200 bytes, with an item for each price."""
    customer = f"c-{chance.randrange(CUSTOMERS):05d}"
    items = []
    for price in cents:
        items.append({"sku": f"CD-{chance.randrange(1000):04d}", "item_price": f"{price / 100:.2f}", "quantity": 1})
    event = {"eventType": "OrderPlaced", "eventVersion": 1, "orderId": order, "customerId": customer}
    return _ENCODE(event | {"items": items, "timestamp": "2024-04-10T10:30:00Z"})


def write_customers(bootstrap: str) -> None:
    """Registers all customers, in one of two countries."""
    producer = producer_of(bootstrap, CUSTOMER_TOPIC)
    for number in range(CUSTOMERS):
        key = f"c-{number:05d}"
        country = "NL" if number % 3 else "BE"
        event = {"eventType": "CustomerRegistered", "eventVersion": 1, "customerId": key, "country": country}
        producer.produce(CUSTOMER_TOPIC, _ENCODE(event), key.encode(), partition_of(key.encode(), PARTITIONS))
    finish(producer)


def write_orders(bootstrap: str, events: int, orders: int) -> dict[str, Decimal]:
    """Writes events to a topic of four partitions; what they add up to, by order."""
    producer = producer_of(bootstrap, TOPIC)
    chance = random.Random(SEED)
    cents: defaultdict[str, int] = defaultdict(int)
    for number in range(events):
        order = f"order-{chance.randrange(orders):07d}"
        prices = [1 + chance.randrange(3000) for _ in range(1 + chance.randrange(2))]
        cents[order] += sum(prices)
        value = encoded(order, prices, chance)
        producer.produce(TOPIC, value, order.encode(), partition_of(order.encode(), PARTITIONS))
        if number % 1000 == 0:
            producer.poll(0)
    finish(producer)
    return {order: Decimal(total).scaleb(-2) for order, total in cents.items()}


def producer_of(bootstrap: str, topic: str) -> Producer:
    """Makes a topic of four partitions, and a producer for it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    return Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000, "acks": "all"}
    )


def finish(producer: Producer) -> None:
    """Raises: RuntimeError: the broker took not all."""
    if producer.flush(120):
        raise RuntimeError("the broker took not all events")
