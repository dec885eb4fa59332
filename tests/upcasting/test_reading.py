"""From an old record's bytes to events of today's classes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater as hw
from headwater.messages import JsonCodec, Unreadable
from headwater.messages.builtin import Dropped, Parts
from headwater.messages.upcasting import parts_of
from tests.upcasting import before, today
from tests.upcasting.today import InvoiceCancelled, InvoiceEvent, InvoiceFiled, InvoicePaid, InvoiceSent

TODAY: JsonCodec[hw.Event] = JsonCodec([InvoiceEvent])  # also reads Parts and Dropped, which are of no family
BEFORE: JsonCodec[before.InvoiceEvent] = JsonCodec([before.InvoiceEvent])

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
old_events = st.one_of(
    st.builds(before.InvoiceSent, keys, texts, st.integers(-(10**12), 10**12)),
    st.builds(before.InvoiceTouched, keys, texts),
    st.builds(before.InvoiceVoided, keys, st.none() | texts),
    st.builds(before.InvoiceSettled, keys, st.integers(-(10**12), 10**12), texts),
)


def expected(old: before.InvoiceEvent) -> list[InvoiceEvent]:
    key = old.invoice_id
    match old:
        case before.InvoiceSent(customer=customer, amount=cents):
            return [InvoiceSent(key, customer, Decimal(cents) / 100, "EUR")]
        case before.InvoiceVoided(why=why):
            return [InvoiceCancelled(key, why or "not said")]
        case before.InvoiceSettled(amount=cents, shelf=shelf):
            return [InvoicePaid(key, Decimal(cents) / 100), InvoiceFiled(key, shelf)]
        case _:
            return []


@given(st.lists(old_events, max_size=5))
def test_what_older_code_wrote_is_read_by_todays(events: list[before.InvoiceEvent]) -> None:
    values = [BEFORE.encode(event) for event in events]
    found = TODAY.decode_many(values)
    assert found == [TODAY.decode(value) for value in values]
    for event, answer in zip(events, found, strict=True):
        assert not isinstance(answer, Unreadable)
        assert [one for _, one in parts_of(answer)] == expected(event)


def test_cents_that_fit_the_class_of_euros_go_through_the_function() -> None:
    old = b'{"eventType":"InvoiceSent","eventVersion":2,"invoiceId":"a","customer":"ann","amount":1250,"currency":"x"}'
    for value in (old.replace(b":2,", b":1,"), old.replace(b'"eventVersion":2,', b""), old):
        cents = value != old
        for answer in (TODAY.decode(value), *TODAY.decode_many([value])):
            assert answer == InvoiceSent("a", "ann", Decimal("12.5") if cents else Decimal(1250), "EUR")


def test_numbers_do_not_pass_through_floats() -> None:
    value = (
        b'{"eventType":"InvoiceSent","eventVersion":2,"invoiceId":"a","customer":"c","amount":0.10000000000000000001}'
    )
    event = TODAY.decode(value)
    assert isinstance(event, InvoiceSent)
    assert event.amount == Decimal("0.10000000000000000001")


def test_what_comes_of_a_record() -> None:
    settled = TODAY.decode(b'{"eventType":"InvoiceSettled","invoiceId":"a","amount":100,"shelf":"s"}')
    assert type(settled) is Parts
    assert settled.events == ((0, InvoicePaid("a", Decimal(1))), (1, InvoiceFiled("a", "s")))
    assert TODAY.decode(b'{"eventType":"InvoiceTouched","invoiceId":"a"}') == Dropped("InvoiceTouched", 1)


def test_a_reader_of_one_type_gets_its_part_with_its_number() -> None:
    codec: JsonCodec[hw.Event] = JsonCodec([InvoiceFiled])
    settled = codec.decode(b'{"eventType":"InvoiceSettled","invoiceId":"a","amount":100,"shelf":"s"}')
    assert type(settled) is Parts
    assert settled.events == ((1, InvoiceFiled("a", "s")),)


class Odd(hw.Event, entity="odd"):
    odd_id: hw.Key[str]


class Thing(Odd, version=2):
    numbers: list[int]


ANSWERS: dict[str, Any] = {}


@hw.upcasts(Thing, from_version=1)
def to_thing(fields: dict[str, Any]) -> Any:
    answer = ANSWERS["now"]
    return answer(fields) if callable(answer) else answer


@hw.upcasts(Odd, "Gone", from_version=1)
def gone(fields: dict[str, Any]) -> list[hw.Upcast]:
    return [hw.Upcast(Thing, 1, fields), hw.Upcast(Thing, 1, fields)]


ODD: JsonCodec[hw.Event] = JsonCodec([Odd])
OLD = b'{"eventType":"Thing","oddId":"o","numbers":[1]}'


def fails(fields: dict[str, Any]) -> Any:
    raise LookupError("no such thing")


@pytest.mark.parametrize(
    ("answer", "error", "saying"),
    [
        (fails, "LookupError", "LookupError: no such thing"),
        (None, "Misuse", "it returned NoneType: return the fields"),
        ([{}], "Misuse", "it returned list"),
        ({"oddId": "o", "numbers": "x"}, "BadData", "it gave no Thing: Expected `array`, got `str`"),
        ({"oddId": "", "numbers": []}, "BadData", "it gave no Thing: Expected `str` of length >= 1"),
        ({"oddId": "o", "numbers": [object()]}, "BadData", "the fields cannot be JSON"),
        (hw.Upcast("Nothing", 1, {}), "Misuse", "it led to version 1 of Nothing, which nothing reads"),
        (hw.Upcast(Thing, 7, {}), "Misuse", "it led to version 7 of Thing, which nothing reads"),
        (hw.Upcast("Gone", 1, {}), "Misuse", "it led back to version 1 of Thing: a circle"),
    ],
)
def test_a_function_that_fails_is_named(answer: Any, error: str, saying: str) -> None:
    ANSWERS["now"] = answer
    found = ODD.decode(OLD)
    assert isinstance(found, Unreadable)
    assert (found.kind, found.wire_name, found.version) == ("upcast", "Thing", 1)
    assert found.error == error
    assert found.handler in ("to_thing", "gone")
    assert saying in found.reason


def test_parts_share_nothing() -> None:
    def longer(fields: dict[str, Any]) -> dict[str, Any]:
        fields["numbers"].append(2)
        return fields

    ANSWERS["now"] = longer
    found = ODD.decode(b'{"eventType":"Gone","oddId":"o","numbers":[1]}')
    assert type(found) is Parts
    assert [one for _, one in found.events] == [Thing("o", [1, 2]), Thing("o", [1, 2])]


def test_a_newer_version_than_all_stays_unknown() -> None:
    value = TODAY.encode(InvoiceSent("a", "ann", Decimal(1), "EUR")).replace(b'"eventVersion":3', b'"eventVersion":4')
    found = TODAY.decode(value)
    assert isinstance(found, Unreadable)
    assert found.kind == "unknown_version"


def test_todays_events_are_read_as_ever() -> None:
    event = InvoiceSent("a", "ann", Decimal("1.5"), "EUR")
    assert TODAY.decode_many([TODAY.encode(event)] * 3) == [event] * 3
    assert today.app.behaviours[today.Invoice].events.decode(TODAY.encode(event)) == event
