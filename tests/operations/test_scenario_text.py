"""Histories as tests: whatever a value is, what is written is that value, and the whole runs."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given as given_values
from hypothesis import strategies as st

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse
from headwater.messages.builtin import Reverted
from headwater.messages.envelope import Meta, Recorded
from headwater.operations.scenario_text import Call, Writer, scenario_text
from tests.bank import Account, Deposited, Opened


class Colour(enum.Enum):
    RED = "red"


class Item(hw.Value):
    sku: str
    price: Decimal


zones = st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30)), timezone(timedelta(seconds=1))])
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.uuids()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.datetimes()
    | st.datetimes(timezones=zones)
    | st.sampled_from(Colour)
    | st.builds(Item, st.text(min_size=1), st.decimals(allow_nan=False, allow_infinity=False))
)
hashable = st.integers() | st.text() | st.dates()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(hashable, max_size=3)
        | st.frozensets(hashable, max_size=3)
    ),
    max_leaves=5,
)


def run(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(text, names)
    return names


def same(one: object, other: object) -> bool:
    """Also of numbers that are not equal to themselves, and of times whose zones differ."""
    return shown(one) == shown(other)


def shown(value: object) -> object:
    """A value, with what it is made of, in words; sets have no order."""
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, value))
    if isinstance(value, list | tuple):
        return type(value), [shown(one) for one in value]
    if isinstance(value, dict):
        return type(value), [(repr(key), shown(one)) for key, one in value.items()]
    return type(value), repr(value)


@given_values(values)
def test_what_is_written_is_the_value(value: object) -> None:
    writer = Writer()
    written = writer.value(value)
    text = written if isinstance(written, str) else written.text(0, 40)
    found = run(f"{writer.imports()}\nvalue = {text}")["value"]
    if isinstance(value, set | frozenset):
        assert found == value
    else:
        assert same(found, value), text


def test_two_classes_of_one_name_are_told_apart() -> None:
    writer = Writer()
    assert writer.wants("a.b", "Item") == "Item"
    assert writer.wants("c.d", "Item") == "Item2"
    assert writer.wants("a.b", "Item") == "Item"
    assert writer.imports() == "from a.b import Item\nfrom c.d import Item as Item2\n"


def test_what_cannot_be_imported_or_written_is_refused() -> None:
    class Inside(hw.Value):
        x: int

    with pytest.raises(Misuse, match="cannot be imported into a test"):
        Writer().value(Inside(1))
    with pytest.raises(Misuse, match="cannot be written into a test"):
        Writer().value(object())


def history(*events: Any) -> list[Recorded[Any]]:
    start = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
    return [
        Recorded(event, Meta(f"id-{n}", type(event).__name__, start + timedelta(hours=n), version=n + 1))
        for n, event in enumerate(events)
    ]


def test_a_history_becomes_a_test_that_runs() -> None:
    text = scenario_text(
        Behaviour(Account), 'a"1', history(Opened('a"1', "Ann \\ Bob"), *[Deposited('a"1', Decimal("0.1"))] * 3)
    )
    names = run(text)
    names["test_account_a_1"]()
    assert 'owner="Ann' not in text, "as repr writes it"
    with pytest.raises(AssertionError, match="balance"):
        run(text.replace('balance=Decimal("0.3")', 'balance=Decimal("0.4")'))["test_account_a_1"]()


def test_a_history_with_a_revert_is_refused_with_a_way_out() -> None:
    events = history(Opened("1", "ann"), Reverted(msgspec.Raw(b"{}"), 1))
    with pytest.raises(Misuse, match=r"version 2 of account .1. is a revert.*--at-version"):
        scenario_text(Behaviour(Account), "1", events)
    assert "Opened(" in (before := scenario_text(Behaviour(Account), "1", events[:1]))
    assert "as it was after 1 event." in before


def test_long_values_are_broken_into_lines() -> None:
    call = Call("f(", [("", "x" * 60), ("name=", Call("[", [("", "1"), ("", "2")], "]"))], ")")
    assert call.text(0, 100) == f"f({'x' * 60}, name=[1, 2])"
    assert call.text(4, 20) == f"f(\n        {'x' * 60},\n        name=[1, 2],\n    )"
