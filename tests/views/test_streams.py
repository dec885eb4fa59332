"""CREATE STREAM: each row is a record of a topic, once, in the form of the wire contract."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import Misuse
from headwater.failures.held import Shelves
from headwater.failures.parking import Parking
from headwater.failures.policy import DEFAULT
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record, TopicPartition, TopicSpec
from headwater.messages.envelope import event_headers, read_meta
from headwater.operations.deadletters import DeadLetters, Selection
from headwater.operations.deadletters_places import InLog
from headwater.schemas.topics import PLAIN
from headwater.testing.waiting import eventually
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.streaming import StreamMaker, StreamRunner
from headwater.views.texts import Text
from tests.logs import log as log
from tests.logs import open_again as open_again
from tests.views.orders import CODEC, TOPIC, Item, Order, OrderEvent, OrderPlaced, PlaceOrder, append, make_log
from tests.views.selling import catalogue

SOLD = """
CREATE STREAM item_sold WITH (topic = 'sold-events', key = 'sku') AS
SELECT i.sku, orderId, i.item_price AS price FROM order-events, UNNEST(items) AS i WHERE i.item_price > 1
"""
TIME = datetime(2026, 1, 5, 8, 30, 0, 7, UTC)


class SoldEvent(hw.Event, entity="sold"):
    sku: hw.Key[str]


class ItemSold(SoldEvent, name="item_sold"):
    order_id: str
    price: Decimal


class Sold(hw.Projection):
    """What a reader of the stream's topic knows."""

    sku: hw.Key[str]
    count: int = 0
    money: Decimal = Decimal(0)

    @hw.on(ItemSold)
    def sold(self, event: ItemSold, meta: hw.Meta) -> None:
        self.count += 1
        self.money += event.price


def plan(sql: str) -> View:
    return plan_views([Text(sql)], catalogue_of([OrderEvent], []))[-1]


def maker(sql: str, log: Log) -> StreamMaker:
    made = StreamMaker("shop", plan(sql), log, SYSTEM, PLAIN)
    made.open()
    return made


def parking() -> Parking:
    return Parking(DEFAULT, Shelves(), TIME, {})


def order(key: str, *prices: str, who: str | None = "ann") -> OrderPlaced:
    items = [Item(f"CD-{i}", Decimal(price)) for i, price in enumerate(prices)]
    return OrderPlaced(key, who, items, sum(map(Decimal, prices), Decimal(0)))


def made_of(sql: str, events: Sequence[Any], log: Log | None = None) -> tuple[list[NewRecord], Parking]:
    """The records that events become, in a log of their own."""
    log = make_log(2, log)
    append(log, events)
    aside = parking()
    with closing(maker(sql, log)) as made:
        return made.made(all_of(log, TOPIC), aside, False), aside


def all_of(log: Log, topic: str) -> list[Record]:
    """All records of a topic, partition by partition."""
    if topic not in log.topics([topic]):
        return []
    partitions = [TopicPartition(topic, p) for p in range(log.topics([topic])[topic].partitions)]
    ends, found, reached = log.ends(partitions), list[Record](), dict.fromkeys(partitions, 0)
    with closing(log.reader()) as reader:
        reader.assign(reached)
        while any(reached[tp] < ends[tp] for tp in partitions):
            batch = reader.read(10_000, 1.0)
            found += batch.records
            reached.update(batch.reached)
    return sorted(found, key=lambda one: (one.partition, one.offset))


def test_a_record_is_an_event_of_the_wire() -> None:
    log = make_log(3)
    headers = event_headers(
        id="e1", source="x", type="OrderPlaced", time=TIME, subject="7", entity_version=4, command_id="c",
        correlation_id="first", actor="user:ann",
    )  # fmt: skip
    value = CODEC.encode(order("7", "11.77", "0.5", "2"), TIME)
    log.append([NewRecord(TOPIC, 1, b"7", value, headers, int(TIME.timestamp() * 1000))])
    with closing(maker(SOLD, log)) as made:
        [first, second] = made.made(all_of(log, TOPIC), parking(), False)
    assert first.topic == "sold-events"
    assert first.key == b"CD-0"
    assert first.partition == partition_of(b"CD-0", 3)
    assert first.value == (
        b'{"eventType":"item_sold","eventVersion":1,"sku":"CD-0","orderId":"7","price":"11.77",'
        b'"timestamp":"2026-01-05T08:30:00.000007Z"}'
    )
    assert first.timestamp_ms == int(TIME.timestamp() * 1000)
    meta = read_meta("sold-events", 0, 0, first.key, first.headers, 0)
    assert isinstance(meta, hw.Meta)
    assert (meta.id, meta.type, meta.time, meta.entity_id) == ("e1-item_sold-0", "item_sold", TIME, "CD-0")
    assert (meta.causation_id, meta.correlation_id, meta.actor, meta.version) == ("e1", "first", "user:ann", None)
    assert dict(second.headers)["ce_id"] == b"e1-item_sold-1"


def test_values_stand_as_the_codec_writes_them() -> None:
    sql = """CREATE STREAM s AS SELECT orderId, total, total * 1000000000000 AS large, discount, len(items) AS n,
    total > 1 AS dear, total::DOUBLE AS d, DATE '2026-01-05' AS day, 170141183460469231731687303715884105727 AS huge,
    items, TIMESTAMPTZ '2026-01-05 10:30:00+02' AS at FROM order-events"""
    [[record], _] = made_of(sql, [order("7", "0.10")])
    assert msgspec.json.decode(record.value or b"") == {
        "eventType": "s", "eventVersion": 1, "orderId": "7", "total": "0.1", "large": "100000000000", "discount": None,
        "n": 1, "dear": False, "d": 0.1, "day": "2026-01-05", "huge": "170141183460469231731687303715884105727",
        "items": [{"sku": "CD-0", "itemPrice": "0.1", "quantity": 1}], "at": "2026-01-05T08:30:00Z",
        "timestamp": dict(record.headers)["ce_time"].decode(),
    }  # fmt: skip


def test_without_a_key_of_its_own_a_record_has_that_of_its_source() -> None:
    records, _ = made_of("CREATE STREAM s AS SELECT total FROM order-events", [order("7"), order("8")])
    assert sorted((one.key, one.partition) for one in records) == sorted(
        (key, partition_of(key, 2)) for key in (b"7", b"8")
    )


def test_a_null_key_stays_in_the_partition_of_its_source() -> None:
    sql = "CREATE STREAM s WITH (key = 'customerId') AS SELECT customerId FROM order-events"
    [[record], _] = made_of(sql, [order("7", who=None)])
    assert (record.key, record.partition) == (None, partition_of(b"7", 2))


def test_what_cannot_be_a_record_is_set_aside_and_the_others_go_on() -> None:
    sql = "CREATE STREAM s AS SELECT orderId, (10 / total)::INTEGER AS n, customerId::INTEGER AS c FROM order-events"
    events = [order("1", "2", who="7"), order("2", "2", who="x"), order("2", "2", who="8"), ("3", b"{bad"), ("4", None)]
    records, aside = made_of(sql, events)
    assert [one.key for one in records] == [b"1"]
    held = sorted(((row.key or b"").decode(), row.failed) for row in aside.rows.values())
    assert held == [("2", False), ("2", True), ("3", True)]
    assert {row.stage for row in aside.rows.values() if row.failed} == {"apply", "decode"}


def test_what_others_write_becomes_a_stream() -> None:
    sql = """CREATE STREAM clicks (who VARCHAR, price DECIMAL(12,2)) WITH (topic = 'web-clicks');
    CREATE STREAM dear WITH (key = 'who') AS SELECT who, price * 2 AS twice FROM clicks WHERE price > 1"""
    log = MemoryLog()
    log.create_topics([TopicSpec("web-clicks", 1)])
    values = [b'{"who":"ann","price":1.5}', b'{"price":"x"}', None, b'{"who":"bob","price":"0.5"}']
    log.append([NewRecord("web-clicks", 0, b"k", value, (), 1_767_600_000_000) for value in values[:1]])
    log.append([NewRecord("web-clicks", 0, f"k{i}".encode(), value) for i, value in enumerate(values[1:])])
    aside = parking()
    with closing(maker(sql, log)) as made:
        [record] = made.made(all_of(log, "web-clicks"), aside, False)
    assert (record.topic, record.key) == ("dear", b"ann")
    assert record.value == (
        b'{"eventType":"dear","eventVersion":1,"who":"ann","twice":"3","timestamp":"2026-01-05T08:00:00Z"}'
    )
    assert dict(record.headers)["ce_id"] == b"web-clicks-0-0-dear-0"
    assert [row.key for row in aside.rows.values()] == [b"k0"]


def test_an_infinite_double_is_no_record() -> None:
    records, aside = made_of("CREATE STREAM s AS SELECT total / 0 AS n FROM order-events", [order("1", "2")])
    assert records == []
    assert [row.message for row in aside.rows.values()] == ["inf is no number of JSON"]


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("CREATE STREAM s WITH (key = 'x') AS SELECT orderId FROM order-events", "names no column"),
        ("CREATE STREAM s WITH (key = 'total') AS SELECT total FROM order-events", "is no key"),
        ("CREATE STREAM s AS SELECT orderId AS timestamp FROM order-events", "a record has its own timestamp"),
        ("CREATE STREAM s AS SELECT INTERVAL 1 HOUR AS i FROM order-events", "which a record does not hold"),
        ("CREATE STREAM s WITH (topic = 'order-events') AS SELECT orderId FROM order-events", "read what it writes"),
        ("CREATE STREAM s WITH (topic = 'x-state') AS SELECT orderId FROM order-events", "owner alone"),
        (
            "CREATE STREAM s WITH (topic = 'order-events') AS SELECT customerId FROM customer-events",
            "owner alone",
        ),
    ],
)
def test_a_stream_that_cannot_be_is_refused(statement: str, why: str) -> None:
    with pytest.raises(Misuse, match=why):
        plan_views([Text(statement)], catalogue())


def test_a_dead_letter_is_tried_again_and_what_waited_follows() -> None:
    log = make_log(1)
    sql = "CREATE STREAM s AS SELECT customerId::INTEGER AS n FROM order-events"
    stream = StreamRunner("shop", plan(sql), log, SYSTEM, PLAIN)
    append(log, [order("1", who="x"), order("1", who="7"), order("2", who="8")])
    relaying, loop = stream.begin("test")
    loop.start()
    try:
        letters = DeadLetters({"s": InLog(log, stream.group, SYSTEM)}, SYSTEM)
        eventually(lambda: len(letters.letters(Selection())) == 1 and numbers(log) == [8])
        [letter] = letters.letters(Selection())
        assert (letter.row.handler, letter.waiting) == ("stream s", 1)
        asked = letters.ask(letter, "retry", who="me", reason="", value=CODEC.encode(order("1", who="6")))
        assert letters.outcome(letter, asked, 60).step == "retried after an edit"
        eventually(lambda: numbers(log) == [8, 6, 7])
    finally:
        loop.stop()
        relaying.close()
        stream.close()


def numbers(log: Log) -> list[int]:
    return [msgspec.json.decode(one.value or b"")["n"] for one in all_of(log, "s")]


class TestOnALog:
    @pytest.fixture
    def app(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sold.sql").write_text(SOLD)
        return hw.App("shop", aggregates=[Order], projections=[Sold], views="*.sql", partitions=2)

    def test_rows_are_written_once_and_read_by_a_projection(self, app: hw.App, log: Log) -> None:
        with app.run(log) as shop:
            shop.send(PlaceOrder("123", [Decimal("11.77"), Decimal("0.5")]))
            shop.send(PlaceOrder("124", [Decimal("2"), Decimal("3")]))
            eventually(lambda: sorted(map(str, all_rows(shop))) == ["CD-0 2 13.77", "CD-1 1 3"])
        with app.run(log) as shop:  # it goes on where it was
            shop.send(PlaceOrder("125", [Decimal("4")]))
            eventually(lambda: sorted(map(str, all_rows(shop))) == ["CD-0 3 17.77", "CD-1 1 3"])
        records = all_of(log, "sold-events")
        partitions = log.topics(["sold-events"])["sold-events"].partitions
        assert {one.partition == partition_of(one.key or b"", partitions) for one in records} == {True}
        assert len({dict(one.headers)["ce_id"] for one in records}) == len(records) == 4


def all_rows(shop: hw.Shop) -> list[str]:
    return [f"{row.sku} {row.count} {row.money}" for row in shop.rows(Sold)]
