"""Schemas derived from event classes: what they say, and that it is the same everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from typing import Any, Literal

import avro.schema
import fastavro
import jsonschema
import pytest

import headwater.messages as hw
from headwater.errors import Misuse
from headwater.schemas.derivation import schema_of
from tests.messages.contract import OrderCancelled, OrderEvent, OrderPlaced, PlaceOrder
from tests.schemas import wares
from tests.schemas.wares import Part, WareGone, WareListed


def avro_type(field: str) -> Any:
    found = {one["name"]: one for one in json.loads(schema_of(WareListed, "avro"))["fields"]}[field]
    return found["type"]


def test_the_avro_schema_of_an_order() -> None:
    decimal = {"type": "string", "format": "decimal"}
    item = {
        "type": "record",
        "name": "Item",
        "fields": [
            {"name": "sku", "type": "string"},
            {"name": "itemPrice", "type": decimal},
            {"name": "quantity", "type": "long", "default": 1},
        ],
    }
    time = {"type": "long", "logicalType": "timestamp-micros"}
    assert json.loads(schema_of(OrderPlaced, "avro")) == {
        "type": "record",
        "name": "OrderPlaced",
        "fields": [
            {"name": "eventType", "type": "string", "default": "OrderPlaced"},
            {"name": "eventVersion", "type": "int", "default": 1},
            {"name": "orderId", "type": "string"},
            {"name": "customerId", "type": "string"},
            {"name": "items", "type": {"type": "array", "items": item}},
            {"name": "total", "type": decimal},
            {"name": "timestamp", "type": ["null", time], "default": None},
        ],
    }


def test_the_json_schema_of_an_order() -> None:
    decimal = {"type": "string", "format": "decimal"}
    assert json.loads(schema_of(OrderPlaced, "json")) == {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "OrderPlaced",
        "type": "object",
        "properties": {
            "eventType": {"type": "string", "const": "OrderPlaced"},
            "eventVersion": {"type": "integer", "default": 1},
            "orderId": {"type": "string", "minLength": 1},
            "customerId": {"type": "string"},
            "items": {"type": "array", "items": {"$ref": "#/definitions/Item"}},
            "total": decimal,
            "timestamp": {"type": "string", "format": "date-time"},
        },
        "required": ["eventType", "orderId", "customerId", "items", "total"],
        "additionalProperties": False,
        "definitions": {
            "Item": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string"},
                    "itemPrice": decimal,
                    "quantity": {"type": "integer", "default": 1},
                },
                "required": ["sku", "itemPrice"],
                "additionalProperties": False,
            }
        },
    }


def test_every_kind_of_field_has_an_avro_type() -> None:
    assert avro_type("day") == {"type": "int", "logicalType": "date"}
    assert avro_type("at") == {"type": "long", "logicalType": "time-micros"}
    assert avro_type("batch") == {"type": "string", "logicalType": "uuid"}
    assert avro_type("colour") == {"type": "enum", "name": "Colour", "symbols": ["red", "blue"]}
    assert avro_type("state") == {"type": "enum", "name": "WareListed_state", "symbols": ["new", "used"]}
    assert avro_type("size") == "long"
    assert avro_type("place") == {"type": "array", "items": ["long", "string"]}
    assert avro_type("limit") == ["long", "null", "string"], "the default's type first"
    assert avro_type("extra") == {"type": "string", "contentMediaType": "application/json"}


@pytest.mark.parametrize("cls", [WareListed, WareGone, Part, hw.Reverted, PlaceOrder, OrderCancelled])
def test_other_implementations_take_the_schemas(cls: type[hw.Message]) -> None:
    fastavro.parse_schema(json.loads(schema_of(cls, "avro")))
    avro.schema.parse(schema_of(cls, "avro"))
    jsonschema.Draft7Validator.check_schema(json.loads(schema_of(cls, "json")))


def test_what_the_json_codec_writes_is_what_the_json_schema_says() -> None:
    validator = jsonschema.Draft7Validator(json.loads(schema_of(WareListed, "json")))
    written = json.loads(hw.JsonCodec([WareListed]).encode(wares.listed(), wares.listed().listed))
    assert list(validator.iter_errors(written)) == []
    assert list(validator.iter_errors({**written, "unknown": 1})), "it is closed"
    assert list(validator.iter_errors({**written, "price": 1.5})), "decimals are texts"


def test_the_bytes_are_the_same_in_every_process() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-m", "tests.schemas.wares", first],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=200,
        ).stdout
        for seed, first in (("1", "str"), ("2", "int"))
    }
    (text,) = printed
    assert text.decode().splitlines()[:2] == [schema_of(WareListed, "avro"), schema_of(WareListed, "json")]


def test_a_family_has_no_schema() -> None:
    with pytest.raises(Misuse, match="OrderEvent is a family"):
        schema_of(OrderEvent, "avro")


def test_a_name_that_avro_cannot_say_is_refused_with_what_to_do() -> None:
    class Odd(OrderEvent):
        price: Decimal = hw.field(name="item-price")

    with pytest.raises(Misuse, match=r"Odd\.price is called 'item-price' on the wire"):
        schema_of(Odd, "avro")
    assert '"item-price"' in schema_of(Odd, "json")


def test_two_values_of_one_name_are_refused() -> None:
    def other() -> type[hw.Value]:
        class Part(hw.Value):
            number: int

        return Part

    Other = other()

    class Mixed(OrderEvent):
        one: Part
        two: Other  # type: ignore[valid-type] # made in a function

    for kind in ("avro", "json"):
        with pytest.raises(Misuse, match=r"Mixed\.two: .* are both called 'Part'"):
            schema_of(Mixed, kind)


def test_a_value_may_contain_itself() -> None:
    assert '"items":"Part"' in schema_of(Part, "avro")
    assert '{"$ref":"#"}' in schema_of(Part, "json")


def test_a_choice_of_several_kinds_is_a_union() -> None:
    class Rated(OrderEvent):
        stars: Literal[1, 2, "none"]

    (stars,) = (f for f in json.loads(schema_of(Rated, "avro"))["fields"] if f["name"] == "stars")
    assert stars["type"] == ["long", "string"]
