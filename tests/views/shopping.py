"""Sales and the buyers that they are made to: two topics with different numbers of partitions and different keys."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record, TopicPartition, TopicSpec
from headwater.messages.json_codec import JsonCodec
from headwater.views.sources import Catalogue, catalogue_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PARTITIONS = {"sale-events": 2, "buyer-events": 3, "rate-table": 2}


class SaleEvent(hw.Event, entity="sale"):
    sale: hw.Key[str]


class SaleMade(SaleEvent):
    buyer: str | None
    amount: Decimal
    places: list[str]


class SaleVoided(SaleEvent):
    reason: str


class SaleCommand(hw.Command, entity="sale"):
    sale: hw.Key[str]


class Sell(SaleCommand):
    buyer: str
    amount: Decimal


class Sale(hw.Aggregate[SaleEvent]):
    buyer: str | None = None
    amount: Decimal = Decimal(0)
    void: bool = False

    @hw.decides
    def sell(self, command: Sell) -> SaleMade:
        return SaleMade(command.sale, command.buyer, command.amount, [])

    @hw.evolves
    def made(self, event: SaleMade) -> None:
        self.buyer, self.amount, self.void = event.buyer, event.amount, False

    @hw.evolves
    def voided(self, event: SaleVoided) -> None:
        self.void = True


class BuyerEvent(hw.Event, entity="buyer"):
    name: hw.Key[str]


class BuyerMoved(BuyerEvent):
    region: str | None


class BuyerPaid(BuyerEvent):
    paid: Decimal


class BuyerCommand(hw.Command, entity="buyer"):
    name: hw.Key[str]


class Move(BuyerCommand):
    region: str


class Buyer(hw.Aggregate[BuyerEvent]):
    region: str | None = None
    credit: Decimal = Decimal(0)
    moves: int = 0

    @hw.decides
    def move(self, command: Move) -> BuyerMoved:
        return BuyerMoved(command.name, command.region)

    @hw.evolves
    def moved(self, event: BuyerMoved) -> None:
        self.region = event.region
        self.moves += 1

    @hw.evolves
    def paid(self, event: BuyerPaid) -> None:
        self.credit += event.paid


class Rate(NamedTuple):
    """A record of others: a row of their table, None: it is removed."""

    region: str
    rate: Decimal | None


DESCRIBED = "CREATE TABLE rates (region VARCHAR PRIMARY KEY, rate DECIMAL(9,3)) WITH (topic = 'rate-table');"

SALES: JsonCodec[SaleEvent] = JsonCodec([SaleMade, SaleVoided])
BUYERS: JsonCodec[BuyerEvent] = JsonCodec([BuyerMoved, BuyerPaid])


def catalogue() -> Catalogue:
    return catalogue_of([SaleEvent, BuyerEvent], [("sale", Sale), ("buyer", Buyer)])


def events(chance: random.Random) -> Iterator[SaleEvent | BuyerEvent | Rate]:
    """Few keys, so that rows change and go; partners that come late, or never."""
    for _ in range(chance.randrange(1, 30)):
        sale, buyer = chance.choice("1234"), chance.choice(["ann", "bob", "eve"])
        amount = Decimal(chance.randrange(-200, 900)) / chance.choice([1, 10])
        match chance.randrange(6):
            case 0 | 1:
                places = [chance.choice("NSW") for _ in range(chance.randrange(3))]
                yield SaleMade(sale, chance.choice([buyer, buyer, None]), amount, places)
            case 2:
                yield SaleVoided(sale, "x")
            case 3:
                yield BuyerMoved(buyer, chance.choice(["N", "S", "N", None]))
            case 4:
                yield BuyerPaid(buyer, amount)
            case _:
                yield Rate(chance.choice("NS"), chance.choice([None, amount, amount]))


def log_of(found: Iterable[SaleEvent | BuyerEvent | Rate], chance: random.Random | None = None) -> Log:
    """A log with these events, a minute apart, or out of order where chance decides."""
    log = MemoryLog()
    log.create_topics([TopicSpec(name, count) for name, count in PARTITIONS.items()])
    for minute, one in enumerate(found):
        at = NOON + timedelta(minutes=minute if chance is None else chance.randrange(20))
        topic, key, value = written(one)
        log.append([NewRecord(topic, partition_of(key, PARTITIONS[topic]), key, value, (), ms(at))])
    return log


def written(one: SaleEvent | BuyerEvent | Rate) -> tuple[str, bytes, bytes | None]:
    """Topic, key and value."""
    if isinstance(one, SaleEvent):
        return "sale-events", one.sale.encode(), SALES.encode(one)
    if isinstance(one, BuyerEvent):
        return "buyer-events", one.name.encode(), BUYERS.encode(one)
    value = (
        None if one.rate is None else b'{"rate": %s, "region": "%s"}' % (str(one.rate).encode(), one.region.encode())
    )
    return "rate-table", one.region.encode(), value


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def records_of(found: Iterable[SaleEvent | BuyerEvent | Rate], chance: random.Random | None = None) -> list[Record]:
    """The events as a log gives them, partition by partition. Arguments: as of `log_of`."""
    log = log_of(found, chance)
    partitions = [TopicPartition(name, p) for name, count in PARTITIONS.items() for p in range(count)]
    ends, read = log.ends(partitions), list[Record]()
    with closing(log.reader()) as reader:
        reader.assign(dict.fromkeys(partitions, 0))
        reached = dict.fromkeys(partitions, 0)
        while any(reached[tp] < ends[tp] for tp in partitions):
            batch = reader.read(100_000, 1.0)
            read += batch.records
            reached.update(batch.reached)
    return read


def batches(
    chance: random.Random, records: Sequence[Record], counts: Sequence[int] = (0, 1, 2, 5, 30)
) -> Iterator[list[Record]]:
    """The records in batches that interleave all partitions in any way; in each partition in order. Arguments: counts:
    how many a batch may have of each."""
    places = sorted({(one.topic, one.partition) for one in records})
    waiting = [[one for one in records if (one.topic, one.partition) == place] for place in places]
    while any(waiting):
        batch: list[Record] = []
        for partition in chance.sample(waiting, len(waiting)):
            count = chance.choice(counts)
            batch += partition[:count]
            del partition[:count]
        if batch:
            yield batch
