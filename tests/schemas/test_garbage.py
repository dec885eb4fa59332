"""Schemas that are none: told, whatever is wrong with them, and nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from random import Random
from typing import Any

import pytest

from headwater.errors import Misuse
from headwater.schemas.compatibility import unreadable
from headwater.schemas.derivation import SchemaKind
from headwater.schemas.port import Schema
from tests.schemas.pairs import pairs

SEED = 20263
NUMBERS: list[Any] = [5, -1, 0.5, 1e400]
JUNK: list[Any] = [None, True, *NUMBERS, "x", "string", "(", "", [], [1], ["string"], [[]], {}, {"type": "string"}]
OF_AVRO = ["aliases", "namespace", "default", "items", "logicalType", "precision", "scale", "size", "symbols", "fields"]
OF_JSON = ["enum", "const", "$ref", "allOf", "anyOf", "required", "patternProperties", "pattern", "minimum", "not"]
WORDS = [*OF_AVRO, *OF_JSON, "multipleOf", "maxLength", "prefixItems", "properties", "definitions", "type"]


def broken(schema: Any, random: Random) -> Any:
    """The schema with something in it that does not belong there."""
    root = {"": schema}
    holder, key = random.choice(list(places(root)))
    inside = holder[key]
    if isinstance(inside, dict) and random.random() < 0.5:
        holder, key = inside, random.choice(WORDS)
    holder[key] = deepcopy(random.choice(JUNK))
    return root[""]


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from places(node[key])


@pytest.mark.parametrize("kind", ["avro", "json"])
@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_broken_schema_is_misuse_or_is_compared(kind: SchemaKind, count: int) -> None:
    random = Random(SEED)
    told = 0
    for earlier, later in pairs(kind, count, SEED):
        bad = Schema(kind, json.dumps(broken(json.loads(later.text), random)))
        for reader, writer in ((bad, earlier), (earlier, bad)):
            with suppress(Misuse):
                unreadable(reader, writer)
                told -= 1
            told += 1
    assert told > count / 4, "what was done to the schemas was harmless"


@pytest.mark.parametrize("kind", ["avro", "json"])
def test_a_schema_that_is_nested_too_deeply(kind: SchemaKind) -> None:
    text = '{"type":"array","items":' * 3000 + '"string"' + "}" * 3000
    with pytest.raises(Misuse):
        unreadable(Schema(kind, text), Schema(kind, text))


def test_no_number_of_json() -> None:
    with pytest.raises(Misuse, match="NaN is no number of JSON"):
        unreadable(Schema("json", '{"minimum": NaN}'), Schema("json", "{}"))
