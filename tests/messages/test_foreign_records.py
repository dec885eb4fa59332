"""Topics that others write are read as they are: no headers, any order of fields, extra fields, keys or not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

import headwater.messages as hw

from .contract import Item, OrderEvent, OrderPlaced

EVENTS: hw.JsonCodec[OrderEvent] = hw.JsonCodec([OrderEvent])

SEED = b"""{"eventType":"OrderPlaced","eventVersion":1,"orderId":"123","customerId":"456",
 "items":[{"sku":"CD-1","itemPrice":"11.77","quantity":1}],"total":11.77,"timestamp":"2024-04-10T10:30:00Z"}"""
PLACED = OrderPlaced("123", "456", [Item("CD-1", Decimal("11.77"))], Decimal("11.77"))


@pytest.mark.parametrize(
    "value",
    [
        SEED,
        SEED.replace(b'"eventVersion":1,', b""),
        SEED.replace(b",", b" , "),
        SEED.replace(b'"orderId"', b'"shop":{"eventType":"x"},"orderId"'),
        SEED.replace(b'{"eventType":"OrderPlaced",', b'{"source":"legacy","eventType":"OrderPlaced",'),
        b"\n\t" + SEED + b"\n",
        SEED.replace(b"OrderPlaced", b"Order\\u0050laced"),
    ],
)
def test_the_same_event_however_it_is_written(value: bytes) -> None:
    assert EVENTS.decode(value) == PLACED


def test_the_field_that_says_the_type_is_configurable() -> None:
    codec: hw.JsonCodec[OrderEvent] = hw.JsonCodec(
        [OrderEvent], type_field="type", version_field="v", time_field="occurredAt"
    )
    value = (
        b'{"type":"OrderPlaced","v":1,"orderId":"123","customerId":"456","items":[{"sku":"CD-1","itemPrice":11.77}],'
        b'"total":11.77,"occurredAt":"2024-04-10T12:30:00+02:00"}'
    )
    assert codec.decode(value) == PLACED
    assert codec.decode_many([value, value]) == [PLACED, PLACED]
    assert codec.payload_time(value) == datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
    written = codec.encode(PLACED, datetime(2024, 4, 10, 10, 30, tzinfo=UTC))
    assert written.startswith(b'{"type":"OrderPlaced","v":1,"orderId":"123"')
    assert written.endswith(b'"occurredAt":"2024-04-10T10:30:00Z"}')
    assert codec.decode(written) == PLACED


def test_the_envelope_of_a_record_without_headers() -> None:
    said = EVENTS.payload_time(SEED)
    assert isinstance(said, datetime)
    meta = hw.read_meta("orders", 2, 17, b"123", (), 1_712_744_999_000, said, "OrderPlaced")
    assert meta == hw.Meta(
        id="orders-2-17",
        type="OrderPlaced",
        time=datetime(2024, 4, 10, 10, 30, tzinfo=UTC),
        entity="orders",
        entity_id="123",
        version=None,
        topic="orders",
        partition=2,
        offset=17,
    )


def test_a_record_that_says_no_time_has_the_logs() -> None:
    assert EVENTS.payload_time(b'{"eventType":"OrderPlaced"}') is None
    assert EVENTS.payload_time(None) is None
    meta = hw.read_meta("orders", 0, 0, None, (), 1_712_744_999_123)
    assert isinstance(meta, hw.Meta)
    assert meta.time == datetime(2024, 4, 10, 10, 29, 59, 123_000, tzinfo=UTC)
    assert meta.entity_id == ""


@pytest.mark.parametrize(
    "said",
    [
        b"17",
        b'"yesterday"',
        b'"2024-04-10T10:30:00"',
        b'"2024-04-10"',
        b"[]",
        b'"0001-01-01T00:00:00+14:00"',
        b'"9999-12-31T23:59:59-14:00"',
    ],
)
def test_a_time_that_is_none_is_told_with_its_place(said: bytes) -> None:
    answer = EVENTS.payload_time(b'{"eventType":"OrderPlaced","timestamp":' + said + b"}")
    assert isinstance(answer, hw.Unreadable)
    assert (answer.kind, answer.wire_name) == ("wrong_type", "OrderPlaced")
    assert "$.timestamp" in answer.reason


def test_a_header_with_a_time_outside_of_utcs_years_is_told() -> None:
    answer = hw.read_meta("orders", 2, 17, b"123", [("ce_time", b"0001-01-01T00:00:00+14:00")], 1_712_744_999_000)
    assert isinstance(answer, hw.Unreadable)
    assert "years 1 to 9999" in answer.reason
