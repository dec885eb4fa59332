"""The JSON Schema of a class: draft 7, which every registry and validator understands; closed.

`format` says what a text holds (`date-time`, `date`, `time`, `duration`, `uuid`, `decimal`); the constraints of
`msgspec.Meta` become JSON Schema's own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, inspect

from headwater.messages.declare import Message
from headwater.schemas.describing import (
    Names,
    choices,
    default_of,
    described,
    head_of,
    is_array,
    is_opaque,
    members,
    name_of,
)

DRAFT: Final = "http://json-schema.org/draft-07/schema#"

FORMATS: Final[dict[type[inspect.Type], dict[str, Any]]] = {
    inspect.NoneType: {"type": "null"},
    inspect.BoolType: {"type": "boolean"},
    inspect.IntType: {"type": "integer"},
    inspect.FloatType: {"type": "number"},
    inspect.StrType: {"type": "string"},
    inspect.BytesType: {"type": "string", "contentEncoding": "base64"},
    inspect.DecimalType: {"type": "string", "format": "decimal"},
    inspect.DateTimeType: {"type": "string", "format": "date-time"},
    inspect.DateType: {"type": "string", "format": "date"},
    inspect.TimeType: {"type": "string", "format": "time"},
    inspect.TimeDeltaType: {"type": "string", "format": "duration"},
    inspect.UUIDType: {"type": "string", "format": "uuid"},
}
BOUNDS: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}
LENGTHS: Final = {"string": "Length", "array": "Items", "object": "Properties"}
JSON_TYPES: Final = {str: "string", int: "integer", type(None): "null"}


def json_schema(cls: type[Message]) -> dict[str, Any]:
    """The schema as JSON. Raises: Misuse."""
    return Derivation(cls).schema()


class Derivation:
    """One schema while it is made: the values met on the way become its definitions."""

    def __init__(self, cls: type[Message]) -> None:
        self._cls, self._root = cls, described(cls)
        self._names = Names()
        self._definitions: dict[str, Any] = {}

    def schema(self) -> dict[str, Any]:
        root, head = self._root, head_of(self._cls)
        name = name_of(root)
        said: dict[str, Any] = {}
        if head is not None:
            said[head.type_field] = {"type": "string", "const": name}
            said[head.version_field] = {"type": "integer", "default": 1}
        body = self._object(root, said, [] if head is None else [head.type_field])
        if head is not None and head.time_field is not None:
            body["properties"][head.time_field] = {"type": "string", "format": "date-time"}
        found = {"$schema": DRAFT, "title": name, **body}
        if self._definitions:
            found["definitions"] = {key: self._definitions[key] for key in sorted(self._definitions)}
        return found

    def _object(self, struct: inspect.StructType, said: dict[str, Any], required: list[str]) -> dict[str, Any]:
        for field in struct.fields:
            said[field.encode_name] = self._field(field, f"{name_of(struct)}.{field.name}")
            if field.required:
                required.append(field.encode_name)
        found: dict[str, Any] = {"type": "object", "properties": said}
        if required:
            found["required"] = required
        return {**found, "additionalProperties": False}

    def _field(self, field: inspect.Field, inside: str) -> dict[str, Any]:
        found = self._type(field.type, inside)
        default = default_of(field)
        if default is NODEFAULT:
            return found
        if "$ref" in found:  # what stands beside a reference is not looked at in draft 7
            found = {"allOf": [found]}
        return {**found, "default": plain(default)}

    def _type(self, kind: inspect.Type, inside: str) -> dict[str, Any]:
        if isinstance(kind, inspect.Metadata):
            return self._type(kind.type, inside)
        if is_opaque(kind):
            return {}
        if isinstance(kind, inspect.StructType):
            return self._reference(kind, inside)
        if isinstance(kind, inspect.UnionType):
            return {"anyOf": [self._type(member, inside) for member in members(kind)]}
        if isinstance(kind, (inspect.EnumType, inspect.LiteralType)):
            return enumeration(choices(kind))
        if is_array(kind):
            unique = {"uniqueItems": True} if isinstance(kind, (inspect.SetType, inspect.FrozenSetType)) else {}
            return bounded({"type": "array", "items": self._type(kind.item_type, inside), **unique}, kind)
        if isinstance(kind, inspect.TupleType):
            parts = [self._type(part, inside) for part in kind.item_types]
            return {"type": "array", "items": parts, "minItems": len(parts), "maxItems": len(parts)}
        if isinstance(kind, inspect.DictType):
            return bounded({"type": "object", "additionalProperties": self._type(kind.value_type, inside)}, kind)
        return bounded(dict(FORMATS[type(kind)]), kind)

    def _reference(self, struct: inspect.StructType, inside: str) -> dict[str, Any]:
        if struct.cls is self._cls:  # a value that contains itself
            return {"$ref": "#"}
        name = name_of(struct)
        if self._names.take(name, struct.cls, inside):
            tag = {} if struct.tag_field is None else {struct.tag_field: {"const": struct.tag}}
            self._definitions[name] = self._object(struct, dict(tag), list(tag))
        return {"$ref": f"#/definitions/{name}"}


def enumeration(values: list[Any]) -> dict[str, Any]:
    kinds = {type(value) for value in values}
    only = kinds.pop() if len(kinds) == 1 else None
    return {"type": JSON_TYPES[only], "enum": values} if only in JSON_TYPES else {"enum": values}


def bounded(schema: dict[str, Any], kind: inspect.Type) -> dict[str, Any]:
    """With the constraints that the type carries."""
    for name, word in BOUNDS.items():
        bound = getattr(kind, name, None)
        if bound is not None:
            schema[word] = bound
    for name, word in (("min_length", "min"), ("max_length", "max")):
        bound = getattr(kind, name, None)
        if bound is not None:
            schema[word + LENGTHS[schema["type"]]] = bound
    return schema


def plain(value: Any) -> Any:
    """A default as it would stand in the JSON of a message."""
    return msgspec.json.decode(msgspec.json.encode(value, order="deterministic"))
