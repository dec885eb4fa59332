"""The version is looked at before a typed value is believed."""

from __future__ import annotations

import pytest

import headwater.messages as hw

from .contract import CancelOrder, OrderCancelled, OrderCommand, OrderEvent, PlaceOrder

EVENTS: hw.JsonCodec[OrderEvent] = hw.JsonCodec([OrderEvent])
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
