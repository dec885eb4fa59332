"""What the comparisons rely on: each keyword of a schema holds what it has to. Told with the place, before anything is
compared. Keywords that nobody here looks at may hold anything.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType, field

from headwater.errors import Misuse

Number = int | float | UnsetType
Length = Annotated[int, msgspec.Meta(ge=0)] | UnsetType
Names = list[str] | UnsetType


class JsonNode(msgspec.Struct):
    """A JSON Schema that is no bool. `items` may be a list in draft 7."""

    ref: str | UnsetType = field(name="$ref", default=UNSET)
    defs: dict[str, bool | JsonNode] | UnsetType = field(name="$defs", default=UNSET)
    definitions: dict[str, bool | JsonNode] | UnsetType = UNSET
    type: str | list[str] | UnsetType = UNSET
    title: str | UnsetType = UNSET
    enum: list[Any] | UnsetType = UNSET
    any_of: list[bool | JsonNode] | UnsetType = field(name="anyOf", default=UNSET)
    one_of: list[bool | JsonNode] | UnsetType = field(name="oneOf", default=UNSET)
    all_of: list[bool | JsonNode] | UnsetType = field(name="allOf", default=UNSET)
    properties: dict[str, bool | JsonNode] | UnsetType = UNSET
    pattern_properties: dict[str, bool | JsonNode] | UnsetType = field(name="patternProperties", default=UNSET)
    additional_properties: bool | JsonNode | UnsetType = field(name="additionalProperties", default=UNSET)
    required: Names = UNSET
    items: bool | JsonNode | list[bool | JsonNode] | UnsetType = UNSET
    prefix_items: list[bool | JsonNode] | UnsetType = field(name="prefixItems", default=UNSET)
    additional_items: bool | JsonNode | UnsetType = field(name="additionalItems", default=UNSET)
    minimum: Number = UNSET
    maximum: Number = UNSET
    exclusive_minimum: Number = field(name="exclusiveMinimum", default=UNSET)
    exclusive_maximum: Number = field(name="exclusiveMaximum", default=UNSET)
    multiple_of: Annotated[int, msgspec.Meta(gt=0)] | Annotated[float, msgspec.Meta(gt=0)] | UnsetType = field(
        name="multipleOf", default=UNSET
    )
    min_length: Length = field(name="minLength", default=UNSET)
    max_length: Length = field(name="maxLength", default=UNSET)
    min_items: Length = field(name="minItems", default=UNSET)
    max_items: Length = field(name="maxItems", default=UNSET)
    min_properties: Length = field(name="minProperties", default=UNSET)
    max_properties: Length = field(name="maxProperties", default=UNSET)
    pattern: str | UnsetType = UNSET
    format: str | UnsetType = UNSET


class AvroFieldNode(msgspec.Struct):
    name: str
    type: str | list[Any] | AvroNode
    aliases: Names = UNSET


class AvroNode(msgspec.Struct):
    """A type of Avro that is written as an object."""

    type: str | list[Any] | AvroNode
    name: str | UnsetType = UNSET
    namespace: str | UnsetType = UNSET
    aliases: Names = UNSET
    fields: list[AvroFieldNode] | UnsetType = UNSET
    symbols: Names = UNSET
    size: Length = UNSET


def check_json_node(node: Any) -> None:
    """Raises: Misuse: it is no JSON Schema."""
    _check(node, bool | JsonNode, "JSON Schema")


def check_avro_node(node: Any) -> None:
    """Raises: Misuse: it is no type of Avro."""
    _check(node, str | list[Any] | AvroNode, "Avro schema")


def _check(node: Any, type_: Any, what: str) -> None:
    try:
        msgspec.convert(node, type=type_)
    except msgspec.ValidationError as error:
        raise Misuse(f"no {what}: {error}") from error
