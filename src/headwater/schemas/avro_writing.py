"""Events to Avro bytes, by the schema that is derived from their class.

A class is compiled once into functions that give for each field what fastavro wants: a dictionary for a value, a pair
(name, dictionary) where a union has several, JSON as text for what stands for any JSON.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

import fastavro
import msgspec
from msgspec import inspect

from headwater.errors import Misuse
from headwater.messages.declare import Message
from headwater.schemas.derivation_avro import TAKEN_BY, avro_name
from headwater.schemas.describing import described, head_of, is_array, is_opaque, members, name_of

Datum = Callable[[Any], Any]
"""From a value of a type to what fastavro wants."""

AS_TEXT: Final = (inspect.DecimalType, inspect.TimeDeltaType)
CLASSES: Final = TAKEN_BY | {inspect.DecimalType: Decimal, inspect.TimeDeltaType: timedelta}
TAKEN_FROM: Final = (LookupError, ValueError, TypeError, ArithmeticError, RecursionError)
"""What fastavro raises for a value that the schema cannot say."""


class AvroWriter:
    """Writes the events of one class. Arguments: cls; schema: the text of its schema, as it is registered."""

    def __init__(self, cls: type[Message], schema: str) -> None:
        self._cls = cls
        self._schema = fastavro.parse_schema(json.loads(schema))
        root, head = described(cls), head_of(cls)
        assert head is not None  # only messages have records of their own
        self._fields = Fields({}).of(root)
        self._said = {head.type_field: name_of(root), head.version_field: cls.__hw__.version}
        self._time_field = head.time_field

    def write(self, message: Message, time: datetime | None, begin: bytes) -> bytes:
        """The value, behind `begin`. Raises: Misuse: a number that 64 bits do not hold, a text that is no Unicode."""
        out = io.BytesIO()
        out.write(begin)
        try:
            datum = {**self._said, **self._fields(message)}
            if self._time_field is not None:
                datum[self._time_field] = time
            fastavro.schemaless_writer(out, self._schema, datum)
        except TAKEN_FROM as reason:
            raise Misuse(f"{self._cls.__name__} cannot be written as Avro: {reason}") from reason
        return out.getvalue()


class Fields:
    """Compiles types. Arguments: known: the value classes so far, since one may contain itself."""

    def __init__(self, known: dict[type, Datum]) -> None:
        self._known = known

    def of(self, struct: inspect.StructType) -> Datum:
        """Of a message or value."""
        cls = struct.cls
        if cls in self._known:
            return self._known[cls]
        parts: list[tuple[str, Callable[[Any], Any], Datum | None]] = []
        tag = {} if struct.tag_field is None or cls.__hw__.kind != "value" else {struct.tag_field: struct.tag}  # type: ignore[attr-defined] # only declared classes

        def datum(value: Any) -> Any:
            found: dict[str, Any] = dict(tag)
            for name, get, inner in parts:
                found[name] = get(value) if inner is None else inner(get(value))
            return found

        self._known[cls] = datum
        for field in struct.fields:
            parts.append((field.encode_name, attrgetter(field.name), self._type(field.type)))
        return datum

    def _type(self, kind: inspect.Type) -> Datum | None:
        """None: as it is."""
        if isinstance(kind, inspect.Metadata):
            return self._type(kind.type)
        if is_opaque(kind):
            return lambda value: msgspec.json.encode(value).decode()
        if isinstance(kind, inspect.StructType):
            return self.of(kind)
        if isinstance(kind, AS_TEXT):
            return msgspec.to_builtins
        if isinstance(kind, inspect.EnumType):
            return attrgetter("value")
        if isinstance(kind, inspect.UnionType):
            return self._union(kind)
        if is_array(kind):
            inner = self._type(kind.item_type)
            return list if inner is None else lambda values: list(map(inner, values))
        if isinstance(kind, inspect.TupleType):
            inners = [self._type(part) or as_it_is for part in kind.item_types]
            return lambda values: [inner(value) for inner, value in zip(inners, values, strict=True)]
        if isinstance(kind, inspect.DictType):
            values = self._type(kind.value_type) or as_it_is
            return lambda value: {text_of(key): values(part) for key, part in value.items()}
        return None

    def _union(self, kind: inspect.UnionType) -> Datum | None:
        """By the class of the value; a value of hw.Value with its name, by which fastavro finds the branch."""
        by_class: dict[type, Datum] = {}
        for member in members(kind):
            inner = self._type(member)
            if isinstance(member, inspect.StructType):
                by_class[member.cls] = named(avro_name(name_of(member)), self.of(member))
            elif inner is not None:
                by_class[member.cls if isinstance(member, inspect.EnumType) else CLASSES[type(member)]] = inner
        if not by_class:
            return None

        def datum(value: Any) -> Any:
            inner = by_class.get(type(value))
            return value if inner is None else inner(value)

        return datum


def named(name: str, inner: Datum) -> Datum:
    return lambda value: (name, inner(value))


def as_it_is(value: Any) -> Any:
    return value


def text_of(key: Any) -> str:
    """The key of a dictionary, as JSON has it."""
    if type(key) is str:
        return key
    (text,) = msgspec.to_builtins({key: None}, str_keys=True)
    return str(text)
