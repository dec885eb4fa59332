"""Every aggregate is a table without asking: its state, folded from its events."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse
from headwater.log.port import NewRecord
from headwater.messages.builtin import RawJson, Reverted
from headwater.messages.envelope import event_headers
from headwater.messages.json_codec import JsonCodec
from headwater.projections.entity_table import aggregate_table, aggregate_tables
from headwater.projections.read_model import read_models_of
from headwater.stores.memory import MemoryStore
from tests.projections.trade import START, TOPIC, Item, Paid, Placed, Reading, TradeEvent, make_log, placed


class Trade(hw.Aggregate[TradeEvent]):
    customer: str = ""
    items: list[Item] = []
    due: Decimal = Decimal(0)

    @hw.evolves
    def placed(self, event: Placed) -> None:
        self.customer, self.items = event.customer, event.items
        self.due += event.total

    @hw.evolves
    def paid(self, event: Paid, meta: hw.Meta) -> None:
        self.due -= event.amount


def write(log: Any, events: list[Any], version: int | None = 1) -> None:
    """As the owner does, with versions in the headers; or as another program does, without headers."""
    classes: list[type[hw.Event]] = [TradeEvent, Reverted]
    codec = JsonCodec(classes)
    for event in events:
        key = "t1" if isinstance(event, Reverted) else event.trade_id
        headers = []
        if version is not None:
            kind = type(event).__hw__.wire_name
            headers = event_headers(id="e", source="test", type=kind, time=START, subject=key, entity_version=version)
            version += 1
        log.append([NewRecord(TOPIC, 0, key.encode(), codec.encode(event, START), headers)])


def table(log: Any, aggregate: type[hw.Aggregate[Any]] = Trade, store: MemoryStore | None = None) -> Reading:
    reading = Reading.__new__(Reading)
    reading.log, reading.store, reading.on_failure = log, store or MemoryStore(), hw.stop()
    reading.start(aggregate_table("test", Behaviour(aggregate)))
    return reading


def rows(reading: Reading) -> list[Any]:
    return reading.store.rows(reading.model.tables[0])


@pytest.mark.parametrize("batch_records", [1, 100])
def test_rows_are_the_states_of_the_entities(batch_records: int) -> None:
    log = make_log()
    write(log, [placed("t1", "ann", "9.90", ["a"]), Paid("t1", Decimal("9.90")), placed("t1", "ann", "1")])
    write(log, [placed("t2", "bob", "5")], version=7)
    reading = table(log)
    reading.read(batch_records)
    assert rows(reading) == [
        Trade("t1", 3, "ann", [], Decimal("1.00")),
        Trade("t2", 7, "bob", [], Decimal(5)),
    ]
    sql = "SELECT id, version, customer, due FROM trade ORDER BY due DESC"
    assert list(reading.store.query(sql)) == [("t2", 7, "bob", "5"), ("t1", 3, "ann", "1.00")]


def test_versions_of_records_without_headers_are_counted() -> None:
    log = make_log()
    write(log, [placed("t1"), Paid("t1", Decimal(1))], version=None)
    log.append([NewRecord(TOPIC, 0, None, JsonCodec([TradeEvent]).encode(placed("t9"), START))])
    reading = table(log)
    reading.read()
    assert [(row.id, row.version) for row in rows(reading)] == [("t1", 2), ("t9", 1)]


@pytest.mark.parametrize("batch_records", [1, 100])
def test_a_revert_puts_the_state_back(batch_records: int) -> None:
    log = make_log()
    old = msgspec.json.encode(Trade("t1", 1, "ann", [], Decimal(10)))
    write(log, [placed("t1"), placed("t1", "bob"), Reverted(RawJson(old), 1), Paid("t1", Decimal(1))])
    reading = table(log)
    reading.read(batch_records)
    assert rows(reading) == [Trade("t1", 4, "ann", [], Decimal(9))]


def test_a_state_may_hold_integers_of_any_size() -> None:
    class Summed(hw.Aggregate[TradeEvent]):
        cents: int = 0

        @hw.evolves
        def paid(self, event: Paid) -> None:
            self.cents += int(event.amount)

    log = make_log()
    write(log, [Paid("t1", Decimal(2**63)), Paid("t1", Decimal(2**63)), Paid("t2", Decimal(5))])
    reading = table(log, Summed)
    reading.read()
    assert rows(reading) == [Summed("t1", 2, 2**64), Summed("t2", 3, 5)]
    assert list(reading.store.query("SELECT sum(cents) FROM trade")) == [(str(2**64 + 5),)]


def test_events_that_change_nothing_still_count() -> None:
    class Counted(hw.Aggregate[TradeEvent]):
        pass

    log = make_log()
    write(log, [placed("t1"), Paid("t1", Decimal(1))])
    reading = table(log, Counted)
    reading.read()
    assert rows(reading) == [Counted("t1", 2)]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """By projections; a thread of somebody else may say something, too."""
    return [record.message for record in caplog.records if record.name == "headwater.projections"]


def changed() -> type[hw.Aggregate[Any]]:
    class Trade(hw.Aggregate[TradeEvent]):
        buyer: str = ""

        @hw.evolves
        def placed(self, event: Placed) -> None:
            self.buyer = event.customer

    return Trade


def test_a_changed_aggregate_has_its_table_made_again(caplog: pytest.LogCaptureFixture) -> None:
    log, store = make_log(), MemoryStore()
    write(log, [placed("t1", "ann")])
    table(log, store=store).read()
    after = changed()
    model = aggregate_table("test", Behaviour(after))
    with pytest.raises(Misuse, match="buyer is new"):
        store.rows(model.tables[0])  # whoever only reads does not throw rows away
    with caplog.at_level(logging.INFO, "headwater.projections"):
        reading = table(log, after, store)
    assert said(caplog) == ["trade has changed: its table is made again from the log"]
    assert rows(reading) == []
    reading.read()
    assert [(row.id, row.version, row.buyer) for row in rows(reading)] == [("t1", 1, "ann")]


def test_a_projection_cannot_have_the_table_of_an_entity() -> None:
    class Other(hw.Projection, name="trade"):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed) -> None: ...

    others = read_models_of("test", [Other])
    with pytest.raises(Misuse, match="are both the table trade"):
        aggregate_tables("test", [Behaviour(Trade)], others)


def family(entity: str) -> type[hw.Aggregate[Any]]:
    class Family(hw.Event, entity=entity):
        id: hw.Key[str]

    class Begun(Family):
        pass

    class Thing(hw.Aggregate[Family]):
        @hw.evolves
        def begun(self, event: Begun) -> None: ...

    return Thing


@pytest.mark.parametrize(("entity", "name"), [("order-v2", "order_v2_"), ("2nd.Hand", "_2nd_hand"), ("e" * 151, None)])
def test_an_entity_type_of_any_name_has_a_table(entity: str, name: str | None) -> None:
    thing = family(entity)
    with hw.App("names", aggregates=[thing], partitions=1).run("memory://") as shop:
        assert shop.rows(thing) == []
        if name is not None:
            assert shop.query(f'SELECT count(*) FROM "{name}"', into=int) == [0]


def test_entity_types_that_would_be_one_table_are_told_apart_or_refused() -> None:
    with pytest.raises(Misuse, match=r"the entity types 'a-b' and 'a\.b' are both the table a_b"):
        aggregate_tables("test", [Behaviour(family("a-b")), Behaviour(family("a.b"))], [])


def test_an_event_that_cannot_be_folded_is_named() -> None:
    class Strict(hw.Aggregate[TradeEvent]):
        @hw.evolves
        def placed(self, event: Placed) -> None:
            raise ValueError("never again")

    log = make_log()
    write(log, [placed("t1")])
    with pytest.raises(hw.Failed, match=r"Strict failed on Placed e \(topic trade-events, partition 0, offset 0\)"):
        table(log, Strict).read()
