"""Avro bytes to plain values, by the schema of their writer, and to the JSON that says the same.

What comes out is what fastavro gives: texts, numbers, dates and times, dictionaries by field name. The JSON is flat
like that of any event; it is what people are shown, and the way of everything that is not the usual (see `codec`).
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

from headwater.messages.declare import TYPE_FIELDS
from headwater.schemas.derivation_avro import JSON_TEXT
from headwater.schemas.describing import TIME_FIELD
from headwater.schemas.framing import BY_ID, SIZES
from headwater.schemas.port import Schema
from headwater.schemas.skimming import Garbled, NoSchema, is_dangerous, parts_of, resolved, skim, types_in, whole_number

NO_AVRO: Final = (SchemaParseException, UnknownType, ValueError, TypeError, LookupError, AttributeError, RecursionError)
BROKEN: Final = (LookupError, ValueError, TypeError, ArithmeticError, EOFError, MemoryError, RecursionError)
"""What fastavro raises where the bytes lead it."""

DEEPEST_SCHEMA: Final = 200
RECORDS: Final = ("record", "error")
FLOATS: Final = ("float", "double")

Amend = Callable[[Any], Any]
"""From what fastavro gives to what JSON can say."""


class AvroReader:
    """Reads values of one schema, or of one branch of a union.

    `name`: of the record that it describes, without namespace ("": it describes something else); `fields`: of that
    record; `says`: the type that its schema gives as the default ("": none); `plain`: whether what it gives is what a
    class takes, value by value; `timeless`: the schema for many usual values at once, where the record's own time is a
    mere number (None: its values have to be looked at one by one).
    """

    def __init__(self, schema: Any, named: Mapping[str, Any], timeless: Any = None) -> None:
        self._schema, self._named = schema, named
        top = resolved(schema, named)
        record = isinstance(top, dict) and top["type"] in RECORDS
        self.name: str = top["name"].rpartition(".")[2] if record else ""
        fields = {field["name"]: field for field in top["fields"]} if record else {}
        self.fields = frozenset(fields)
        default = fields.get(TYPE_FIELDS["event"], {}).get("default")
        self.says = default if isinstance(default, str) else ""
        self._dangerous = is_dangerous(schema, named)
        types = list(types_in(schema, named))
        self._floats = any(word in FLOATS for one in [top, *types] for word in words_in(one, named))
        self._amend: Amend | None = None
        self.plain = record and not any(map(is_json_text, types))
        if record and not self.plain:
            self._amend = amend_of(schema, named, {})
        usual = self.plain and not self._dangerous and not self._floats and TYPE_FIELDS["event"] in self.fields
        self.timeless = timeless if usual else None

    def read(self, value: bytes, start: int) -> Any:
        """The value whose body begins at `start`. Raises: Garbled."""
        if self._dangerous:
            skim(self._schema, self._named, value[start:])
        body = io.BytesIO(value)
        body.seek(start)
        try:
            found = fastavro.schemaless_reader(body, self._schema, None)
        except BROKEN as reason:
            raise Garbled(f"no Avro of its schema: {type(reason).__name__} {reason}".rstrip()) from reason
        if body.tell() != len(value):
            raise Garbled(f"no Avro of its schema, which ends {len(value) - body.tell()} bytes before the value does")
        if self._floats and not is_finite(found):
            raise Garbled("one of its numbers is not finite: no message can hold it")
        return found

    def json(self, value: bytes, start: int, said: Mapping[str, Any]) -> bytes:
        """The same as JSON. Arguments: said: fields that come first, unless it has them itself. Raises: Garbled."""
        found = self.read(value, start)
        if self._amend is not None:
            found = self._amend(found)
        return msgspec.json.encode({**said, **found} if isinstance(found, dict) else found)


class AvroReaders:
    """The readers of a schema: one, or one for each branch of a union. Raises: NoSchema."""

    def __init__(self, schema: Schema) -> None:
        named: dict[str, Any] = {}
        try:
            for _, text in schema.references:
                fastavro.parse_schema(loaded(text), named)
            parsed = fastavro.parse_schema(loaded(schema.text), named)
            self._union = isinstance(parsed, list)
            if isinstance(parsed, list):
                self.readers: Sequence[AvroReader] = [AvroReader(ready(one, named), named) for one in parsed]
            else:
                timeless = None if schema.references else fastavro.parse_schema(without_time(loaded(schema.text)), {})
                self.readers = [AvroReader(parsed, named, timeless)]
        except NO_AVRO as reason:
            raise NoSchema(f"its schema is no Avro: {type(reason).__name__}: {reason}") from reason

    def at(self, value: bytes, start: int) -> tuple[AvroReader, int]:
        """The reader of a value whose body begins at `start`, and where to begin. Raises: Garbled."""
        if not self._union:
            return self.readers[0], start
        branch, start = whole_number(value, start)
        if not 0 <= branch < len(self.readers):
            raise Garbled(f"its schema is a union of {len(self.readers)}, and branch {branch} is given")
        return self.readers[branch], start

    @property
    def timeless(self) -> Any:
        """For `read_many`; None: values have to be looked at one by one."""
        return None if self._union else self.readers[0].timeless

    @staticmethod
    def read_many(values: Sequence[bytes], schemas: Mapping[bytes, Any]) -> list[Any]:
        """Values with a frame of five bytes, each by the schema of its frame. Raises: Garbled, without words: one of
        them has to be looked at."""
        found = []
        read, stream, frame = fastavro.schemaless_reader, io.BytesIO, SIZES[BY_ID]
        try:
            for value in values:
                body = stream(value)
                body.seek(frame)
                found.append(read(body, schemas[value[:frame]], None))
                if body.tell() != len(value):
                    raise Garbled
        except BROKEN as reason:
            raise Garbled from reason
        return found


def loaded(text: str) -> Any:
    """The JSON of a schema. Raises: ValueError: none, or nested more deeply than it could be followed."""
    deep = most = 0
    for letter in text:  # quotes may hold brackets: then it is only said to be deeper than it is
        deep += (letter in "[{") - (letter in "]}")
        most = max(most, deep)
    if most > DEEPEST_SCHEMA:
        raise ValueError(f"it is nested over {DEEPEST_SCHEMA} levels deep")
    return json.loads(text)


def without_time(schema: Any) -> Any:
    """A record's schema by which its own time is read as a mere number: making times of numbers takes long, and no
    class has it as a field."""
    for field in schema.get("fields", ()) if isinstance(schema, dict) else ():
        if field["name"] == TIME_FIELD:
            kind = field["type"]
            field["type"] = [bare(branch) for branch in kind] if isinstance(kind, list) else bare(kind)
    return schema


def bare(schema: Any) -> Any:
    known = isinstance(schema, dict) and "logicalType" in schema
    return {word: said for word, said in schema.items() if word != "logicalType"} if known else schema


def ready(branch: Any, named: Mapping[str, Any]) -> Any:
    """A branch of a parsed union as a parsed schema of its own."""
    found = resolved(branch, named)
    return {**found, "__fastavro_parsed": True, "__named_schemas": named} if isinstance(found, dict) else found


def words_in(schema: Any, named: Mapping[str, Any]) -> list[Any]:
    """The types that a type names, one step inside."""
    one = resolved(schema, named)
    if isinstance(one, str):
        return [one]
    inner = one if isinstance(one, list) else [one["type"], *parts_of(one)]
    found = [resolved(part, named) for part in inner]
    flat = [branch for part in found for branch in (part if isinstance(part, list) else [part])]
    return [part["type"] if isinstance(part, dict) else part for part in flat]


def is_finite(value: Any) -> bool:
    """Whether all floats in plain values are."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return all(map(is_finite, value.values()))
    return kind is not list or all(map(is_finite, value))


def is_json_text(schema: Any) -> bool:
    return isinstance(schema, dict) and JSON_TEXT.items() <= schema.items()


def amend_of(schema: Any, named: Mapping[str, Any], known: dict[int, Amend | None]) -> Amend | None:
    """What makes JSON of the texts that hold JSON; None: there are none. Arguments: known: of the records so far."""
    one = resolved(schema, named)
    if is_json_text(one):
        return as_raw
    if isinstance(one, list):
        return amend_of_union(one, named, known)
    if not isinstance(one, dict):
        return None
    if one["type"] in RECORDS:
        return amend_of_record(one, named, known)
    if "items" in one:
        return in_list(amend_of(one["items"], named, known))
    if "values" in one:
        return in_map(amend_of(one["values"], named, known))
    return None


def in_list(inner: Amend | None) -> Amend | None:
    return None if inner is None else lambda values: list(map(inner, values))


def in_map(inner: Amend | None) -> Amend | None:
    return None if inner is None else lambda values: {key: inner(value) for key, value in values.items()}


def amend_of_record(record: dict[str, Any], named: Mapping[str, Any], known: dict[int, Amend | None]) -> Amend | None:
    if id(record) in known:
        return known[id(record)]
    fields: dict[str, Amend] = {}

    def amend(value: Any) -> Any:
        return {name: fields[name](part) if name in fields else part for name, part in value.items()}

    known[id(record)] = amend  # it may contain itself
    for field in record["fields"]:
        inner = amend_of(field["type"], named, known)
        if inner is not None:
            fields[field["name"]] = inner
    known[id(record)] = amend if fields else None
    return known[id(record)]


def amend_of_union(branches: list[Any], named: Mapping[str, Any], known: dict[int, Amend | None]) -> Amend | None:
    """By what the value is: a record is known by its fields."""
    amends = [(resolved(branch, named), amend_of(branch, named, known)) for branch in branches]
    if not any(amend for _, amend in amends):
        return None

    def amend(value: Any) -> Any:
        for branch, inner in amends:
            if inner is not None and fits(branch, value):
                return inner(value)
        return value

    return amend


def fits(branch: Any, value: Any) -> bool:
    if branch["type"] in RECORDS:
        return isinstance(value, dict) and value.keys() == {field["name"] for field in branch["fields"]}
    wanted = {"string": str, "array": list, "map": dict}[branch["type"]]
    return isinstance(value, wanted)


def as_raw(text: str) -> msgspec.Raw:
    """Raises: Garbled: it is no JSON."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as reason:
        raise Garbled(f"a text that should be JSON is none: {reason}") from reason
    return msgspec.Raw(text.encode())
