"""Pairs of schemas, an earlier one and what may become of it: made at random, the same for the same seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from headwater.schemas.derivation import SchemaKind
from headwater.schemas.port import Schema

PRIMITIVES = ["boolean", "int", "long", "float", "double", "string", "bytes"]
LOGICAL: list[dict[str, Any]] = [
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4},
]
DEFAULTS: dict[str, Any] = {
    "null": None,
    "boolean": False,
    "int": 0,
    "long": 0,
    "float": 0.5,
    "double": 0.5,
    "string": "",
    "bytes": "",
    "array": [],
    "map": {},
}
PLAIN: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "integer"},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "maxLength": 20},
    {"type": "string", "maxLength": 30},
    {"type": "integer", "minimum": 0},
    {"type": "integer", "minimum": 0, "maximum": 100},
    {"type": "string", "enum": ["red", "blue"]},
    {"type": "string", "enum": ["red", "blue", "green"]},
]


NEW_NAMES = [f"n{number}" for number in range(6)]
A_UUID = "0190a3a0-7d5e-7000-8000-000000000000"


def pairs(kind: SchemaKind, count: int, seed: int) -> Iterator[tuple[Schema, Schema]]:
    """Earlier and later schemas. The seed is printed: a failure is repeated by it."""
    print(f"{count} pairs of {kind} schemas, seed {seed}")
    for number in range(count):
        maker = (AvroMaker if kind == "avro" else JsonMaker)(Random(f"{seed}/{number}"))
        earlier = maker.record()
        later = copy.deepcopy(earlier)
        for _ in range(maker.random.choice([0, 1, 1, 1, 2, 3])):
            maker.change(later)
        yield Schema(kind, json.dumps(earlier)), Schema(kind, json.dumps(later))


class AvroMaker:
    """Records with fields of every kind, and changes to them that people make."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._names = 0

    def record(self, depth: int = 0) -> dict[str, Any]:
        fields = [self.field(depth, name) for name in "abcde"[: self.random.randint(1, 4)]]
        return {"type": "record", "name": self._name("Record"), "fields": fields}

    def field(self, depth: int, name: str) -> dict[str, Any]:
        kind = self.type(depth)
        first = kind[0] if isinstance(kind, list) else kind
        plain = first["type"] if isinstance(first, dict) else first
        made = {"name": name, "type": kind}
        if plain in DEFAULTS and self.random.random() < 0.5:
            made["default"] = DEFAULTS[plain]
        return made

    def type(self, depth: int, *, in_union: bool = False) -> Any:
        pick = self.random.random()
        if pick < 0.4 or depth > 2:
            return self.random.choice(PRIMITIVES)
        if pick < 0.5:
            return dict(self.random.choice(LOGICAL))
        if pick < 0.6:
            made: dict[str, Any] = {"type": "enum", "name": self._name("Enum"), "symbols": ["A", "B", "C"]}
            return made | ({"default": "A"} if self.random.random() < 0.4 else {})
        if pick < 0.65:
            return {"type": "fixed", "name": self._name("Fixed"), "size": self.random.choice([4, 8])}
        if pick < 0.75:
            return {"type": "array", "items": self.type(depth + 1)}
        if pick < 0.82:
            return {"type": "map", "values": self.type(depth + 1)}
        if pick < 0.92 and not in_union:
            other = self.type(depth + 1, in_union=True)
            return ["null", other] if other != "null" else ["null", "string"]
        return self.record(depth + 1)

    def change(self, schema: dict[str, Any]) -> None:
        """One change somewhere in a record."""
        places = list(_named_parts(schema))
        part = self.random.choice(places)
        match part["type"]:
            case "record":
                self._change_record(part)
            case "enum":
                self._change_enum(part)
            case _:
                part["size"] = 16

    def _change_record(self, record: dict[str, Any]) -> None:
        fields = record["fields"]
        pick = self.random.random()
        if pick < 0.25:
            fields.append(self.field(2, f"n{self.random.randint(0, 99)}"))
        elif pick < 0.4 and len(fields) > 1:
            fields.pop(self.random.randrange(len(fields)))
        elif pick < 0.55:
            field = self.random.choice(fields)
            if not isinstance(field["type"], list):
                field["type"] = ["null", field["type"]]
                field.pop("default", None)
        elif pick < 0.65:
            field = self.random.choice(fields)
            field["aliases"] = [field["name"]]
            field["name"] = f"r{self.random.randint(0, 99)}"
        elif pick < 0.7:
            record["name"] = self._name("Renamed")
        elif pick < 0.75:
            record["namespace"] = "other"
        elif pick < 0.8:
            field = self.random.choice(fields)
            if isinstance(field["type"], list):
                field["type"] = [*field["type"], self._name_of_new(field["type"])]
        else:
            field = self.random.choice(fields)
            field["type"] = self.random.choice([*PRIMITIVES, *LOGICAL])
            field.pop("default", None)

    def _name_of_new(self, branches: list[Any]) -> str:
        taken = {one["type"] if isinstance(one, dict) else one for one in branches}
        return self.random.choice([one for one in PRIMITIVES if one not in taken])

    def _change_enum(self, enum: dict[str, Any]) -> None:
        pick = self.random.random()
        if pick < 0.4:
            enum["symbols"] = [*enum["symbols"], f"N{self.random.randint(0, 99)}"]
        elif pick < 0.8:
            enum["symbols"] = enum["symbols"][:-1]
        else:
            enum["default"] = "A"

    def _name(self, start: str) -> str:
        self._names += 1
        return f"{start}{self._names}"


def _named_parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for one in node:
            yield from _named_parts(one)
    if not isinstance(node, dict):
        return
    if node.get("type") in ("record", "enum", "fixed"):
        yield node
    for below in [*(field["type"] for field in node.get("fields", ())), node.get("items"), node.get("values")]:
        yield from _named_parts(below)


class JsonMaker:
    """Objects as they are derived from classes, closed and open, and changes to them that people make."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def record(self, depth: int = 0) -> dict[str, Any]:
        names = "abcde"[: self.random.randint(1, 4)]
        made: dict[str, Any] = {"type": "object", "properties": {name: self.type(depth) for name in names}}
        required = [name for name in names if self.random.random() < 0.5]
        if required:
            made["required"] = required
        if self.random.random() < 0.7:
            made["additionalProperties"] = False
        return made

    def type(self, depth: int) -> dict[str, Any]:
        pick = self.random.random()
        if pick < 0.6 or depth > 1:
            return dict(self.random.choice(PLAIN))
        if pick < 0.75:
            return {"type": "array", "items": self.type(depth + 1)}
        if pick < 0.85:
            return {"anyOf": [{"type": "null"}, self.type(2)]}
        return self.record(depth + 1)

    def change(self, schema: dict[str, Any]) -> None:
        """One change somewhere in an object."""
        record = self.random.choice(list(_objects(schema)))
        properties, pick = record["properties"], self.random.random()
        if pick < 0.3:
            properties[self.random.choice(NEW_NAMES)] = self.type(2)
        elif pick < 0.45 and len(properties) > 1:
            name = self.random.choice(list(properties))
            del properties[name]
            self._require(record, [one for one in record.get("required", []) if one != name])
        elif pick < 0.6:
            self._require(record, [*record.get("required", []), *list(properties)[:1]])
        elif pick < 0.7:
            self._require(record, record.get("required", [])[1:])
        elif pick < 0.75:
            record["additionalProperties"] = self.random.random() < 0.5
        else:
            properties[self.random.choice(list(properties))] = self.type(2)

    def _require(self, record: dict[str, Any], names: list[str]) -> None:
        record.pop("required", None)
        if names:
            record["required"] = sorted(set(names))


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for below in [*node.get("properties", {}).values(), node.get("items"), *node.get("anyOf", ())]:
            yield from _objects(below)


def documents(schema: Any, random: Random, count: int) -> list[Any]:
    """Documents that a JSON Schema of `JsonMaker` allows, as different as its limits let them be."""
    return [_document(schema, random) for _ in range(count)]


def _document(node: Any, random: Random) -> Any:
    if node is True or not node:
        return random.choice([None, True, 5, -1, 0.5, "red", "other", [1], {"a": {}}])
    if "anyOf" in node:
        return _document(random.choice(node["anyOf"]), random)
    if "enum" in node:
        return random.choice(node["enum"])
    match node["type"]:
        case "null":
            return None
        case "boolean":
            return random.choice([True, False])
        case "integer":
            low, high = node.get("minimum", -5), node.get("maximum", 1000)
            return random.choice([low, high, random.randint(low, high)])
        case "number":
            return random.choice([-2.5, 0.0, 7, 1e9])
        case "string":
            if node.get("format") == "uuid":
                return A_UUID
            longest = node.get("maxLength", 60)
            return random.choice(["", "x" * longest, "red", "green"])
        case "array":
            return [_document(node["items"], random) for _ in range(random.randint(0, 2))]
    required, properties = node.get("required", []), node["properties"]
    names = {name for name in properties if random.random() < 0.6} | set(required)
    if node.get("additionalProperties", True) is True:
        names |= {name for name in ("z", *"abcde", *NEW_NAMES) if random.random() < 0.2}
    return {name: _document(properties.get(name, True), random) for name in sorted(names)}
