"""Views that a process maintains while it is killed, by name, what they read, and an oracle for each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, TopicSpec
from headwater.views.nesting import leaves
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views import test_joins, test_joins_expiring, timed
from tests.views.orders import CODEC, TOPIC, Item, OrderPlaced
from tests.views.shopping import NOON, PARTITIONS, BuyerEvent, BuyerMoved, BuyerPaid, SaleEvent, SaleMade, ms, written

BAD = b"{bad"


@dataclass(frozen=True, slots=True)
class Case:
    """Arguments: view; oracle: makes one; partitions: of the topics that it reads."""

    view: View
    oracle: Callable[[], Any]
    partitions: Mapping[str, int]

    def fill(self, log: Log, chance: random.Random, count: int) -> None:
        """Events out of order, and some records that nobody can read, each of its own key."""
        log.create_topics([TopicSpec(name, partitions) for name, partitions in self.partitions.items()])
        records: list[NewRecord] = []
        for i in range(count):
            at = ms(NOON + timedelta(minutes=i / 4 + chance.choice([0, 0, 0, 0.5, 1, -1, -2, -6])))
            topic, key, value = (order if TOPIC in self.partitions else sale_or_buyer)(chance)
            if i % 20 == 3:
                key, value = f"bad {i}".encode(), BAD
            records.append(NewRecord(topic, partition_of(key, self.partitions[topic]), key, value, (), at))
        for first in range(0, count, 5):
            log.append(records[first : first + 5])


def order(chance: random.Random) -> tuple[str, bytes, bytes]:
    items = [Item(chance.choice("ab"), Decimal(chance.randrange(999)) / 100) for _ in range(2)]
    total = sum((item.item_price for item in items), Decimal(0))
    event = OrderPlaced(chance.choice("1234567"), chance.choice(["ann", "bob", None]), items, total, None)
    return TOPIC, event.order_id.encode(), CODEC.encode(event)


def sale_or_buyer(chance: random.Random) -> tuple[str, bytes, bytes]:
    buyer, amount = chance.choice(["ann", "bob", "eve"]), Decimal(chance.randrange(-20, 90)) / 10
    made = SaleMade(chance.choice("1234"), chance.choice([buyer, buyer, None]), amount, [])
    moved, paid = BuyerMoved(buyer, chance.choice(["N", "S", None])), BuyerPaid(buyer, amount)
    events: list[SaleEvent | BuyerEvent] = [made, made, moved, paid]
    topic, key, value = written(chance.choice(events))
    assert value is not None
    return topic, key, value


def of_windows(name: str) -> Case:
    [shape] = [one for one in timed.SHAPES if one.name == name]
    [view] = plan_views([Text(shape.view)], catalogue_of([OrderPlaced], []))
    return Case(view, lambda: timed.Timed(shape), {TOPIC: 2})


def of_states() -> Case:
    view = test_joins.plan_of("left folded")
    types = {kind.name for one in leaves(view) if one.origin == "events" for kind in one.types}
    return Case(view, lambda: test_joins.Oracle(types, test_joins.oracle_of("left folded")), BOTH)


def within_a_time() -> Case:
    [shape] = [one for one in test_joins_expiring.SHAPES if one.name == "left, folded"]
    view = test_joins_expiring.plan_of(shape)
    return Case(view, lambda: test_joins_expiring.Oracle(shape, view), BOTH)


BOTH = {topic: PARTITIONS[topic] for topic in ("sale-events", "buyer-events")}
CASES: Mapping[str, Callable[[], Case]] = {
    "joined with states": of_states,
    "joined within a time": within_a_time,
    "windows": lambda: of_windows("tumble"),
    "sessions": lambda: of_windows("session"),
}
