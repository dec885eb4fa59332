"""A view reads of each record the fields that it uses, as the class declares them, and nothing else of it."""

from __future__ import annotations

import enum
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest

import headwater as hw
from headwater.log.port import StoredRecord
from headwater.messages.json_codec import JsonCodec
from headwater.messages.unreadable import Unreadable
from headwater.views.narrowing import undeclared
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.feeding import Fed

TOPIC = "trip-events"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Grade(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Guest(hw.Value):
    name: str
    age: int = 0


class Stop(hw.Value):
    place: str
    kind: Literal["bus", "train"] = "bus"
    moment: datetime | None = None


class TripEvent(hw.Event, entity="trip"):
    trip_id: hw.Key[str]


class TripPlanned(TripEvent):
    colour: Colour
    day: date
    begins: time
    since: datetime
    ticket: UUID
    status: Literal["open", "done"]
    seats: Annotated[int, msgspec.Meta(ge=1, le=9)]
    content: bytes
    lasts: timedelta
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]
    price: Decimal
    stops: list[Stop]
    days: list[date]
    places: set[str]
    notes: dict[str, int]
    extra: str | None = None
    level: Literal[1, 2] = 1
    size: float = 0.5
    rounded: Annotated[Decimal, msgspec.Meta(extra={"scale": 2})] = Decimal(0)
    either: int | float = 0
    grade: Grade | str = Grade.LOW
    pair: tuple[int, str] = (0, "")
    guests: set[Guest] = set()
    anything: Any = None


GOOD = {
    "tripId": '"t"',
    "colour": '"red"',
    "day": '"2026-04-12"',
    "begins": '"09:30:00"',
    "since": '"2026-04-12T09:30:00.5Z"',
    "ticket": '"12345678-1234-1234-1234-123456789abc"',
    "status": '"open"',
    "seats": "3",
    "content": '"aGk="',
    "lasts": '"PT5S"',
    "code": '"abc"',
    "price": '"1.5"',
    "stops": '[{"place":"x","kind":"train","moment":"2026-04-12T09:30:00Z"},{"place":"y"}]',
    "days": '["2026-04-12","2026-04-13"]',
    "places": '["a","b"]',
    "notes": '{"a":1}',
    "extra": '"e"',
    "level": "2",
    "size": "1.5",
    "rounded": '"1.25"',
    "either": "1.5",
    "grade": "2",
    "pair": '[1,"a"]',
    "guests": '[{"name":"b","age":1},{"name":"a","age":2}]',
    "anything": '{"b":1,"a":[null]}',
}
VALUES = {
    "tripId": ['""', "5", "null", '"ü"'],
    "colour": ['"green"', '""', "1", "null", '"blue"', '"RED"'],
    "day": ['"2026-4-12"', '"2026-02-30"', '"0000-01-01"', '"2026-04-12 10:00"', '"12.04.2026"', "20260412", "null"],
    "begins": ['"24:00:00"', '"9:30:00"', '"09:30"', '"09:30:00.123456"', '"25:00:00"', '"09:60:00"', '"09:30:00."'],
    "since": [
        '"2026-04-12"',
        '"2026-04-12T09:30:00"',
        '"2026-04-12T24:00:00Z"',
        '"2026-04-12T09:30:00+02:00"',
        '"2026-04-12T09:30:00+02:60"',
        '"2026-04-12T09:30:00.123456Z"',
        '"2026-04-12T09:30:00.123456-11:30"',
        '"2026-04-12T09:30:00.Z"',
        '"2026-04-12T09:30:00Zz"',
        '"2026-13-12T09:30:00Z"',
        '"0000-04-12T09:30:00Z"',
        '"soon"',
        "1775986200",
        "null",
    ],
    "ticket": [
        '"{12345678-1234-1234-1234-123456789abc}"',
        '"12345678123412341234123456789abc"',
        '"12345678-1234-1234-1234-123456789ABC"',
        '"12345678-1234-1234-1234-123456789abcd"',
        '"x"',
    ],
    "status": ['"closed"', '"done"', "null", '"Open"'],
    "seats": ["0", "10", "1", "9", "2.5", '"3"', "null"],
    "content": ['"!"', '""', "7"],
    "lasts": ['"5 seconds"', '"P1DT2H"', "5"],
    "code": ['"ABC"', '""', "1"],
    "price": ['"1.0000000005"', "0.1", '"nan"', '"Infinity"', "1e3", "null"],
    "stops": [
        '[{"kind":"bus"}]',
        '[{"place":"x","kind":"ship"}]',
        '[{"place":"x","moment":"2026-04-12"}]',
        '[{"place":5}]',
        "[null]",
        "[]",
        "null",
        '[{"place":"x","kind":null}]',
    ],
    "days": ['["2026-4-12"]', "[null]", "[]", "5"],
    "places": ["[5]", "[]"],
    "notes": ['{"a":"x"}', "{}", "[]", '{"a":1,"b":2}'],
    "extra": ["null", "5", '""'],
    "level": ["3", "1", '"1"', "1.0"],
    "size": ["1", "1e400", '"1"', "null"],
    "rounded": ["0.004", '"12.345"', "12.340", "1e-2", "1e-3", "null", "7"],
    "either": ["1", '"1"', "null", "1e400"],
    "grade": ['"unknown"', "1", "3", "1.5", "null"],
    "pair": ['"text"', "7", "[1]", '["a",1]', "[]", "null"],
    "guests": ['[{"name":"a"},{"name":"a"}]', '[{"age":1}]', "[]", "null", '"x"'],
    "anything": ["null", "5", '"text"', "[]", "true"],
}
CODEC: JsonCodec[TripEvent] = JsonCodec([TripPlanned])

COLUMNS = {
    **{name: name for name in GOOD},
    "stops": "list_transform(stops, lambda s: s.place || s.kind)",
    "moment": "MAX(moment)",
}


TOO_FINE = (b":0.004", b"12.345", b":1e-3")  # for two digits after the point
FAULTS_BESIDE = (b'[{"kind":"bus"}]', b'"kind":"ship"', b'"place":5', b'"kind":null')


def text(**fields: str) -> bytes:
    listed = ",".join(f'"{name}":{value}' for name, value in {**GOOD, **fields}.items())
    return f'{{"eventType":"TripPlanned","eventVersion":1,{listed}}}'.encode()


def fed(select: str, *values: bytes) -> dict[int, tuple[object, ...]]:
    """The rows of a view, by the place of their record; the others are dead letters."""
    statement = f"CREATE TABLE v AS SELECT _offset AS o, {select} FROM trip-events"
    if select.startswith(("MAX", "SUM")):
        statement += " GROUP BY _offset"
    (view,) = plan_views([Text(statement)], catalogue_of([TripEvent], []))
    records = [StoredRecord(TOPIC, 0, i, b"k%d" % i, value, (), 0) for i, value in enumerate(values)]
    with closing(Fed(view)) as fed:
        fed.feed(records)
        rows = {int(str(row[0])): tuple(row[1:]) for row in fed.rows()}
        assert rows.keys() | {int(key[1:]) for key in fed.dead()} == set(range(len(values)))
        return rows


@pytest.mark.parametrize("column", COLUMNS)
def test_a_used_field_is_read_as_its_class_declares_it(column: str) -> None:
    field = "stops" if column == "moment" else column
    values = [text(), *(text(**{field: value}) for value in VALUES[field]), text()]
    wanted = {i for i, value in enumerate(values) if not isinstance(CODEC.decode(value), Unreadable)}
    if field == "price":
        wanted -= {i for i, value in enumerate(values) if b"1.0000000005" in value}  # more digits than a view reads
    if field == "rounded":
        wanted -= {i for i, value in enumerate(values) if any(one in value for one in TOO_FINE)}
    if column == "moment":  # neither place nor kind is used
        wanted |= {i for i, value in enumerate(values) if any(one in value for one in FAULTS_BESIDE)}
    found = fed(f"{COLUMNS[column]} AS x", *values)
    assert found.keys() == wanted
    alone = {i: fed(f"{COLUMNS[column]} AS x", values[i]) for i in sorted(wanted)}
    assert found == {i: rows[0] for i, rows in alone.items()}


def test_what_is_usual_is_left_to_duckdb() -> None:
    """What is `true` here is read one by one, in ten times the time."""
    wanted = ["tripId", "colour", "day", "begins", "since", "ticket", "status", "price", "level", "size", "extra"]
    statement = f"CREATE TABLE v AS SELECT {', '.join(wanted)}, i.kind FROM trip-events, UNNEST(stops) AS i"
    (view,) = plan_views([Text(statement)], catalogue_of([TripEvent], []))
    [kind] = view.relation.types
    assert "true" not in undeclared(kind)
    assert set(undeclared(kind)) == {
        "x.\"tripId\" = ''",
        "x.\"colour\" NOT IN ('red', 'blue')",
        "x.\"status\" NOT IN ('open', 'done')",
        'x."level" NOT IN (1, 2)',
        'isinf(x."size")',
        "len(list_filter(x.\"stops\", lambda e0: e0.\"kind\" NOT IN ('bus', 'train'))) > 0",
    }


def test_a_sum_of_what_is_too_fine_is_not_rounded() -> None:
    found = fed("SUM(rounded) AS x", *[text(rounded="0.004")] * 10)
    assert found == {}


def test_equal_sets_and_maps_are_one_value_in_whatever_order_they_were_written() -> None:
    values = [
        text(places='["b","a"]', notes='{"b":1,"a":2}', guests='[{"name":"b"},{"name":"a"}]'),
        text(places='["a","b"]', notes='{"a":2,"b":1}', guests='[{"name":"a"},{"name":"b"}]'),
        text(places='["a","b","a"]', notes='{"a":2,"b":1}', guests='[{"name":"a"},{"name":"b"},{"name":"a","age":0}]'),
    ]
    found = fed("places, notes, guests", *values)
    guests = [{"name": "a", "age": 0}, {"name": "b", "age": 0}]
    assert list(found.values()) == [(["a", "b"], {"a": 2, "b": 1}, guests)] * 3
    assert [list(row[1]) for row in found.values()] == [["a", "b"]] * 3  # type: ignore[call-overload] # a dict


@pytest.mark.parametrize("column", COLUMNS)
def test_a_fault_in_a_field_that_is_not_used_is_none_of_the_view(column: str) -> None:
    """However the record is written: in the usual form, or so that its class has to read it."""
    field = "stops" if column == "moment" else column
    usual = [text(**{name: value}) for name, some in VALUES.items() if name != field for value in some]
    spaced = [value.replace(b'":', b'" : ').replace(b'{"eventType"', b'{ "eventType"') for value in usual]
    assert len(fed(f"{COLUMNS[column]} AS x", *usual, *spaced)) == 2 * len(usual)
