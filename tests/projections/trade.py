"""The domain of these tests, a log with its events, and a runner that is fed batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import headwater as hw
from headwater.failures import FailurePolicy
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, TopicPartition, TopicSpec
from headwater.messages.envelope import event_headers
from headwater.messages.json_codec import JsonCodec
from headwater.projections.read_model import ReadModel, read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.stores.memory import MemoryStore
from headwater.stores.port import Store

TOPIC = "trade-events"
START = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)


class Item(hw.Value):
    sku: str
    price: Decimal
    quantity: int = 1


class TradeEvent(hw.Event, entity="trade"):
    trade_id: hw.Key[str]


class Placed(TradeEvent):
    customer: str
    items: list[Item]
    total: Decimal


class Paid(TradeEvent):
    amount: Decimal


class Cancelled(TradeEvent):
    reason: str


class Audited(TradeEvent):
    """Nobody listens."""

    words: str


class Revenue(hw.Projection):
    day: hw.Key[date]
    revenue: Decimal = Decimal(0)
    orders: int = 0

    @hw.on(Placed, key=lambda event, meta: meta.time.date())
    def placed(self, event: Placed, meta: hw.Meta) -> None:
        self.revenue += event.total
        self.orders += 1


class Sold(hw.Projection):
    sku: hw.Key[str]
    quantity: int = 0
    buyers: list[str] = []

    @hw.on(Placed, keys=lambda event, meta: {item.sku for item in event.items})
    def placed(self, event: Placed) -> None:
        self.quantity += sum(item.quantity for item in event.items if item.sku == self.sku)
        if event.customer not in self.buyers:
            self.buyers.append(event.customer)


class OpenTrade(hw.Projection):
    trade_id: hw.Key[str]
    total: Decimal = Decimal(0)
    events: int = 0

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        self.total = event.total
        self.events += 1

    @hw.on(Paid)
    @hw.on(Cancelled)
    def closed(self, event: Paid | Cancelled) -> hw.Deleted:
        return hw.DELETED


def placed(trade_id: str, customer: str = "ann", total: str = "10.00", skus: Sequence[str] = ()) -> Placed:
    return Placed(trade_id, customer, [Item(sku, Decimal(1)) for sku in skus], Decimal(total))


def make_log(partitions: int = 1, log: Log | None = None) -> Log:
    log = log or MemoryLog()
    log.create_topics([TopicSpec(TOPIC, partitions)])
    return log


CODEC: JsonCodec[TradeEvent] = JsonCodec([TradeEvent])


def record(event: TradeEvent, number: int = 0, partition: int = 0, topic: str = TOPIC) -> NewRecord:
    """An event as an owner writes it; `number` makes its id and its hour."""
    time = START + timedelta(hours=number)
    headers = event_headers(
        id=f"event-{number}",
        source="test",
        type=type(event).__hw__.wire_name,
        time=time,
        subject=event.trade_id,
        entity_version=1,
    )
    return NewRecord(topic, partition, event.trade_id.encode(), CODEC.encode(event, time), headers)


def append(log: Log, events: Iterable[TradeEvent], partition: int = 0, first: int = 0) -> list[int]:
    return log.append([record(event, first + n, partition) for n, event in enumerate(events)])


def raw(value: bytes | None, partition: int = 0, headers: Sequence[tuple[str, bytes]] = ()) -> NewRecord:
    return NewRecord(TOPIC, partition, b"t1", value, headers)


class Reading:
    """A read model of one log and one store. `start` is what the loop does on an assignment, `read` on a batch.
    `on_failure`: instead of what the projections say."""

    def __init__(
        self,
        log: Log,
        *projections: type[hw.Projection],
        store: Store | None = None,
        on_failure: FailurePolicy | None = None,
    ) -> None:
        self.log, self.store, self.on_failure = log, store or MemoryStore(), on_failure
        [self.model] = read_models_of("test", projections)
        self.start()

    def start(self, model: ReadModel | None = None) -> None:
        self.model = model or self.model
        if self.on_failure is not None:
            self.model = replace(self.model, on_failure=self.on_failure)
        self.runner = ProjectionRunner(self.model, self.log, self.store)
        self.runner._shadowed_s = float("inf")  # there is no group here whose positions could follow
        partitions = [
            TopicPartition(topic.name, p)
            for topic in self.model.topics
            for p in range(self.log.topics()[topic.name].partitions)
        ]
        self.reader = self.log.reader()
        self.reader.assign(self.runner.assigned(partitions))
        self._ends = self.log.ends(partitions)

    def read(self, batch_records: int = 1000) -> None:
        """Reads to the end, in batches."""
        ends = {tp: end for tp, end in self.log.ends(list(self._ends)).items() if end}
        while any(self.store.positions(self.model.runner).get(tp, 0) < end for tp, end in ends.items()):
            self.runner.handle(self.reader.read(batch_records, 1.0), None)

    @property
    def positions(self) -> dict[TopicPartition, int]:
        return self.store.positions(self.model.runner)
