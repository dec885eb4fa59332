"""The events of the shop's orders, a log that holds them, and the seed's view as a plan."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, TopicSpec
from headwater.messages.json_codec import JsonCodec
from headwater.views.plan import Column as PlanColumn
from headwater.views.plan import EventType, Field, Grouping, Key, Output, Partial, Relation, View
from headwater.views.types import BIGINT, DECIMAL, VARCHAR, ListOf, Member, StructOf

TOPIC = "order-events"


class Item(hw.Value):
    sku: str
    item_price: Decimal
    quantity: int = 1


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str | None
    items: list[Item]
    total: Decimal
    discount: Decimal | None = None


class OrderCancelled(OrderEvent):
    reason: str


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class PlaceOrder(OrderCommand):
    prices: list[Decimal]


class CancelOrder(OrderCommand):
    reason: str


class Order(hw.Aggregate[OrderEvent]):
    prices: list[Decimal] = []

    @hw.decides
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return placed(command.order_id, *map(str, command.prices))

    @hw.decides
    def cancel(self, command: CancelOrder) -> OrderCancelled:
        return OrderCancelled(command.order_id, command.reason)

    @hw.evolves
    def placed(self, event: OrderPlaced) -> None:
        self.prices = [one.item_price for one in event.items]

    @hw.evolves
    def cancelled(self, event: OrderCancelled) -> None:
        self.prices = []


class Summary(hw.Value):
    order_id: str
    total: Decimal | None


CODEC: JsonCodec[OrderEvent] = JsonCodec([OrderPlaced, OrderCancelled])

SEED = "CREATE TABLE order_summary AS SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId;"


def placed(order: str, *prices: str) -> OrderPlaced:
    items = [Item(f"CD-{i}", Decimal(price)) for i, price in enumerate(prices)]
    return OrderPlaced(order, "ann", items, sum((one.item_price for one in items), Decimal(0)))


def make_log(partitions: int = 2, log: Log | None = None) -> Log:
    log = log or MemoryLog()
    log.create_topics([TopicSpec(TOPIC, partitions)])
    return log


def append(log: Log, events: Sequence[OrderEvent | tuple[str, bytes | None]]) -> None:
    """Events, or keys with values as they are to stand in the log."""
    partitions = log.topics([TOPIC])[TOPIC].partitions
    records = []
    for one in events:
        key, value = one if isinstance(one, tuple) else (one.order_id, CODEC.encode(one))
        records.append(NewRecord(TOPIC, partition_of(key.encode(), partitions), key.encode(), value))
    log.append(records)


def seed_plan() -> View:
    item = StructOf((Member("itemPrice", "item_price", DECIMAL),))
    key, items = Field("orderId", "orderId", VARCHAR), Field("items", "items", ListOf(item))
    relation = Relation(
        "r0",
        TOPIC,
        "events",
        (PlanColumn("orderId", VARCHAR), PlanColumn("items", ListOf(item))),
        (EventType("OrderPlaced", OrderPlaced, (key, items)),),
    )
    prices = 'list_sum(list_transform("r0"."items", lambda x: x."itemPrice"))'
    partials = (Partial("p0", "sum", prices, DECIMAL), Partial("p1", "count", prices, BIGINT))
    output = (
        Output("orderId", '"k0"', VARCHAR),
        Output("total", 'CASE WHEN "p1" > 0 THEN "p0" END', DECIMAL),
    )
    grouping = Grouping((Key("k0", '"r0"."orderId"', VARCHAR),), partials)
    return View("order_summary", "table", relation, (), None, grouping, output, ("orderId",), None, False, SEED)
