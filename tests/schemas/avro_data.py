"""Random data for the schemas of `AvroMaker`, and its way through another library's writer and reader."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from headwater.schemas.port import Schema


def read_back(reader: Schema, writer: Schema, random: Random, count: int) -> Exception | None:
    """Writes data with one schema and reads it with another. Returns: what went wrong with one of them, if anything."""
    written, wanted = parse_schema(json.loads(writer.text)), parse_schema(json.loads(reader.text))
    for _ in range(count):
        stream = io.BytesIO()
        schemaless_writer(stream, written, datum(json.loads(writer.text), random))
        stream.seek(0)
        try:
            schemaless_reader(stream, written, wanted)
        except Exception as error:  # noqa: BLE001 -- it raises whatever the place gives
            return error
    return None


def datum(node: Any, random: Random) -> Any:
    if isinstance(node, list):
        return datum(random.choice(node), random)
    if isinstance(node, str):
        return random.choice(PLAIN[node])
    if "logicalType" in node:
        return logical(node, random)
    match node["type"]:
        case "record":
            return {field["name"]: datum(field["type"], random) for field in node["fields"]}
        case "enum":
            return random.choice(node["symbols"])
        case "fixed":
            return b"x" * node["size"]
        case "array":
            return [datum(node["items"], random) for _ in range(random.randint(0, 2))]
        case "map":
            return {key: datum(node["values"], random) for key in "ab"[: random.randint(0, 2)]}
    return datum(node["type"], random)


def logical(node: dict[str, Any], random: Random) -> Any:
    if node["logicalType"] == "decimal":
        return Decimal(random.randint(-99, 99)).scaleb(-node["scale"])
    if node["logicalType"] == "uuid":
        return UUID(int=random.getrandbits(128))
    return datetime(2024, 4, 10, 10, 30, tzinfo=UTC)


PLAIN: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "int": [-5, 0, 2**31 - 1],
    "long": [-5, 0, 2**40],
    "float": [0.5],
    "double": [1e100, 0.25],
    "string": ["", "ä", "abc"],
    "bytes": [b"", b"abc"],
}
