"""The codec of a topic that holds JSON, JSON Schema and Avro: all that is written is read, and nothing read raises."""

from __future__ import annotations

import io
import itertools
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import msgspec
import pytest

import headwater.messages as hw
from headwater.errors import Misuse, Unavailable
from headwater.schemas.codec import Format, SchemaCodec
from headwater.schemas.framing import frame, framed
from headwater.schemas.port import Schema
from tests.messages.contract import Item, OrderCancelled, OrderDelivered, OrderEvent, OrderPlaced
from tests.schemas import wares
from tests.schemas.shelf import Shelf
from tests.schemas.wares import WareEvent, WareGone

NOW = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
PLACED = OrderPlaced("123", "456", [Item("CD-1", Decimal("11.77"))], Decimal("11.77"))
CANCELLED = OrderCancelled("123", "late")
FORMATS: tuple[Format, ...] = ("json", "json-schema", "avro")


def orders(shelf: Shelf, format: Format = "avro") -> SchemaCodec[Any]:
    return SchemaCodec([OrderEvent, hw.Reverted], "order-events", format, shelf)


def avro(schema: Any, datum: Any, shelf: Shelf) -> bytes:
    """A value as somebody else writes it."""
    out = io.BytesIO()
    out.write(frame(shelf.put(Schema("avro", json.dumps(schema)))))
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    return out.getvalue()


def reason(found: object) -> str:
    assert isinstance(found, hw.Unreadable)
    return f"{found.kind}: {found.reason}"


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_whatever_the_fields_are(format: Format) -> None:
    codec: SchemaCodec[Any] = SchemaCodec([WareEvent], "ware-events", format, Shelf())
    for event in (wares.listed(), WareGone("w1")):
        content = codec.encode(event, NOW)
        assert codec.decode(content) == event
        assert codec.decode_many([content, content]) == [event, event]
        assert codec.payload_time(content) == NOW


def test_all_formats_stand_in_one_topic_in_any_order() -> None:
    shelf = Shelf()
    written = [orders(shelf, format).encode(event, NOW) for event in (PLACED, CANCELLED) for format in FORMATS]
    expected = [PLACED] * 3 + [CANCELLED] * 3
    for format in FORMATS:
        assert orders(shelf, format).decode_many(written) == expected
        assert orders(shelf, format).decode_many([None, *written[::-1]])[1:] == expected[::-1]


@pytest.mark.parametrize("format", FORMATS)
def test_types_that_a_reader_does_not_know_are_passed_over(format: Format) -> None:
    shelf = Shelf()
    written = [orders(shelf, format).encode(event, NOW) for event in (PLACED, CANCELLED, PLACED)]
    reader: SchemaCodec[Any] = SchemaCodec([OrderPlaced], "order-events", format, shelf)
    for _ in range(2):  # the schemas are met, and known
        first, other, last = reader.decode_many(written)
        assert (first, last) == (PLACED, PLACED)
        assert reason(other) == "unknown_type: no class here has the wire name 'OrderCancelled'"
    assert reader.decode(written[1]) == other


def test_a_batch_is_read_as_its_values_are_whatever_their_frames_say() -> None:
    """What decides for a whole batch must come to what decides for one value: ids of JSON beside each other or with
    others between, and values that lie below, between and above them."""
    shelf = Shelf()
    json_ids = [shelf.put(Schema("json", f'{{"title":"{name}"}}')) for name in ("a", "b")]
    avro_value = orders(shelf).encode(PLACED, NOW)
    json_ids.append(shelf.put(Schema("json", '{"title":"c"}')))
    body = orders(shelf, "json").encode(PLACED, NOW)
    framed_ones = [frame(id) + body for id in json_ids]
    by_guid = framed(body, [("__value_schema_id", b"\x01" + shelf.guid(json_ids[0]).bytes)])
    others = [None, b"", b"\0", avro_value, body, frame(77) + body, by_guid, framed_ones[0][:-1]]
    codec = orders(shelf)
    codec.decode_many(framed_ones)  # the frames are known from here on
    for batch in itertools.product([*framed_ones, *others], repeat=3):
        assert codec.decode_many(batch) == [codec.decode(one) for one in batch], batch
    assert codec.decode_many(framed_ones * 300) == [PLACED] * 900
    assert codec.decode_many([]) == []


def test_a_schema_is_asked_for_once() -> None:
    shelf = Shelf()
    codec = orders(shelf)
    written = [codec.encode(PLACED, NOW)] * 3
    for _ in range(3):
        assert codec.decode_many(written) == [PLACED] * 3
    assert len(shelf.asked) == 1
    shelf.down = True
    assert codec.decode(written[0]) == PLACED, "a registry that is down stops nobody who has met the schema"
    with pytest.raises(Unavailable):
        orders(shelf).decode(written[0])


def test_the_newer_form_has_the_schema_in_a_header() -> None:
    shelf = Shelf()
    codec = orders(shelf)
    value = codec.encode(PLACED, NOW)
    id, body = int.from_bytes(value[1:5], "big"), value[5:]
    by_guid = framed(body, [("__value_schema_id", b"\x01" + shelf.guid(id).bytes)])
    assert codec.decode_many([by_guid, framed(body, [("__value_schema_id", value[:5])])]) == [PLACED, PLACED]
    assert framed(body, [("__value_schema_id", b"\x01 too short")]) == body


def test_events_of_any_kind_travel_in_avro() -> None:
    codec = orders(Shelf())
    reverted = codec.decode(codec.encode(hw.Reverted(hw.RawJson(b'{"total":"1"}'), 3), NOW))
    assert isinstance(reverted, hw.Reverted)
    assert (bytes(reverted.state), reverted.to_version) == (b'{"total":"1"}', 3)


def test_the_headers_say_how_a_value_is_written() -> None:
    shelf = Shelf()
    assert orders(shelf, "json").headers(OrderPlaced) == (("content-type", b"application/json"),)
    assert orders(shelf, "json-schema").headers(OrderPlaced) == (
        ("content-type", b"application/json"),
        ("ce_dataschema", b"shelf/1"),
    )
    assert orders(shelf).headers(OrderPlaced) == (("content-type", b"avro/binary"), ("ce_dataschema", b"shelf/2"))


def test_the_version_is_looked_at_before_the_fields() -> None:
    shelf = Shelf()
    schema = json.loads(shelf.schema(shelf_id(shelf)).text)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "eventVersion"]
    fields = {"eventType": "OrderCancelled", "orderId": "1", "reason": "late", "timestamp": None}
    old = avro(schema, fields, shelf)
    assert "old_version: version 1 of OrderCancelled" in reason(orders(shelf).decode(old)), "none said is version 1"
    assert "old_version" in reason(orders(shelf).decode_many([old, old])[1])


def shelf_id(shelf: Shelf) -> int:
    return int.from_bytes(orders(shelf).encode(CANCELLED, NOW)[1:5], "big")


def test_avro_of_others_is_read_by_the_names_of_its_fields() -> None:
    """No eventType, no version, a decimal of their own, fields that we do not have, another namespace."""
    shelf = Shelf()
    schema = {
        "type": "record",
        "name": "OrderPlaced",
        "namespace": "com.shop",
        "fields": [
            {"name": "note", "type": "string"},
            {"name": "orderId", "type": "string"},
            {"name": "customerId", "type": "string"},
            {"name": "items", "type": {"type": "array", "items": "string"}},
            {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        ],
    }
    theirs = {"note": "?", "orderId": "123", "customerId": "456", "items": [], "total": Decimal("11.77")}
    value = avro(schema, theirs, shelf)
    expected = OrderPlaced("123", "456", [], Decimal("11.77"))
    assert orders(shelf).decode(value) == expected
    assert orders(shelf).decode_many([value, value]) == [expected] * 2


def test_a_union_of_events_is_read_by_its_branch() -> None:
    shelf = Shelf()
    delivered: dict[str, Any] = {"type": "record", "name": "OrderDelivered", "fields": []}
    delivered["fields"] = [
        {"name": "orderId", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]
    other = {"type": "record", "name": "Unheard", "fields": []}
    value = avro([other, delivered], ("OrderDelivered", {"orderId": "1", "at": NOW}), shelf)
    assert orders(shelf).decode(value) == OrderDelivered("1", NOW)
    assert reason(orders(shelf).decode(avro([other, delivered], ("Unheard", {}), shelf))).startswith("unknown_type")


def test_what_cannot_be_read_says_why() -> None:
    shelf = Shelf()
    codec = orders(shelf)
    value = codec.encode(PLACED, NOW)
    cases = {
        b"\0\0": "bad_bytes: its first byte says that a schema's id follows",
        frame(77) + b"x": "unknown_schema: it was written with schema 77: there is no schema 77 on the shelf",
        value[:-3]: "bad_bytes: no Avro of its schema: ",
        value + b"!": "bad_bytes: no Avro of its schema, which ends 1 bytes before the value does",
        frame(shelf.put(Schema("avro", '{"type":"nonsense"}'))): "unknown_schema: .*its schema is no Avro",
        frame(shelf.put(Schema("avro", "[" * 100_000))): "unknown_schema: .*nested over 200 levels deep",
        frame(shelf.put(Schema("json", "{}"))) + b"{": "bad_bytes: Input data was truncated",
    }
    for content, expected in cases.items():
        for found in (codec.decode(content), codec.decode_many([content, value])[0]):
            assert re.match(expected, reason(found)), reason(found)


def test_a_number_that_no_message_can_hold_is_refused() -> None:
    shelf = Shelf()
    codec: SchemaCodec[Any] = SchemaCodec([WareEvent], "ware-events", "avro", shelf)
    content = codec.encode(wares.listed(), NOW)
    nan = content.replace(b"\x9a\x99\x99\x99\x99\x99\xb9\x3f", b"\x00\x00\x00\x00\x00\x00\xf8\x7f")
    assert nan != content
    assert "not finite" in reason(codec.decode(nan))


def test_bytes_that_nest_without_end_do_not_end_the_process() -> None:
    """fastavro follows them in C until the stack is used up."""
    shelf = Shelf()
    codec: SchemaCodec[Any] = SchemaCodec([WareEvent], "ware-events", "avro", shelf)
    content = codec.encode(wares.listed(), NOW)
    begin = content.index(b"\x04\x02\x02a\x02\x02b")
    assert "nested over 200 levels" in reason(codec.decode(content[:begin] + b"\x02" + b"\x02\x02a" * 100_000))


def test_nine_bytes_do_not_ask_for_all_memory() -> None:
    shelf = Shelf()
    schema = {"type": "record", "name": "OrderPlaced", "fields": [{"name": "x", "type": {"type": "array"}}]}
    schema["fields"][0]["type"]["items"] = "null"  # type: ignore[index] # a list of fields
    value = avro(schema, {"x": []}, shelf)
    bomb = value[:5] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x00"
    assert "more than bytes are left" in reason(orders(shelf).decode(bomb))
    assert "more than bytes are left" in reason(orders(shelf).decode(value[:5] + b"\xa0\x8d\x06" * 10_000 + b"\x00"))


def test_what_avro_cannot_say_is_refused_when_it_is_written() -> None:
    codec: SchemaCodec[Any] = SchemaCodec([WareEvent], "ware-events", "avro", Shelf())
    with pytest.raises(Misuse, match="WareListed cannot be written as Avro"):
        codec.encode(msgspec.structs.replace(wares.listed(), count=2**64), NOW)
    with pytest.raises(Misuse, match="OrderPlaced is not one of this codec's classes"):
        codec.encode(PLACED, NOW)
