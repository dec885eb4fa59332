"""Messages as JSON: what is written is what is read, and what cannot be read says why."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater.messages as hw
from headwater.errors import Misuse

from .contract import (
    CancelOrder,
    Counted,
    CountedUp,
    Day,
    DayBegan,
    Device,
    DeviceSeen,
    Item,
    OrderCancelled,
    OrderCommand,
    OrderDelivered,
    OrderEvent,
    OrderPlaced,
    PlaceOrder,
    Unpaid,
)

EVENTS: hw.JsonCodec[OrderEvent] = hw.JsonCodec([OrderEvent])
COMMANDS: hw.JsonCodec[OrderCommand] = hw.JsonCodec([OrderCommand])
TIME = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)

text = st.text(max_size=20)
keys = st.text(min_size=1, max_size=20)
money = st.decimals(allow_nan=False, allow_infinity=False)
zones = st.builds(timezone, st.integers(-23, 23).map(lambda hours: timedelta(hours=hours)))
times = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=zones | st.just(UTC))
items = st.lists(st.builds(Item, text, money, st.integers()), max_size=4)
events = st.one_of(
    st.builds(OrderPlaced, keys, text, items, money),
    st.builds(OrderCancelled, keys, text),
    st.builds(OrderDelivered, keys, times, st.lists(times, max_size=3), st.none() | text),
)


@given(events, st.none() | times)
def test_an_event_is_read_as_it_was_written(event: OrderEvent, time: datetime | None) -> None:
    value = EVENTS.encode(event, time)
    assert EVENTS.decode(value) == event
    assert EVENTS.payload_time(value) == time


@given(st.lists(events, max_size=5), times)
def test_a_batch_is_read_as_its_values_are(batch: list[OrderEvent], time: datetime) -> None:
    values = [EVENTS.encode(event, time) for event in batch]
    assert EVENTS.decode_many(values) == batch


@given(events, times)
def test_the_order_of_fields_and_white_space_do_not_matter(event: OrderEvent, time: datetime) -> None:
    fields = json.loads(EVENTS.encode(event, time))
    shuffled = json.dumps(dict(reversed(fields.items())), indent=2).encode()
    assert EVENTS.decode(shuffled) == event


@given(st.binary(max_size=200))
def test_no_bytes_raise(value: bytes) -> None:
    assert isinstance(EVENTS.decode(value), hw.Unreadable)
    assert isinstance(COMMANDS.decode(value), hw.Unreadable)


@given(events, st.data())
def test_no_damage_raises(event: OrderEvent, data: st.DataObject) -> None:
    value = bytearray(EVENTS.encode(event, TIME))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] = data.draw(st.integers(0, 255))
    EVENTS.decode(bytes(value))
    EVENTS.decode(bytes(value[:place]))
    EVENTS.payload_time(bytes(value))


def test_an_event_is_flat_json_with_its_type_first_and_its_time_last() -> None:
    event = OrderPlaced("123", "456", [Item("CD-1", Decimal("11.77"))], Decimal("11.77"))
    assert EVENTS.encode(event, TIME) == (
        b'{"eventType":"OrderPlaced","eventVersion":1,"orderId":"123","customerId":"456",'
        b'"items":[{"sku":"CD-1","itemPrice":"11.77","quantity":1}],"total":"11.77",'
        b'"timestamp":"2024-04-10T10:30:00Z"}'
    )


def test_a_command_says_its_version_from_the_second_on() -> None:
    assert COMMANDS.encode(PlaceOrder("1", "2", []), None) == (
        b'{"commandType":"PlaceOrder","orderId":"1","customerId":"2","items":[]}'
    )
    assert COMMANDS.encode(CancelOrder("1", "why"), None) == (
        b'{"commandType":"CancelOrder","commandVersion":2,"orderId":"1","reason":"why"}'
    )


@pytest.mark.parametrize("command", [PlaceOrder("1", "2", []), CancelOrder("1", "why")])
def test_a_command_is_read_as_it_was_written(command: OrderCommand) -> None:
    assert COMMANDS.decode(COMMANDS.encode(command, None)) == command
    assert COMMANDS.decode_many([COMMANDS.encode(command, TIME)]) == [command]


@pytest.mark.parametrize(
    ("family", "event", "text"),
    [
        (Counted, CountedUp(7, 1), "7"),
        (Day, DayBegan(date(2024, 4, 10)), "2024-04-10"),
        (Device, DeviceSeen(UUID("018f5f0e-7c1a-7000-8000-000000000000")), "018f5f0e-7c1a-7000-8000-000000000000"),
    ],
)
def test_keys_of_every_type_come_back(family: type[hw.Event], event: hw.Event, text: str) -> None:
    codec: hw.JsonCodec[hw.Event] = hw.JsonCodec([family])
    read = codec.decode(codec.encode(event, TIME))
    assert read == event
    assert hw.key_of(event) == text


class LampCommand(hw.Command, entity="lamp"):
    lamp_id: hw.Key[str]


class SwitchOn(LampCommand):
    watts: int


class SwitchOff(LampCommand):
    price: Decimal = Decimal(0)


LAMPS: hw.JsonCodec[LampCommand] = hw.JsonCodec([LampCommand])
said = st.sampled_from(
    [
        b'{"commandType":"SwitchOn","lampId":"1","watts":5}',
        b'{"commandType":"SwitchOn","commandVersion":1,"lampId":"1","watts":5}',
        b'{"commandType":"SwitchOn","commandVersion":2,"lampId":"1","watts":5}',
        b'{"commandType":"SwitchOn","commandVersion" :2,"lampId":"1","watts":5}',
        b'{"commandType":"SwitchOn","command\\u0056ersion":2,"lampId":"1","watts":5}',
        b'{"commandType":"SwitchOn","commandVersion":1,"commandVersion":2,"lampId":"1","watts":5}',
        b'{"lampId":"1","watts":5,"commandType":"SwitchOn"}',
        b'{"commandType":"SwitchOn","lampId":"","watts":5}',
        b'{"commandType":"SwitchOn","lampId":"1","watts":"5"}',
        b'{"commandType":"SwitchOff","lampId":"1"}',
        b'{"commandType":"SwitchOff","lampId":"1","price":"NaN"}',
        b'{"commandType":"SwitchOff","lampId":"\\ud800","price":"1"}',
        b'{"commandType":"Throw","lampId":"1"}',
        b'{"lampId":"1"}',
        b'{"commandType":"SwitchOff","lampId":"1","x":"command',
        b'Version":2}',
        b"",
        None,
    ]
)


@given(st.lists(said, max_size=6))
def test_a_batch_of_commands_is_read_as_each_of_them_is(batch: list[bytes | None]) -> None:
    assert LAMPS.decode_many(batch) == [LAMPS.decode(value) for value in batch]


def test_timeouts_travel_too() -> None:
    codec = hw.JsonCodec([Unpaid])
    assert codec.decode(codec.encode(Unpaid("1"), None)) == Unpaid("1")


def test_what_any_entity_understands_can_be_read_beside_its_own() -> None:
    reverted = hw.Reverted(hw.RawJson(b'{"status":"new"}'), 3)
    codec: hw.JsonCodec[hw.Event] = hw.JsonCodec([OrderEvent, hw.Reverted])
    value = codec.encode(reverted, TIME)
    assert value.startswith(b'{"eventType":"hw.Reverted","eventVersion":1,"state":{"status":"new"},"toVersion":3')
    read = codec.decode(value)
    assert isinstance(read, hw.Reverted)
    assert (bytes(read.state), read.to_version) == (b'{"status":"new"}', 3)


@pytest.mark.parametrize("number", ["0.1", "12345678901234567890.123456789", "1.10", "5", "-0.00", "1e-7"])
def test_decimals_are_read_exactly_from_numbers_and_from_strings(number: str) -> None:
    for written in (number, f'"{number}"'):
        value = f'{{"eventType":"OrderPlaced","orderId":"1","customerId":"2","items":[],"total":{written}}}'
        event = EVENTS.decode(value.encode())
        assert isinstance(event, OrderPlaced)
        assert str(event.total) == str(Decimal(number))


def unreadable(value: bytes | None, codec: hw.JsonCodec[Any] = EVENTS) -> hw.Unreadable:
    answer = codec.decode(value)
    assert isinstance(answer, hw.Unreadable)
    assert codec.decode_many([value]) == [answer]
    return answer


@pytest.mark.parametrize(
    ("value", "kind", "wire_name", "reason"),
    [
        (None, "tombstone", None, "no value"),
        (b"", "bad_bytes", None, "truncated"),
        (b"\x00\x00\x00\x00\x07avro", "bad_bytes", None, "malformed"),
        (b'{"eventType":"OrderPlaced"', "bad_bytes", None, "truncated"),
        (b'{"eventType":"OrderPlaced"} {}', "bad_bytes", None, "trailing"),
        (
            b'{"eventType":"OrderCancelled","eventVersion":2,"orderId":"\xff","reason":"x"}',
            "bad_bytes",
            "OrderCancelled",
            "utf-8",
        ),
        (b'{"eventType":"\xff"}', "bad_bytes", None, "utf-8"),
        (b'["OrderPlaced"]', "wrong_type", None, "Expected `object`, got `array`"),
        (b'"OrderPlaced"', "wrong_type", None, "Expected `object`"),
        (b'{"eventType":7}', "wrong_type", None, "$.eventType"),
        (b'{"eventType":"OrderPlaced","eventVersion":"1"}', "wrong_type", None, "$.eventVersion"),
        (b"{}", "no_type", None, "eventType"),
        (b'{"commandType":"PlaceOrder"}', "no_type", None, "eventType"),
        (b'{"eventType":null}', "no_type", None, "eventType"),
        (b'{"eventType":"OrderLost","orderId":"1"}', "unknown_type", "OrderLost", "OrderLost"),
        (b'{"eventType":"OrderPlaced","orderId":"1"}', "wrong_type", "OrderPlaced", "customerId"),
        (
            b'{"eventType":"OrderPlaced","orderId":"1","customerId":"2","items":[{"sku":"a","itemPrice":true}],"total":1}',
            "wrong_type",
            "OrderPlaced",
            "$.items[0].itemPrice",
        ),
        (
            b'{"eventType":"OrderPlaced","eventVersion":1,"orderId":"1","customerId":"2","items":[{}],"total":1}',
            "wrong_type",
            "OrderPlaced",
            "$.items[0]",
        ),
        (
            b'{"eventType":"OrderDelivered","orderId":"1","at":"2024-04-10T10:30:00"}',
            "wrong_type",
            "OrderDelivered",
            "timezone",
        ),
        (
            b'{"eventType":"OrderDelivered","orderId":"1","at":"2024-04-10T10:30:00Z","stops":["2024-04-10T10:30:00"]}',
            "wrong_type",
            "OrderDelivered",
            "$.stops[0]",
        ),
        (
            b'{"orderId":"","eventType":"OrderCancelled","eventVersion":2,"reason":"x"}',
            "wrong_type",
            "OrderCancelled",
            "length >= 1 - at `$.orderId`",
        ),
        (
            b'{"eventType":"OrderCancelled","eventVersion":2,"orderId":"","reason":"x"}',
            "wrong_type",
            "OrderCancelled",
            "length >= 1 - at `$.orderId`",
        ),
        (
            b'{"orderId":"1","eventType":"OrderPlaced","customerId":"2","items":[],"total":"NaN"}',
            "wrong_type",
            "OrderPlaced",
            "NaN",
        ),
    ],
)
def test_what_cannot_be_read_says_why_and_where(
    value: bytes | None, kind: str, wire_name: str | None, reason: str
) -> None:
    answer = unreadable(value)
    assert (answer.kind, answer.wire_name) == (kind, wire_name)
    assert reason in answer.reason


def test_deep_nesting_is_unreadable_and_no_recursion_error() -> None:
    deep = b"[" * 10_000 + b"]" * 10_000
    head = b'{"eventType":"OrderCancelled","eventVersion":2,"orderId":"1","reason":"x","more":'
    assert unreadable(deep).kind == "wrong_type"
    assert unreadable(head + deep + b"}").kind == "bad_bytes"
    assert unreadable(b" " + head + deep + b"}").kind == "bad_bytes"


def test_values_of_two_megabytes_pass() -> None:
    event = OrderCancelled("1", "é" * 1_000_000)
    value = EVENTS.encode(event, TIME)
    assert len(value) > 2_000_000
    assert EVENTS.decode(value) == event
    assert EVENTS.decode(b" " + value) == event


def test_of_a_field_that_is_there_twice_the_last_one_counts_as_in_most_readers() -> None:
    value = b'{"eventType":"OrderCancelled","eventVersion":2,"orderId":"1","reason":"a","reason":"b"}'
    assert EVENTS.decode(value) == OrderCancelled("1", "b")


NOT_FINITE = ["NaN", "nan", "sNaN1", "Infinity", "-inf", " NaN ", "N_aN", "\\u004eaN"]
HEAD = '{"eventType":"OrderPlaced","eventVersion":1,"orderId":"1","customerId":"2",'


@pytest.mark.parametrize("text", NOT_FINITE)
def test_decimals_that_are_not_finite_are_unreadable_in_every_order_of_fields(text: str) -> None:
    for value in (
        f'{HEAD}"items":[],"total":"{text}"}}',
        f'{{"total":"{text}","eventType":"OrderPlaced","eventVersion":1,"orderId":"1","customerId":"2","items":[]}}',
        f'{HEAD}"items":[{{"sku":"a","itemPrice":"1"}},{{"sku":"b","itemPrice":"{text}"}}],"total":"1"}}',
    ):
        answer = unreadable(value.encode())
        assert answer.kind == "wrong_type"
        place = "items[1].item_price" if "sku" in value else "total"
        assert f"OrderPlaced.{place} is Decimal(" in answer.reason
        assert "not a finite Decimal" in answer.reason


class Rate(hw.Value):
    percent: Decimal
    under: list[Rate] = []


class Priced(hw.Event, entity="price"):
    id: hw.Key[str]


class PriceSet(Priced):
    plain: Annotated[Decimal, "in euros"] = Decimal(0)
    perhaps: Decimal | None = None
    pairs: tuple[str, Decimal] = ("", Decimal(0))
    row: tuple[Decimal, ...] = ()
    kinds: set[Decimal] = set()
    by_name: dict[str, Decimal] = {}
    by_number: dict[Decimal, str] = {}
    rate: Rate | None = None
    rates: dict[str, list[Rate]] = {}
    ranges: list[list[tuple[Decimal, ...]]] = []
    nested: list[list[list[list[list[list[list[list[Decimal]]]]]]]] = []
    either: str | Rate = ""
    steps: list[Rate | None] = []


class PriceSeen(Priced):
    text: str = ""


PRICES: hw.JsonCodec[Priced] = hw.JsonCodec([Priced])


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ('"plain":"NaN"', "plain is"),
        ('"perhaps":"NaN"', "perhaps is"),
        ('"pairs":["x","NaN"]', "pairs[1] is"),
        ('"row":["1","NaN"]', "row[1] is"),
        ('"kinds":["NaN"]', "kinds[0] is"),
        ('"byName":{"a":"1","b":"NaN"}', "by_name['b'] is"),
        ('"byNumber":{"NaN":"x"}', "by_number is"),
        ('"rate":{"percent":"NaN"}', "rate.percent is"),
        ('"rate":{"percent":"1","under":[{"percent":"NaN"}]}', "rate.under[0].percent is"),
        ('"rates":{"a":[{"percent":"1"},{"percent":"NaN"}]}', "rates['a'][1].percent is"),
        ('"ranges":[[],[["1"],["2","NaN"]]]', "ranges[1][1][1] is"),
        ('"nested":[[[[[[[["1","NaN"]]]]]]]]', "nested[0][0][0][0][0][0][0][1] is"),
        ('"either":{"percent":"NaN"}', "either.percent is"),
        ('"steps":[null,{"percent":"NaN"}]', "steps[1].percent is"),
    ],
)
def test_a_decimal_is_finite_wherever_it_is(field: str, place: str) -> None:
    template = '{"eventType":"PriceSet","eventVersion":1,"id":"1",FIELD}'
    answer = unreadable(template.replace("FIELD", field).encode(), PRICES)
    assert answer.reason.startswith(f"PriceSet.{place}")
    assert isinstance(PRICES.decode(template.replace("FIELD", field.replace("NaN", "5")).encode()), PriceSet)


def test_text_that_says_nan_is_text() -> None:
    seen = PriceSeen("1", "NaN")
    assert PRICES.decode_many([PRICES.encode(seen), PRICES.encode(PriceSet("1"))]) == [seen, PriceSet("1")]


def test_a_number_that_is_not_finite_leaves_its_neighbours_readable() -> None:
    good = PRICES.encode(PriceSet("1", Decimal("1.5")), TIME)
    read = PRICES.decode_many([good] * 700 + [good.replace(b"1.5", b"NaN")] + [good] * 10)
    assert [place for place, one in enumerate(read) if one != PriceSet("1", Decimal("1.5"))] == [700]
    assert isinstance(read[700], hw.Unreadable)


def test_one_bad_value_leaves_its_neighbours_readable() -> None:
    good = OrderCancelled("1", "x")
    value = EVENTS.encode(good, TIME)
    broken = value[:-30]
    read = EVENTS.decode_many([value, None, broken, b" " + value, b"x", value])
    kinds = [part.kind if isinstance(part, hw.Unreadable) else part for part in read]
    assert kinds == [good, "tombstone", "bad_bytes", good, "bad_bytes", good]
    assert EVENTS.decode_many([]) == []


def test_a_codec_refuses_a_message_of_another_class() -> None:
    with pytest.raises(Misuse, match=r"CountedUp is not one of this codec's classes: OrderPlaced"):
        EVENTS.encode(CountedUp(1, 1), TIME)  # type: ignore[arg-type] # on purpose


def test_a_codec_refuses_a_time_without_zone() -> None:
    with pytest.raises(Misuse, match="has no time zone"):
        EVENTS.encode(OrderCancelled("1", "x"), datetime(2024, 4, 10))


def test_a_codec_takes_messages_of_one_kind_only() -> None:
    with pytest.raises(Misuse, match="all of one kind, not command, event"):
        hw.JsonCodec([OrderPlaced, PlaceOrder])  # type: ignore[arg-type] # on purpose
    with pytest.raises(Misuse, match="not none"):
        hw.JsonCodec([])


def test_a_codec_refuses_two_classes_of_one_wire_name() -> None:
    class Family(hw.Event, entity="other"):
        id: hw.Key[str]

    class Placed(Family, name="OrderPlaced"):
        pass

    with pytest.raises(Misuse, match="have the same wire name 'OrderPlaced'"):
        hw.JsonCodec([OrderEvent, Family])


def test_a_codec_refuses_a_field_that_the_record_itself_uses() -> None:
    class Family(hw.Event, entity="clock"):
        id: hw.Key[str]

    class Ticked(Family):
        timestamp: datetime

    with pytest.raises(
        Misuse, match=r"Ticked\.timestamp would be written as 'timestamp', which the record itself uses"
    ):
        hw.JsonCodec([Ticked])
    hw.JsonCodec([Ticked], time_field="happenedAt")
