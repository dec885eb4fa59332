"""Messages are checked when they are made: what could not be read back is never written."""

from __future__ import annotations

import enum
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import pytest

import headwater.messages as hw
from headwater.errors import Misuse

from .contract import Item, OrderDelivered, OrderPlaced

NOON = datetime(2024, 4, 10, 12, tzinfo=UTC)


class Colour(enum.Enum):
    RED = "red"


class Size(enum.StrEnum):
    L = "l"


class Extended(Item):
    colour: str = ""


class Everything(hw.Value):
    text: str = ""
    whole: int = 0
    real: float = 0.0
    flag: bool = False
    money: Decimal = Decimal(0)
    time: datetime = NOON
    day: date = date(2024, 4, 10)
    colour: Colour = Colour.RED
    size: Literal["s", "m", 3] = "s"
    items: list[Item] = []
    by_sku: dict[str, Item] = {}
    days: dict[date, list[int]] = {}
    pair: tuple[str, int] = ("", 0)
    many: tuple[Decimal, ...] = ()
    labels: set[str] = set()
    maybe: Item | None = None
    either: int | str | None = None
    small: Annotated[int, msgspec.Meta(ge=0, lt=10)] = 0
    times: list[datetime] = []
    anything: Any = None


ITEM = Item("CD-1", Decimal("11.77"))


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("text", 1, "text is 1 (int), not str"),
        ("text", b"x", "text is b'x' (bytes), not str"),
        ("whole", 1.0, "whole is 1.0 (float), not int"),
        ("whole", True, "whole is True (bool), not int"),
        ("whole", "1", "whole is '1' (str), not int"),
        ("real", float("nan"), "real is nan (float), not a finite float"),
        ("real", float("inf"), "real is inf (float), not a finite float"),
        ("real", 2**53 + 1, "real is 9007199254740993 (int), not a finite float"),
        ("flag", 1, "flag is 1 (int), not bool"),
        ("money", 1, "money is 1 (int), not a finite Decimal"),
        ("money", 1.5, "money is 1.5 (float), not a finite Decimal"),
        ("money", Decimal("NaN"), "money is Decimal('NaN') (Decimal), not a finite Decimal"),
        ("money", Decimal("-Infinity"), "money is Decimal('-Infinity') (Decimal), not a finite Decimal"),
        ("time", datetime(2024, 4, 10), "time has no time zone"),
        ("time", "2024-04-10T10:30:00Z", "time is '2024-04-10T10:30:00Z' (str), not datetime"),
        ("time", date(2024, 4, 10), "(date), not datetime"),
        ("day", NOON, "(datetime), not date"),
        ("colour", "red", "colour is 'red' (str), not Colour"),
        ("size", "xl", "size is 'xl' (str), not Literal"),
        ("size", True, "size is True (bool), not Literal"),
        ("items", (ITEM,), "(tuple), not list[Item]"),
        ("items", [ITEM, "CD-2"], "items[1] is 'CD-2' (str), not Item"),
        ("items", [{"sku": "CD-2"}], "items[0] is {'sku': 'CD-2'} (dict), not Item"),
        ("items", [Extended("a", Decimal(1))], "(Extended), not Item"),
        ("by_sku", {1: ITEM}, "by_sku is {1: "),
        ("by_sku", {"a": None}, "by_sku['a'] is None (NoneType), not Item"),
        ("days", {date(2024, 4, 10): [1, "2"]}, "days[datetime.date(2024, 4, 10)][1] is '2' (str), not int"),
        ("pair", ("a",), "pair is ('a',) (tuple), not tuple[str, int]"),
        ("pair", ("a", "b"), "pair[1] is 'b' (str), not int"),
        ("many", (Decimal(1), Decimal("sNaN")), "many[1] is Decimal('sNaN')"),
        ("labels", {"a", 1}, " is 1 (int), not str"),
        ("maybe", 1, "maybe is 1 (int), not "),
        ("either", 1.5, "either is 1.5 (float), not "),
        ("small", 10, "small is 10 (int), not "),
        ("times", [NOON, datetime(2024, 4, 10)], "times[1] has no time zone"),
        ("anything", object(), "anything is <object"),
        ("anything", {"a": [Decimal(1)]}, "anything is {'a': [Decimal('1')]} (dict)"),
        ("anything", [float("nan")], "anything is [nan] (list)"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_place(field: str, value: Any, complaint: str) -> None:
    with pytest.raises(Misuse, match=re.escape(complaint)) as refusal:
        Everything(**{field: value})
    assert str(refusal.value).startswith(f"Everything.{field}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("real", 3),
        ("text", Size.L),
        ("size", 3),
        ("either", "x"),
        ("either", None),
        ("maybe", ITEM),
        ("by_sku", {"a": ITEM}),
        ("days", {date(2024, 4, 10): [1]}),
        ("many", (Decimal(1), Decimal("-0.00"))),
        ("labels", {"a", "b"}),
        ("small", 9),
        ("whole", 2**80),
        ("money", Decimal("12345678901234567890.123456789")),
        ("anything", {"a": [1, 2.5, None, True, "é"]}),
        ("times", [NOON]),
    ],
)
def test_what_fits_is_taken_and_comes_back_equal(field: str, value: Any) -> None:
    made = Everything(**{field: value})
    assert getattr(made, field) is value or made == Everything(**{field: value})
    assert msgspec.json.decode(msgspec.json.encode(made), type=Everything) == made


def test_messages_are_frozen() -> None:
    with pytest.raises(AttributeError):
        ITEM.sku = "other"  # type: ignore[misc] # on purpose


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=2)), ZoneInfo("Europe/Berlin")])
def test_times_are_held_in_utc_so_that_a_message_equals_itself_after_its_journey(zone: Any) -> None:
    local = datetime(2024, 4, 10, 0, 30, tzinfo=zone)
    event = OrderDelivered("1", local, [local])
    assert event.at == local
    assert event.at.date() == date(2024, 4, 9)
    assert event.stops[0].tzinfo is UTC
    assert b'"at":"2024-04-09T22:30:00Z"' in hw.JsonCodec([OrderDelivered]).encode(event, None)


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(Misuse, match=re.escape("OrderPlaced.order_id is empty: the key names the entity")):
        OrderPlaced("", "456", [], Decimal(0))


def test_a_key_that_has_no_bytes_is_refused() -> None:
    with pytest.raises(Misuse, match="no Unicode text"):
        OrderPlaced("\ud800", "456", [], Decimal(0))
    assert hw.key_of(OrderPlaced("é", "456", [], Decimal(0))) == "é"


def test_text_that_is_not_unicode_is_refused_at_the_latest_when_it_is_written() -> None:
    event = OrderPlaced("1", "\ud800", [], Decimal(0))
    with pytest.raises(Misuse, match="OrderPlaced cannot be written as JSON"):
        hw.JsonCodec([OrderPlaced]).encode(event, None)
