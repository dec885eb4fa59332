"""The version is looked at before a typed value is believed."""

from __future__ import annotations

import random

import pytest

import headwater.messages as hw

from .contract import (
    CancelOrder,
    Counted,
    CountedUp,
    OrderCancelled,
    OrderCommand,
    OrderEvent,
    PlaceOrder,
)

EVENTS: hw.JsonCodec[OrderEvent] = hw.JsonCodec([OrderEvent])
COUNTS: hw.JsonCodec[Counted] = hw.JsonCodec([Counted])  # its two classes are at version 1
COUNTS_UP: hw.JsonCodec[CountedUp] = hw.JsonCodec([CountedUp])
COMMANDS: hw.JsonCodec[OrderCommand] = hw.JsonCodec([OrderCommand])


@pytest.mark.parametrize(
    ("value", "version", "kind"),
    [
        (b'{"eventType":"OrderCancelled","eventVersion":1,"orderId":"1","reason":"x"}', 1, "old_version"),
        (b'{"eventType":"OrderCancelled","orderId":"1","reason":"x"}', 1, "old_version"),
        (b'{"orderId":"1","reason":"x","eventVersion":1,"eventType":"OrderCancelled"}', 1, "old_version"),
        (b'{"eventType":"OrderCancelled","orderId":"1","reason":"x","eventVersion":3}', 3, "unknown_version"),
        (b'{"eventType":"OrderCancelled","eventVersion":22,"orderId":"1","reason":"x"}', 22, "unknown_version"),
        (b'{"eventType":"OrderCancelled","eventVersion":0,"orderId":"1","reason":"x"}', 0, "old_version"),
    ],
)
def test_a_payload_of_another_version_never_passes_however_well_it_fits(value: bytes, version: int, kind: str) -> None:
    for answer in (EVENTS.decode(value), *EVENTS.decode_many([value])):
        assert isinstance(answer, hw.Unreadable)
        assert (answer.kind, answer.wire_name, answer.version) == (kind, "OrderCancelled", version)


def test_the_current_version_is_read_wherever_it_stands() -> None:
    for value in (
        b'{"eventType":"OrderCancelled","eventVersion":2,"orderId":"1","reason":"x"}',
        b'{"eventType":"OrderCancelled","orderId":"1","reason":"x","eventVersion":2}',
    ):
        assert EVENTS.decode(value) == OrderCancelled("1", "x")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (b'"PlaceOrder","commandVersion":2,"orderId":"1","customerId":"2","items":[]', "unknown_version"),
        (b'"PlaceOrder","orderId":"1","customerId":"2","items":[],"commandVersion":2', "unknown_version"),
        (b'"CancelOrder","orderId":"1","reason":"x"', "old_version"),
        (b'"CancelOrder","orderId":"1","reason":"x","commandVersion":1', "old_version"),
    ],
)
def test_a_command_of_another_version_never_passes(fields: bytes, kind: str) -> None:
    value = b'{"commandType":' + fields + b"}"
    for answer in (COMMANDS.decode(value), *COMMANDS.decode_many([value])):
        assert isinstance(answer, hw.Unreadable)
        assert answer.kind == kind


def test_a_command_that_says_its_own_version_is_read() -> None:
    spelt = b'{"commandType":"PlaceOrder","commandVersion":1,"orderId":"1","customerId":"2","items":[]}'
    assert COMMANDS.decode(spelt) == PlaceOrder("1", "2", [])
    late = b'{"commandType":"CancelOrder","orderId":"1","reason":"x","commandVersion":2}'
    assert COMMANDS.decode(late) == CancelOrder("1", "x")


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        ('"eventVersion":1', "old_version"),
        ('"eventVersion":3', "unknown_version"),
        ('"eventVersion" : 3', "unknown_version"),
        ('"event\\u0056ersion":3', "unknown_version"),
        ('"eventVersion":"3"', "wrong_type"),
    ],
)
def test_of_two_versions_the_last_one_counts_and_the_first_makes_nothing_believed(second: str, kind: str) -> None:
    value = f'{{"eventType":"OrderCancelled","eventVersion":2,"orderId":"1","reason":"x",{second}}}'.encode()
    good = EVENTS.encode(OrderCancelled("1", "x"))
    for answer in (EVENTS.decode(value), EVENTS.decode_many([good, value, good])[1]):
        assert isinstance(answer, hw.Unreadable)
        assert answer.kind == kind


@pytest.mark.parametrize(
    "second", ['"eventVersion":2', '"eventVersion" : 2', '"event\\u0056ersion":2', '"eventVersion":11']
)
def test_of_two_versions_the_last_one_counts_where_all_classes_are_at_the_first(second: str) -> None:
    good = COUNTS.encode(CountedUp(7, 1))
    for value in (
        f'{{"eventType":"CountedUp","eventVersion":1,"number":7,"by":1,{second}}}',
        f'{{"eventType":"CountedUp",{second},"number":7,"by":1}}',
    ):
        for answer in (COUNTS.decode(value.encode()), COUNTS.decode_many([good, value.encode(), good])[1]):
            assert isinstance(answer, hw.Unreadable)
            assert answer.kind == "unknown_version"


def test_a_version_inside_a_field_is_not_the_record_s() -> None:
    inner = b'{"eventType":"CountedUp","eventVersion":1,"number":7,"by":1,"more":{"eventVersion":2}}'
    text = OrderCancelled("1", '"eventVersion":1')
    assert COUNTS.decode_many([inner]) == [COUNTS.decode(inner)] == [CountedUp(7, 1)]
    assert EVENTS.decode_many([EVENTS.encode(text)]) == [text]


def test_no_version_is_the_first_in_any_order_of_fields() -> None:
    value = b'{"by":1,"number":7,"eventType":"CountedUp"}'
    assert COUNTS.decode_many([value]) == [COUNTS.decode(value)] == [CountedUp(7, 1)]


def test_a_batch_is_read_as_its_values_are_whatever_they_say() -> None:
    """What decides for a whole batch must come to what decides for one value."""
    seed = random.randrange(10**9)
    print("seed", seed)
    chance = random.Random(seed)
    versions = ['"eventVersion":1', '"eventVersion":1', '"eventVersion":2', '"more":{"eventVersion":1,"eventType":"X"}']
    types = ['"eventType":"CountedUp"', '"eventType":"CountedUp"', '"eventType":"CountedDown"', '"more":"eventVersion"']
    parts = [*versions, *types, '"number":7', '"by":1', '"by":2']
    for _ in range(300):
        values = []
        for _ in range(chance.randint(1, 3)):
            chosen = chance.sample(parts, chance.randint(3, 8))
            values.append(("{" + ",".join(dict.fromkeys(chosen) if chance.random() < 0.5 else chosen) + "}").encode())
        assert COUNTS.decode_many(values) == [COUNTS.decode(value) for value in values]
        assert COUNTS_UP.decode_many(values) == [COUNTS_UP.decode(value) for value in values]
        placed = [value.replace(b"CountedUp", b"OrderCancelled") for value in values]
        assert EVENTS.decode_many(placed) == [EVENTS.decode(value) for value in placed]
