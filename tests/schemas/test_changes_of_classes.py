"""What docs/registries.md says about changes of a class, looked at with classes."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any, Literal

import pytest

import headwater.messages as hw
from headwater.schemas.compatibility import unreadable
from headwater.schemas.derivation import SchemaKind, schema_of
from headwater.schemas.port import Schema
from tests.cli.test_run import ROOT

PAGE = (ROOT / "docs" / "registries.md").read_text()


class Colour(enum.Enum):
    RED = "red"


class MoreColours(enum.Enum):
    RED = "red"
    BLUE = "blue"


MoreColours.__name__ = "Colour"


class Card(hw.Value, tag="card"):
    number: str


class Cash(hw.Value, tag="cash"):
    given: Decimal


class PlainFamily(hw.Event, entity="plain"):
    plain_id: hw.Key[str]


class Plain(PlainFamily):
    size: int
    colour: Colour = Colour.RED
    paid: Card | None = None


def changed(annotations: dict[str, object], **defaults: object) -> type[hw.Event]:
    """Another version of `Plain`, of another program: with these fields beside its key."""

    class OtherFamily(hw.Event, entity="plain"):
        plain_id: hw.Key[str]

    body = {"__annotations__": annotations, "__module__": __name__, **defaults}
    metaclass: Any = type(hw.Event)
    made: type[hw.Event] = metaclass("Plain", (OtherFamily,), body)
    return made


class RenamedFamily(hw.Event, entity="plain"):
    plain_id: hw.Key[str]


class Renamed(RenamedFamily, name="Plain"):
    size: int
    colour: Colour = Colour.RED
    paid: Card | None = None


SAME: dict[str, object] = {"size": int, "colour": Colour, "paid": Card | None}
KEPT: dict[str, object] = {"colour": Colour.RED, "paid": None}
CHANGES: dict[str, type[hw.Event]] = {
    "a field with a default": changed(SAME | {"note": str}, note="", **KEPT),
    "a field without one": changed({"note": str} | SAME, **KEPT),
    "a field with a default goes": changed({"size": int, "paid": Card | None}, paid=None),
    "a field without one goes": changed({"colour": Colour, "paid": Card | None}, **KEPT),
    "`int` becomes `float`": changed(SAME | {"size": float}, **KEPT),
    "another type": changed(SAME | {"size": str}, **KEPT),
    "a new value of an enumeration": changed(SAME | {"colour": MoreColours}, colour=MoreColours.RED, paid=None),
    "a new alternative in a union": changed(SAME | {"paid": Card | Cash | None}, **KEPT),
    "the event's class gets another name (`name=` keeps the one on the wire)": Renamed,
}


@pytest.mark.parametrize("kind", ["avro", "json"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_page_is_right_about_a_change(change: str, kind: Literal["avro", "json"]) -> None:
    [row] = [line.split(" | ") for line in PAGE.splitlines() if line.startswith(f"| {change} |")]
    earlier, later = schema(Plain, kind), schema(CHANGES[change], kind)
    assert answer(row[1], kind) is not bool(unreadable(later, earlier))
    assert answer(row[2].rstrip(" |"), kind) is not bool(unreadable(earlier, later))


def schema(cls: type[hw.Event], kind: SchemaKind) -> Schema:
    return Schema(kind, schema_of(cls, kind))


def answer(cell: str, kind: str) -> bool:
    """Whether a cell says yes, of this format: `yes`, or `Avro: yes. JSON: no`."""
    for part in cell.split(". "):
        name, _, said = part.rpartition(": ")
        if name.lower() in ("", kind):
            return said.startswith("yes")
    raise AssertionError(f"{cell!r} says nothing of {kind}")
