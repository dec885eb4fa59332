"""What a change of a JSON Schema means for who reads, with the path of the field."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from jsonschema import Draft7Validator, FormatChecker

from headwater.errors import Misuse
from headwater.schemas.compatibility import unreadable
from headwater.schemas.port import Schema
from tests.schemas.pairs import documents, pairs

SEED = 20261
TRIES = 150


def of(**node: Any) -> Schema:
    return Schema("json", json.dumps(node))


def closed(*required: str, **properties: Any) -> dict[str, Any]:
    made = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return made if required else {key: value for key, value in made.items() if key != "required"}


def opened(*required: str, **properties: Any) -> dict[str, Any]:
    return {key: value for key, value in closed(*required, **properties).items() if key != "additionalProperties"}


TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
LIST = {"type": "array", "items": closed("price", price=TEXT)}
NUMBERS = {"type": "array", "items": closed("price", price=NUMBER)}
INSIDE = {"$ref": "#/definitions/Node"}
NODE = {"definitions": {"Node": closed(next=INSIDE, size=TEXT)}, **INSIDE}
BIGGER = {"definitions": {"Node": closed(next=INSIDE, size=WHOLE)}, **INSIDE}
DEFAULTED = {"allOf": [{"$ref": "#/definitions/T"}], "default": ""}
ABOVE_0, FROM_1 = {"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}
CARD = closed("kind", "number", kind={"const": "card"}, number=TEXT)
CASH = closed("kind", kind={"const": "cash"})
OLD_CARD = closed("kind", kind={"const": "card"})


@pytest.mark.parametrize(
    ("reader", "writer", "expected"),
    [
        (closed("a", a=TEXT, b=TEXT), closed("a", a=TEXT), []),
        (closed("a", "b", a=TEXT, b=TEXT), closed("a", a=TEXT), [("b", "missing")]),
        (closed("a", a=TEXT), closed("a", a=TEXT, b=TEXT), [("b", "closed")]),
        (opened("a", a=TEXT, b=TEXT), opened("a", a=TEXT), [("b", "open")]),
        (opened("a", a=TEXT), opened("a", a=TEXT, b=TEXT), []),
        (closed(a=TEXT), opened(a=TEXT), [("{}", "closed")]),
        (closed(a=NUMBER), closed(a=WHOLE), []),
        (closed(a=WHOLE), closed(a=NUMBER), [("a", "type")]),
        (closed(items=NUMBERS), closed(items=LIST), [("items[].price", "type")]),
        (closed(a={"enum": ["x", "y"]}), closed(a={"enum": ["x", "z"]}), [("a", "symbols")]),
        (closed(a=TEXT), closed(a={"enum": ["x", "z"]}), []),
        (closed(a={"enum": ["x"]}), closed(a=TEXT), [("a", "type")]),
        (closed(a={"type": ["string", "null"]}), closed(a=TEXT), []),
        (closed(a=TEXT), closed(a={"type": ["string", "null"]}), [("a", "type")]),
        (closed(a={"anyOf": [{"type": "null"}, TEXT]}), closed(a=TEXT), []),
        (closed(a={"type": "string", "maxLength": 5}), closed(a=TEXT), [("a", "limits")]),
        (closed(a=FROM_1), closed(a=ABOVE_0), [("a", "limits")]),
        (closed(a=ABOVE_0), closed(a=FROM_1), []),
        (closed(a=TEXT | {"pattern": "^a"}), closed(a=TEXT | {"pattern": "^b"}), [("a", "limits")]),
        (closed(a={"not": TEXT}), closed(a=NUMBER), [("a", "unknown")]),
        (NODE, NODE, []),
        (BIGGER, NODE, [("size", "type")]),
        (closed(pay={"anyOf": [CARD, CASH]}), closed(pay={"anyOf": [CASH]}), []),
        (closed(pay={"anyOf": [CARD, CASH]}), closed(pay={"anyOf": [OLD_CARD]}), [("pay.number", "missing")]),
        (closed(a=DEFAULTED) | {"definitions": {"T": TEXT}}, closed(a=TEXT), []),
        (closed(a=TEXT), closed(a={"allOf": [TEXT, {"maxLength": 3}]}), []),
        (opened() | {"additionalProperties": NUMBER}, opened() | {"additionalProperties": TEXT}, [("{}", "type")]),
        (closed(a={"items": [TEXT, NUMBER]}), closed(a={"items": [TEXT, TEXT]}), [("a[1]", "type")]),
    ],
)  # fmt: skip
def test_a_change(reader: dict[str, Any], writer: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(one.path, one.cause) for one in unreadable(of(**reader), of(**writer))] == expected


@pytest.mark.parametrize("text", ["{", "17", '{"$ref": "#/definitions/A"}', '{"$ref": "#"}', '{"type": "text"}'])
def test_what_is_no_schema_is_told(text: str) -> None:
    with pytest.raises(Misuse):
        unreadable(of(**TEXT), Schema("json", text))


@pytest.mark.parametrize("count", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_a_validator_agrees_about_documents(count: int) -> None:
    """Where we say that all is read, a validator takes whatever the writer's schema allows; where we say no, there is
    a document that it refuses."""
    random = Random(SEED)
    for earlier, later in pairs("json", count, SEED):
        for reader, writer in ((later, earlier), (earlier, later)):
            wrong = unreadable(reader, writer)
            validator = Draft7Validator(json.loads(reader.text), format_checker=FormatChecker())
            written = documents(json.loads(writer.text), random, TRIES)
            assert all(map(validator.is_valid, written)) is not bool(wrong), (reader.text, writer.text, wrong)
