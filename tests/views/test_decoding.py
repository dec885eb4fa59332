"""From the bytes of records to numbers: exact, and a bad record takes nothing with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

import headwater as hw
from headwater.log.port import StoredRecord
from headwater.messages.json_codec import JsonCodec
from headwater.views import decoding
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.feeding import Fed, records_of
from tests.views.orders import Item, OrderCancelled, OrderEvent, OrderPlaced, append, make_log, placed, seed_plan

HEAD = '{"eventType":"OrderPlaced","eventVersion":1,'


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fed]:
    monkeypatch.setattr(decoding, "AT_ONCE", 3)
    with closing(Fed(seed_plan())) as fed:
        yield fed


def order(order_id: str = '"1"', items: str = "[]", head: str = HEAD) -> bytes:
    return f'{head}"orderId":{order_id},"customerId":"ann","items":{items},"total":"1"}}'.encode()


def one_item(price: str) -> bytes:
    return order(items=f'[{{"sku":"a","itemPrice":{price},"quantity":1}}]')


def read(fed: Fed, *values: bytes | None, keys: str = "abcdefghij") -> list[tuple[object, ...]]:
    log = make_log(1)
    append(log, list(zip(keys, values, strict=False)))
    fed.feed(records_of(log))
    return sorted(fed.rows(), key=str)


EXACT = {
    "11.77": "11.77",
    '"11.77"': "11.77",
    "12345678901234567890.123456789": "12345678901234567890.123456789",
    '"12345678901234567890.123456789"': "12345678901234567890.123456789",
    "1e3": "1000",
    "25e-2": "0.25",
    '"1.5E-8"': "0.000000015",
    "1.50000000000000": "1.5",
    "-0.1": "-0.1",
}


def test_decimals_are_read_exactly(fed: Fed) -> None:
    log = make_log(1)
    items = '[{{"sku":"a","itemPrice":{},"quantity":1}}]'
    append(log, [(text, order(f'"{i}"', items.format(text))) for i, text in enumerate(EXACT)])
    fed.feed(records_of(log))
    assert dict(fed.rows()) == {str(i): Decimal(number) for i, number in enumerate(EXACT.values())}
    assert fed.dead() == {}


BAD = {
    one_item("1.0000000005"): "10 digits after the point",
    one_item("15e-10"): "10 digits after the point",
    one_item("1e29"): "more than 29 digits",
    one_item("true"): "Expected `decimal`, got `bool`",
    one_item('"abc"'): "Invalid decimal",
    one_item('"NaN"'): "NaN",
    one_item("[1]"): "Expected `decimal`, got `array`",
    one_item("null"): "Expected `decimal`, got `null`",
    b"{bad": "malformed",
    b'{"eventType":"OrderPlaced","eventVersion":1,"orderId":"\xff"}': "utf-8",
    b"[1]": "Expected `object`",
    order(order_id="5"): "Expected `str`, got `int`",
    order(order_id='{"a":1}'): "Expected `str`",
    order(items="5"): "Expected `array`",
    order(head='{"eventType":"OrderPlaced","eventVersion":2,'): "newer than version 1",
    b'{"eventType":"OrderPlaced","eventVersion":1,"customerId":"a"}': "missing required field",
}


def test_a_record_that_cannot_be_read_is_a_dead_letter_and_takes_nothing_with_it(fed: Fed) -> None:
    log = make_log(1)
    append(log, [one for i, value in enumerate(BAD) for one in ((str(i), value), (f"good {i}", one_item("2.5")))])
    fed.feed(records_of(log))
    assert fed.rows() == [("1", Decimal("2.5") * len(BAD))]
    dead = fed.dead()
    assert dead.keys() == {str(i) for i in range(len(BAD))}
    for i, why in enumerate(BAD.values()):
        assert why in dead[str(i)]


def test_each_alone_is_found_in_a_batch_of_good_records(fed: Fed) -> None:
    """The texts of a batch are looked through as one: nothing of it may depend on another that is bad, too."""
    log = make_log(1)
    append(log, [one for i, value in enumerate(BAD) for one in ((str(i), value), (f"good {i}", one_item("2.5")))])
    records = records_of(log)
    for at in range(0, len(records), 2):
        fed.feed(records[at : at + 2])
    assert fed.rows() == [("1", Decimal("2.5") * len(BAD))]
    assert fed.dead().keys() == {str(i) for i in range(len(BAD))}


@pytest.mark.parametrize(
    ("expression", "good", "bad", "why"),
    [
        ("customerId::INTEGER", "7", "x", "Could not convert string 'x' to INT32"),
        ("_time AT TIME ZONE customerId", "UTC", "Atlantis", "Unknown TimeZone 'Atlantis'"),
        ("strptime(customerId, '%Y-%m-%d')", "2026-01-05", "soon", 'Could not parse string "soon"'),
        ("regexp_matches('a', customerId)", "a", "(", "missing )"),
        ("SUM(customerId::SMALLINT)", "7", "99999", "Could not convert string '99999' to INT16"),
        (
            "COUNT(*) FILTER (WHERE customerId::BOOLEAN)",
            "true",
            "perhaps",
            "Could not convert string 'perhaps' to BOOL",
        ),
    ],
)
def test_a_value_that_an_expression_does_not_go_with_is_one_dead_letter(
    expression: str, good: str, bad: str, why: str
) -> None:
    grouped = " GROUP BY orderId" if "(WHERE" in expression or "SUM" in expression else ""
    sql = f"CREATE TABLE v AS SELECT orderId, {expression} AS x FROM order-events{grouped}"
    [view] = plan_views([Text(sql)], catalogue_of([OrderEvent], []))
    log = make_log(1)
    append(log, [OrderPlaced(str(i), bad if i == 3 else good, [], Decimal(0)) for i in range(6)])
    with closing(Fed(view)) as fed:
        fed.feed(records_of(log))
        assert sorted(row[0] for row in fed.rows()) == ["0", "1", "2", "4", "5"]
        [(key, told)] = fed.dead().items()
        assert (key, why in told) == ("3", True), told


def test_later_records_of_its_key_wait_behind_a_dead_letter(fed: Fed) -> None:
    assert read(fed, one_item("1"), b"{bad", one_item("2"), one_item("4"), keys="abba") == [("1", Decimal(5))]
    assert fed.dead()["b"] == "held"  # the last of two rows


def test_a_tombstone_is_no_error(fed: Fed) -> None:
    assert read(fed, None, one_item("1"), None) == [("1", Decimal(1))]
    assert fed.dead() == {}


def test_records_in_another_form_are_read_too(fed: Fed) -> None:
    spaced = b'{ "orderId" : "1", "customerId": "a",\n "items": [ {"itemPrice": 1.25, "sku": "a"} ], "total": 1,'
    values = [spaced + b' "eventType": "OrderPlaced"}', order(order_id='"\\u0031"', items="[]")]
    assert read(fed, *values) == [("1", Decimal("1.25"))]


def test_other_types_of_the_topic_add_nothing(fed: Fed) -> None:
    log = make_log(1)
    append(log, [placed("1", "2"), OrderCancelled("1", "x"), ("2", b'{"eventType":"Unheard","eventVersion":7}')])
    fed.feed(records_of(log))
    assert fed.rows() == [("1", Decimal(2))]
    assert fed.dead() == {}


def test_a_tenth_a_million_times_is_a_hundred_thousand() -> None:
    items = [Item("a", Decimal("0.1"))] * 1000
    codec: JsonCodec[OrderPlaced] = JsonCodec([OrderPlaced])
    value = codec.encode(OrderPlaced("1", "ann", items, Decimal(100)))
    log = make_log(1)
    append(log, [("1", value)] * 1000)  # a thousand events of a thousand items
    with closing(Fed(seed_plan())) as fed:
        fed.feed(records_of(log))
        assert fed.rows() == [("1", Decimal(100_000))]


class ParcelEvent(hw.Event, entity="parcel"):
    parcel_id: hw.Key[str]


class ParcelSent(ParcelEvent, version=2):
    grams: int


@hw.upcasts(ParcelSent, from_version=1)
def kilograms(fields: dict[str, Any]) -> dict[str, Any]:
    return {"parcelId": fields["parcelId"], "grams": fields["kilograms"] * 1000}


@hw.upcasts(ParcelEvent, "ParcelsSent", from_version=1)
def each(fields: dict[str, Any]) -> list[hw.Upcast]:
    return [hw.Upcast(ParcelSent, 2, {"parcelId": fields["parcelId"], "grams": grams}) for grams in fields["grams"]]


def test_an_old_event_that_is_several_of_today_and_one_that_is_none() -> None:
    sql = "CREATE TABLE v AS SELECT parcelId, SUM(grams) AS g, COUNT(*) AS n FROM parcel-events GROUP BY parcelId"
    [view] = plan_views([Text(sql)], catalogue_of([ParcelEvent], []))
    values = [b'{"eventType":"ParcelsSent","parcelId":"p","grams":%s}' % grams for grams in (b"[3,4]", b"[]")]
    with closing(Fed(view)) as fed:
        fed.feed([StoredRecord("parcel-events", 0, i, b"p", value, (), 0) for i, value in enumerate(values)])
        assert fed.rows() == [("p", 7, 2)]
        assert fed.dead() == {}


def test_an_old_version_is_read_through_its_upcaster() -> None:
    sql = "CREATE TABLE v AS SELECT parcelId, SUM(grams) AS g, MAX(_offset) AS o FROM parcel-events GROUP BY parcelId"
    [view] = plan_views([Text(sql)], catalogue_of([ParcelEvent], []))
    old = b'{"eventType":"ParcelSent","eventVersion":1,"parcelId":"p","kilograms":2}'
    new = b'{"eventType":"ParcelSent","eventVersion":2,"parcelId":"p","grams":5}'
    records = [StoredRecord("parcel-events", 0, i, b"p", value, (), 0) for i, value in enumerate([new, old, new])]
    with closing(Fed(view)) as fed:
        fed.feed(records)
        assert fed.rows() == [("p", 2010, 2)]
        assert fed.dead() == {}


class SpotEvent(hw.Event, entity="spot"):
    i: hw.Key[str]


class SpotSeen(SpotEvent):
    v: int
    x: int
    bad: bool


def test_fields_may_have_the_names_of_what_a_batch_is_read_with() -> None:
    [view] = plan_views(
        [Text("CREATE TABLE seen AS SELECT i, v, x, bad FROM spot-events")], catalogue_of([SpotEvent], [])
    )
    value = b'{"eventType":"SpotSeen","eventVersion":1,"i":"a","v":%d,"x":2,"bad":true}'
    with closing(Fed(view)) as fed:
        fed.feed([StoredRecord("spot-events", 0, n, b"a", value % n, (), 0) for n in range(60)])
        assert sorted(fed.rows()) == [("a", n, 2, True) for n in range(60)]


def test_a_small_batch_without_any_record_that_a_view_reads() -> None:
    sql = "CREATE TABLE v AS SELECT parcelId, grams, _time FROM parcel-events"
    [view] = plan_views([Text(sql)], catalogue_of([ParcelEvent], []))
    with closing(Fed(view)) as fed:
        fed.feed([StoredRecord("parcel-events", 0, 0, b"p", b'{"eventType":"ParcelLost","parcelId":"p"}', (), 0)])
        assert fed.rows() == []
        assert fed.dead() == {}
