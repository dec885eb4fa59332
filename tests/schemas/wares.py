"""Events with a field of every kind that a schema can say. Run as a program, it prints their schemas."""

from __future__ import annotations

import enum
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Union
from uuid import UUID

import msgspec

import headwater.messages as hw
from headwater.schemas.derivation import schema_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Amount(hw.Value):
    value: Decimal
    currency: str = "EUR"


class Card(hw.Value, tag="card"):
    number: str


class Cash(hw.Value, tag="cash"):
    given: Amount


class Part(hw.Value):
    sku: str
    parts: list[Part] = []


class WareEvent(hw.Event, entity="ware"):
    ware_id: hw.Key[str]


class WareListed(WareEvent, version=2):
    name: str
    price: Decimal
    parts: list[list[Part]]
    paid: Card | Cash
    listed: datetime
    day: date
    at: time
    lasts: timedelta
    batch: UUID
    picture: bytes
    weight: float
    colour: Colour = Colour.BLUE
    size: Size = Size.SMALL
    state: Literal["used", "new"] = "new"
    count: Annotated[int, msgspec.Meta(ge=0)] = 1
    sold: bool = False
    by_day: dict[date, Amount] = {}
    place: tuple[int, str] = (1, "a")
    tags: frozenset[str] = frozenset({"b", "a"})
    until: datetime | None = None
    limit: Union[str, int, None] = 7  # noqa: UP007 -- its order is the point
    least: Amount = Amount(Decimal("0.50"))
    made: date = date(2024, 4, 10)
    extra: Any = None
    note: str = msgspec.field(name="remark", default="")


class WareGone(WareEvent, name="ware.gone"):
    pass


def listed() -> WareListed:
    """One with something in every field."""
    return WareListed(
        "w1",
        "Wagon",
        Decimal("11.770"),
        [[Part("a", [Part("b")])], []],
        Cash(Amount(Decimal("-1E+3"), "DKK")),
        datetime(2024, 4, 10, 10, 30, 0, 123456, UTC),
        date(1969, 2, 28),
        time(23, 59, 59, 999999),
        timedelta(days=3, microseconds=1),
        UUID("0190a5b0-7f0e-7c3a-8a51-d3b7f1c5a001"),
        b"\x00\xff{",
        0.1,
        by_day={date(2024, 4, 10): Amount(Decimal(1))},
        until=datetime(1, 1, 1, tzinfo=UTC),
        limit="none",
        extra={"a": [1, None]},
        note="späť",
    )


if __name__ == "__main__":
    first = {"str": str | int, "int": int | str}[sys.argv[1]]  # what `typing` remembers of equal unions
    # Made now, of a variable, and written as the field writes it.
    assert list[Union[first, None]]  # type: ignore[truthy-function,valid-type] # noqa: UP007 -- see above
    for cls in (WareListed, WareGone, hw.Reverted):
        print(schema_of(cls, "avro"))
        print(schema_of(cls, "json"))
