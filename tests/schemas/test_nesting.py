"""Types inside types inside types: every nesting that a class can have gets through Avro, and other readers agree."""

from __future__ import annotations

import enum
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import fastavro
import pytest

import headwater.messages as hw
from headwater.schemas.codec import SchemaCodec
from headwater.schemas.derivation import schema_of
from tests.schemas.shelf import Shelf

NOW = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)


class Colour(enum.Enum):
    RED = "red"
    SKY = "sky blue"


class Rank(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Amount(hw.Value):
    value: Decimal


class Card(hw.Value, tag="card"):
    number: str
    limit: Amount | None = None


class Cash(hw.Value, tag="in cash"):
    number: str
    limit: Amount | None = None


class Leaf(hw.Value):
    pass


class Tree(hw.Value):
    leaf: Amount | None = None
    trees: dict[str, Tree] = {}
    next: Tree | None = None


class NestEvent(hw.Event, entity="nest"):
    nest_id: hw.Key[int]


class Nested(NestEvent):
    paid: list[Card | Cash | None] = []
    amounts: dict[UUID, list[Decimal | None]] = {}
    maybe: Amount | None = None
    when: list[datetime | None] = []
    lasts: timedelta | int | None = None
    price: Decimal | list[int] | None = None
    colours: dict[Colour, Rank] = {}
    rank: Rank | None = None
    pair: tuple[Amount, date | None] | None = None
    many: tuple[Amount, ...] = ()
    sets: list[frozenset[Literal["a", "b"]]] = []
    tree: Tree = Tree()
    leaves: list[Leaf | None] = []
    anything: dict[str, Any] = {}
    plain: list[Any] = []
    number: int | float | str = 0


FULL = Nested(
    7,
    [Card("1"), Cash("2", Amount(Decimal("0.10"))), None, Card("3", Amount(Decimal(1)))],
    {UUID(int=1): [Decimal("1.0"), None]},
    Amount(Decimal("-0.00")),
    [NOW, None],
    timedelta(microseconds=-1),
    [1, 2],
    {Colour.SKY: Rank.HIGH},
    Rank.LOW,
    (Amount(Decimal("1E+2")), None),
    (Amount(Decimal(1)), Amount(Decimal(2))),
    [frozenset({"a"}), frozenset()],
    Tree(Amount(Decimal(1)), {"x": Tree(next=Tree())}, Tree()),
    [None, Leaf()],
    {"a": [1, {"b": None}], "c": 0.5},
    [None, "x", {"y": True}],
    0.5,
)
EVENTS = (
    Nested(1),
    FULL,
    Nested(2, lasts=3, price=Decimal("7"), number="x"),
    Nested(3, lasts=timedelta(days=1), number=2**62, pair=(Amount(Decimal(0)), date(2024, 2, 29))),
)


@pytest.mark.parametrize("event", EVENTS)
def test_every_nesting_is_read_as_it_was_written(event: Nested) -> None:
    codec: SchemaCodec[Any] = SchemaCodec([NestEvent], "nest-events", "avro", Shelf())
    content = codec.encode(event, NOW)
    assert codec.decode(content) == event
    assert codec.decode_many([content] * 2) == [event] * 2
    said = codec.as_json(content)
    assert isinstance(said, bytes)
    assert hw.JsonCodec([NestEvent]).decode(said) == event, "and as JSON it is the same event"
    schema = fastavro.parse_schema(json.loads(schema_of(Nested, "avro")))
    fields: Any = fastavro.schemaless_reader(io.BytesIO(content[5:]), schema, None)
    assert fields["nestId"] == event.nest_id


def test_a_reader_of_others_fills_in_our_defaults() -> None:
    """By Avro's own resolution: what a writer did not have yet is the default of the schema."""
    short = {"type": "record", "name": "Nested", "fields": [{"name": "nestId", "type": "long"}]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(short), {"nestId": 7})
    schema = fastavro.parse_schema(json.loads(schema_of(Nested, "avro")))
    found: Any = fastavro.schemaless_reader(io.BytesIO(out.getvalue()), short, schema)
    assert found["tree"] == {"leaf": None, "trees": {}, "next": None}
    assert (found["eventType"], found["eventVersion"], found["maybe"], found["many"]) == ("Nested", 1, None, [])
