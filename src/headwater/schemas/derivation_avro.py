"""The Avro schema of a class: one record, its values inside it.

| in the class | in Avro | |
|---|---|---|
| `str`, `bool`, `bytes`, `float` | `string`, `boolean`, `bytes`, `double` | |
| `int` | `long` | one outside of 64 bits is refused when it is written |
| `Decimal` | `string` | Avro's own `decimal` has one scale for all; a text keeps what was given |
| `datetime`, `date`, `time`, `UUID` | `timestamp-micros`, `date`, `time-micros`, `uuid` | |
| `timedelta` | `string` | ISO 8601, as in JSON; Avro's `duration` knows no microseconds |
| `Enum`, `Literal` of names | `enum` | of other texts: `string`; of numbers: `long` |
| `list`, `set`, `tuple` | `array` | |
| `dict` | `map` | |
| a union | a union, `null` first, or what the default is | |
| `hw.Value` | a record | its `tag=` is a field |
| `Any`, `hw.RawJson` | `string` | JSON as text |
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, inspect

from headwater.errors import Misuse
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

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
TIMESTAMP: Final = {"type": "long", "logicalType": "timestamp-micros"}
JSON_TEXT: Final = {"type": "string", "contentMediaType": "application/json"}
SCALARS: Final[dict[type[inspect.Type], Any]] = {
    inspect.NoneType: "null",
    inspect.BoolType: "boolean",
    inspect.IntType: "long",
    inspect.FloatType: "double",
    inspect.StrType: "string",
    inspect.BytesType: "bytes",
    inspect.DecimalType: {"type": "string", "format": "decimal"},
    inspect.DateTimeType: TIMESTAMP,
    inspect.DateType: {"type": "int", "logicalType": "date"},
    inspect.TimeType: {"type": "long", "logicalType": "time-micros"},
    inspect.TimeDeltaType: {"type": "string", "format": "duration"},
    inspect.UUIDType: {"type": "string", "logicalType": "uuid"},
}
TAKEN_BY: Final[dict[type[inspect.Type], type]] = {
    inspect.NoneType: type(None),
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.BytesType: bytes,
    inspect.ListType: list,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
    inspect.VarTupleType: tuple,
    inspect.TupleType: tuple,
    inspect.DictType: dict,
}
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY: Final = EPOCH.toordinal()


def avro_schema(cls: type[Message]) -> Any:
    """The schema as JSON. Raises: Misuse."""
    return Derivation(cls).schema()


class Derivation:
    """One schema while it is made: a named type is written out where it comes first, later it is its name."""

    def __init__(self, cls: type[Message]) -> None:
        self._cls, self._root = cls, described(cls)
        self._names = Names()

    def schema(self) -> Any:
        head, name = head_of(self._cls), name_of(self._root)
        if head is None:
            return self._record(self._root, name)
        fields: list[Any] = [
            {"name": head.type_field, "type": "string", "default": name},
            {"name": head.version_field, "type": "int", "default": 1},
        ]
        self._names.take(avro_name(name), self._cls, name)
        fields += self._fields(self._root)
        if head.time_field is not None:
            fields.append({"name": head.time_field, "type": ["null", TIMESTAMP], "default": None})
        return {"type": "record", "name": avro_name(name), "fields": fields}

    def _record(self, struct: inspect.StructType, inside: str) -> Any:
        name = avro_name(name_of(struct))
        if not self._names.take(name, struct.cls, inside):
            return name
        fields = []
        if struct.tag_field is not None:
            tag = self._choice([struct.tag], f"{name}_{struct.tag_field}", struct, inside)
            fields.append({"name": field_name(struct.tag_field, inside), "type": tag})
        return {"type": "record", "name": name, "fields": fields + self._fields(struct)}

    def _fields(self, struct: inspect.StructType) -> list[Any]:
        found = []
        for field in struct.fields:
            inside = f"{name_of(struct)}.{field.name}"
            default = default_of(field)
            described_here = {
                "name": field_name(field.encode_name, inside),
                "type": self._type(field.type, inside, default),
            }
            if default is not NODEFAULT:
                described_here["default"] = default_text(field.type, default)
            found.append(described_here)
        return found

    def _type(self, kind: inspect.Type, inside: str, default: Any = NODEFAULT) -> Any:
        if isinstance(kind, inspect.Metadata):
            return self._type(kind.type, inside, default)
        if is_opaque(kind):
            return JSON_TEXT
        if isinstance(kind, inspect.StructType):
            return self._record(kind, inside)
        if isinstance(kind, inspect.UnionType):
            return [self._type(member, inside) for member in branches(kind, default)]
        if isinstance(kind, inspect.EnumType):
            return self._choice(choices(kind), kind.cls.__name__, kind.cls, inside)
        if isinstance(kind, inspect.LiteralType):
            return self._choice(choices(kind), avro_name(inside.replace(".", "_")), kind.values, inside)
        if is_array(kind):
            return {"type": "array", "items": self._type(kind.item_type, inside)}
        if isinstance(kind, inspect.TupleType):
            return {"type": "array", "items": self._tuple(kind, inside)}
        if isinstance(kind, inspect.DictType):
            return {"type": "map", "values": self._type(kind.value_type, inside)}
        return SCALARS[type(kind)]

    def _tuple(self, kind: inspect.TupleType, inside: str) -> Any:
        """The element type of an array that holds these types in turn."""
        found: list[Any] = []
        for part in kind.item_types:
            schema = self._type(part, inside)
            found += [one for one in (schema if isinstance(schema, list) else [schema]) if one not in found]
        return found[0] if len(found) == 1 else found

    def _choice(self, values: list[Any], name: str, owner: object, inside: str) -> Any:
        """An enum, where all values can be symbols; else what they are."""
        if all(isinstance(value, str) and NAME.fullmatch(value) for value in values):
            if not self._names.take(name, owner, inside):
                return name
            return {"type": "enum", "name": name, "symbols": values}
        kinds = {type(value): value for value in values}
        found = [word for kind, word in ((type(None), "null"), (int, "long"), (str, "string")) if kind in kinds]
        return found[0] if len(found) == 1 else found


def avro_name(name: str) -> str:
    """A wire name as Avro can have it: what is no letter or digit becomes `_`, and so do dots, since a name with a
    namespace would carry it over to the names inside. The record itself says the whole name."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if NAME.fullmatch(plain) else f"_{plain}"


def field_name(name: str, inside: str) -> str:
    if NAME.fullmatch(name):
        return name
    raise Misuse(
        f"{inside} is called {name!r} on the wire, and Avro has letters, digits and '_' in names only: "
        "give the field another name, or keep the topic in JSON"
    )


def branches(union: inspect.UnionType, default: Any) -> list[inspect.Type]:
    """The types of a union: the default's first, as Avro wants it."""
    kinds = members(union)
    if default is NODEFAULT:
        return kinds
    first = branch_of(kinds, default)
    return [first, *(kind for kind in kinds if kind is not first)]


def branch_of(kinds: list[inspect.Type], value: Any) -> inspect.Type:
    """Which type of a union a value is of."""
    for kind in kinds:
        wanted = kind.cls if isinstance(kind, (inspect.StructType, inspect.EnumType)) else TAKEN_BY.get(type(kind))
        if wanted is type(value):
            return kind
        if isinstance(kind, inspect.LiteralType) and value in kind.values:
            return kind
    # What is left is one text at most: `msgspec` allows no two in a union.
    rest = [kind for kind in kinds if type(kind) not in TAKEN_BY and not isinstance(kind, inspect.StructType)]
    return (rest or kinds)[0]


def default_text(kind: inspect.Type, value: Any) -> Any:
    """A default as Avro's JSON says it."""
    if isinstance(kind, inspect.Metadata):
        return default_text(kind.type, value)
    if is_opaque(kind):
        return msgspec.json.encode(value).decode()
    if isinstance(kind, inspect.UnionType):
        return default_text(branch_of(members(kind), value), value)
    if isinstance(kind, inspect.StructType):
        tag = {} if kind.tag_field is None else {kind.tag_field: kind.tag}
        return tag | {f.encode_name: default_text(f.type, getattr(value, f.name)) for f in kind.fields}
    if is_array(kind):
        ordered = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [default_text(kind.item_type, element) for element in ordered]
    if isinstance(kind, inspect.TupleType):
        return [default_text(part, element) for part, element in zip(kind.item_types, value, strict=True)]
    if isinstance(kind, inspect.DictType):
        keys = msgspec.to_builtins(list(value))
        return {
            str(key): default_text(kind.value_type, element) for key, element in zip(keys, value.values(), strict=True)
        }
    return scalar_text(value)


def scalar_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return value.toordinal() - EPOCH_DAY
    if isinstance(value, time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return msgspec.to_builtins(value)
