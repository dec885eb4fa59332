"""Sample records by a registered schema alone, where the class of that version is gone. For schemas that were derived
from classes, Avro or JSON Schema; the samples are JSON in both cases, which is what every reader makes of a record.

As with classes, a union's members are taken in turn. Of a JSON Schema the first sample has only what must be there; in
Avro every field is written. A schema does not say what the keys of a map are, so maps are empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import inspect

from headwater.errors import Misuse
from headwater.messages.times import time_text
from headwater.schemas.derivation_avro import JSON_TEXT
from headwater.schemas.describing import TIME_FIELD
from headwater.schemas.port import Schema
from headwater.schemas.subjects import Subject
from headwater.testing.samples import DEEPEST, MOST_SAMPLES, SIMPLE, TIME

TEXTS: Final = {
    "decimal": SIMPLE[inspect.DecimalType],
    "duration": SIMPLE[inspect.TimeDeltaType],
    "date-time": SIMPLE[inspect.DateTimeType],
    "timestamp-micros": SIMPLE[inspect.DateTimeType],
    "date": SIMPLE[inspect.DateType],
    "time": SIMPLE[inspect.TimeType],
    "time-micros": SIMPLE[inspect.TimeType],
    "uuid": SIMPLE[inspect.UUIDType],
}
"""By the format of a JSON Schema, or Avro's logical type."""

PLAIN: Final[Mapping[str, Any]] = {
    "null": None,
    "boolean": True,
    "int": 7,
    "long": 7,
    "float": 7.0,
    "double": 7.0,
    "string": "text",
    "bytes": SIMPLE[inspect.BytesType],
}
"""By Avro's name."""

LIMITS: Final = (("minimum", 0), ("maximum", 0), ("exclusiveMinimum", 1), ("exclusiveMaximum", -1))


def samples_of_schema(schema: Schema, subject: Subject) -> list[bytes]:
    """Values of records. Raises: Misuse: no value can be thought up for a field."""
    root = json.loads(schema.text)
    head = {"eventType": subject.name, "eventVersion": subject.version}
    makers = _of_avro(root) if schema.kind == "avro" else _of_json(root)
    found: dict[bytes, None] = {}
    for fields in makers:
        record = head | {name: value for name, value in fields.items() if name not in (*head, TIME_FIELD)}
        found[json.dumps(record | {TIME_FIELD: time_text(TIME)}, ensure_ascii=False).encode()] = None
    return list(found)


def _of_json(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    properties = root["properties"]
    yield {name: _by_json(properties[name], root, 0, 0) for name in root.get("required", ())}
    for choice in range(MOST_SAMPLES):
        yield {name: _by_json(part, root, choice, 0) for name, part in properties.items()}


def _by_json(node: Any, root: dict[str, Any], choice: int, depth: int) -> Any:
    if "$ref" in node or "allOf" in node:
        target = node["allOf"][0] if "allOf" in node else root
        for name in node.get("$ref", "#").split("/")[1:]:
            target = target[name]
        return _by_json(target, root, choice, depth)
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return node["enum"][choice % len(node["enum"])]
    if "anyOf" in node:
        return _by_json(_member(node["anyOf"], {"type": "null"}, choice, depth), root, choice, depth)
    match node.get("type"):
        case "object" if "properties" in node:
            shown = node["properties"] if depth <= DEEPEST else node.get("required", ())
            return {name: _by_json(node["properties"][name], root, choice, depth + 1) for name in shown}
        case "object":
            return {}
        case "array" if isinstance(node["items"], list):
            return [_by_json(part, root, choice, depth) for part in node["items"]]
        case "array":
            count = max(1, node.get("minItems", 0)) if depth <= DEEPEST else 0
            return [_by_json(node["items"], root, choice, depth + 1)] * count
        case "string":
            return _text(node)
        case "integer" | "number":
            return _number(node)
        case "boolean" | "null":
            return PLAIN[node["type"]]
    return {"any": 1}


def _text(node: dict[str, Any]) -> str:
    if "pattern" in node:
        raise Misuse(f"no text of the pattern {node['pattern']!r} can be thought up")
    if "contentEncoding" in node:
        return str(PLAIN["bytes"])
    return str(TEXTS.get(node.get("format", ""), "text".ljust(node.get("minLength", 0), "x")))


def _number(node: dict[str, Any]) -> int | float:
    for candidate in (7, 1, 0, -1, *(node[word] + more for word, more in LIMITS if word in node)):
        above = node.get("minimum", candidate) <= candidate and node.get("exclusiveMinimum", candidate - 1) < candidate
        below = node.get("maximum", candidate) >= candidate and node.get("exclusiveMaximum", candidate + 1) > candidate
        if above and below and candidate % node.get("multipleOf", 1) == 0:
            return int(candidate) if node["type"] == "integer" else float(candidate)
    return 0


def _of_avro(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    named = dict(_named(root))
    for choice in range(MOST_SAMPLES):
        yield _by_avro(root, named, choice, 0)


def _named(node: Any) -> Iterator[tuple[str, Any]]:
    """The named types in a schema."""
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _named(part)
    if isinstance(node, dict) and node.get("type") in ("record", "enum"):
        yield node["name"], node


def _by_avro(node: Any, named: dict[str, Any], choice: int, depth: int) -> Any:
    """Arguments: named: the schema's types, by name."""
    if isinstance(node, str):
        return PLAIN[node] if node in PLAIN else _by_avro(named[node], named, choice, depth)
    if isinstance(node, list):
        return _by_avro(_member(node, "null", choice, depth), named, choice, depth)
    if node == JSON_TEXT:
        return {"any": 1}
    text = TEXTS.get(node.get("logicalType") or node.get("format") or "")
    if text is not None:
        return text
    match node["type"]:
        case "record":
            return {field["name"]: _by_avro(field["type"], named, choice, depth + 1) for field in node["fields"]}
        case "enum":
            return node["symbols"][choice % len(node["symbols"])]
        case "array":
            return [_by_avro(node["items"], named, choice, depth + 1)] if depth <= DEEPEST else []
        case "map":
            return {}
    return _by_avro(node["type"], named, choice, depth)


def _member(kinds: Sequence[Any], null: Any, choice: int, depth: int) -> Any:
    """In turn, but null only where it goes too deep."""
    others = [one for one in kinds if one != null]
    return null if depth > DEEPEST and len(others) < len(kinds) else others[choice % len(others)]
