"""What a change of an Avro schema means for who reads, with the path of the field."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from headwater.errors import Misuse
from headwater.schemas.compatibility import unreadable
from headwater.schemas.compatibility.found import Found
from headwater.schemas.port import Schema
from tests.schemas.avro_data import read_back
from tests.schemas.pairs import pairs

SEED = 20260


Field = tuple[str, Any, dict[str, Any]]
"""Name, type, and what else is said of a field."""


def avro_schema(*fields: Field, **more: Any) -> Schema:
    named = [{"name": name, "type": kind, **extra} for name, kind, extra in fields]
    return Schema("avro", json.dumps({"type": "record", "name": "Placed", "fields": named, **more}))


def found(reader: Schema, writer: Schema) -> list[tuple[str, str]]:
    return [(one.path, one.cause) for one in unreadable(reader, writer)]


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def map_(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


ONE: Field = ("a", "long", {})
ITEM = {"type": "record", "name": "Item", "fields": [{"name": "price", "type": "string"}]}
PRICED = {"type": "record", "name": "Item", "fields": [{"name": "price", "type": "long"}]}
COLOURS = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
MORE = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE", "GREEN"]}


@pytest.mark.parametrize(
    ("reader", "writer", "expected"),
    [
        ([ONE, ("b", "long", {})], [ONE], [("b", "missing")]),
        ([ONE, ("b", "long", {"default": 0})], [ONE], []),
        ([ONE], [ONE, ("b", "long", {})], []),
        ([("a", "double", {})], [ONE], []),
        ([("a", "int", {})], [ONE], [("a", "type")]),
        ([("b", "long", {"aliases": ["a"]})], [ONE], []),
        ([("a", ["null", "long"], {})], [ONE], []),
        ([ONE], [("a", ["null", "long"], {})], [("a", "type")]),
        ([("a", array(PRICED), {})], [("a", array(ITEM), {})], [("a[].price", "type")]),
        ([("a", map_(PRICED), {})], [("a", map_(ITEM), {})], [("a[].price", "type")]),
        ([("a", ["null", PRICED], {})], [("a", ["null", ITEM], {})], [("a.price", "type")]),
        ([("a", COLOURS, {})], [("a", MORE, {})], [("a", "symbols")]),
        ([("a", COLOURS | {"default": "RED"}, {})], [("a", MORE, {})], []),
        ([("a", ["null", "string"], {})], [("a", ["null", "long"], {})], [("a", "branch")]),
    ],
)  # fmt: skip
def test_a_change(reader: list[Any], writer: list[Any], expected: list[tuple[str, str]]) -> None:
    assert found(avro_schema(*reader), avro_schema(*writer)) == expected


def decimal(digits: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": digits, "scale": scale}


@pytest.mark.parametrize(
    ("reader", "writer", "expected"),
    [
        (decimal(9, 4), decimal(9, 2), [("a", "meaning")]),
        (decimal(9, 2), decimal(18, 2), [("a", "meaning")]),
        (decimal(18, 2), decimal(9, 2), []),
        (
            {"type": "long", "logicalType": "timestamp-micros"},
            {"type": "long", "logicalType": "timestamp-millis"},
            [("a", "meaning")],
        ),
        ({"type": "string", "logicalType": "uuid"}, "string", [("a", "meaning")]),
        ("string", {"type": "string", "logicalType": "uuid"}, []),
        ({"type": "string", "format": "decimal"}, "string", [("a", "meaning")]),
    ],
)
def test_what_is_decoded_and_means_something_else(reader: Any, writer: Any, expected: list[Any]) -> None:
    assert found(avro_schema(("a", reader, {})), avro_schema(("a", writer, {}))) == expected


def test_a_record_is_found_again_by_its_earlier_name() -> None:
    earlier = Schema("avro", json.dumps({"type": "record", "name": "shop.Ordered", "fields": []}))
    assert found(avro_schema(), earlier) == [("", "name")]
    assert found(avro_schema(aliases=["shop.Ordered"]), earlier) == []


def test_a_record_may_contain_itself() -> None:
    tree = {"type": "array", "items": "Placed"}
    earlier = avro_schema(("below", tree, {}), ("size", "string", {}))
    assert found(earlier, earlier) == []
    assert found(avro_schema(("below", tree, {}), ("size", "long", {})), earlier) == [("size", "type")]


def test_a_schema_that_names_another() -> None:
    item = json.dumps(ITEM)
    earlier = Schema("avro", avro_schema(("item", "Item", {})).text, (("Item", item),))
    later = Schema("avro", earlier.text, (("Item", json.dumps(PRICED)),))
    assert found(later, earlier) == [("item.price", "type")]


@pytest.mark.parametrize(
    "text", ["{", "17", '"Unknown"', '{"type": "array"}', '{"type": "record", "name": "A", "fields": [1]}']
)
def test_what_is_no_schema_is_told(text: str) -> None:
    with pytest.raises(Misuse):
        unreadable(avro_schema(ONE), Schema("avro", text))


def test_many_records_that_contain_each_other_twice_are_compared_once_each() -> None:
    """Along every path there would be 2^40 comparisons."""
    text: Any = "string"
    for number in range(40):
        below = text if number == 0 else f"R{number - 1}"
        text = {
            "type": "record",
            "name": f"R{number}",
            "fields": [{"name": "a", "type": text}, {"name": "b", "type": below}],
        }
    assert unreadable(Schema("avro", json.dumps(text)), Schema("avro", json.dumps(text))) == []


def by_apache(reader: Schema, writer: Schema) -> bool:
    pair = avro.schema.parse(reader.text), avro.schema.parse(writer.text)
    verdict = ReaderWriterCompatibilityChecker().get_compatibility(*pair)  # type: ignore[no-untyped-call] # avro types some calls
    return verdict.compatibility is SchemaCompatibilityType.compatible


def refused_by_resolution(found: list[Found]) -> bool:
    """Apart from what only we look for."""
    return any(one.cause != "meaning" for one in found)


def test_the_verdicts_of_the_apache_package_are_the_same() -> None:
    readable = 0
    for earlier, later in pairs("avro", 250, SEED):
        for reader, writer in ((later, earlier), (earlier, later)):
            wrong = unreadable(reader, writer)
            assert by_apache(reader, writer) is not refused_by_resolution(wrong), (reader.text, writer.text, wrong)
            readable += not wrong
    assert 100 < readable < 400, "the pairs are too much alike"


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_what_we_say_is_read_is_read(count: int) -> None:
    """Data written with one schema is read with the other, by a library that has no part in the verdict."""
    random = Random(SEED)
    read = 0
    for earlier, later in pairs("avro", count, SEED):
        for reader, writer in ((later, earlier), (earlier, later)):
            if not unreadable(reader, writer):
                assert read_back(reader, writer, random, 10) is None, (reader.text, writer.text)
                read += 1
    assert read > count / 2
