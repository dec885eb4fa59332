"""Sample records of an event's class, made from its fields alone: the same ones each time, and others when a field
changes.

The first has only what must be there, the others have every field; of a union each member is in one of them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import inspect

from headwater.errors import Misuse
from headwater.messages.declare import Event, check
from headwater.messages.json_codec import JsonCodec
from headwater.schemas.describing import described, members

TIME: Final = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
MOST_SAMPLES, DEEPEST = 9, 4

SIMPLE: Final[dict[type[inspect.Type], Any]] = {
    inspect.NoneType: None,
    inspect.BoolType: True,
    inspect.DecimalType: "1.50",
    inspect.DateTimeType: "2024-04-10T10:30:00.000001Z",
    inspect.DateType: "2024-04-10",
    inspect.TimeType: "10:30:00",
    inspect.TimeDeltaType: "PT90S",
    inspect.UUIDType: "018ec5c0-0000-7000-8000-000000000001",
    inspect.BytesType: "AQI=",
    inspect.AnyType: {"any": 1},
    inspect.RawType: {"any": 1},
}


def samples_of(cls: type[Event]) -> list[bytes]:
    """Values of records, as the codec writes them. Raises: Misuse: a field whose values cannot be thought up."""
    codec: JsonCodec[Event] = JsonCodec([cls])
    fields = described(cls).fields
    required = {one.encode_name: _value(one.type, 0, 0) for one in fields if one.required}
    whole = [{one.encode_name: _value(one.type, n, 0) for one in fields} for n in range(MOST_SAMPLES)]
    found: dict[bytes, None] = {}
    for sample in (required, *whole):
        try:
            event = msgspec.json.decode(msgspec.json.encode(sample), type=cls)
            check(event)
        except (msgspec.ValidationError, Misuse) as error:
            raise Misuse(f"no sample of {cls.__name__} can be made: {error}; write one into its file") from error
        found[codec.encode(event, TIME)] = None
    return list(found)


def _value(kind: inspect.Type, choice: int, depth: int) -> Any:
    """A value, as JSON has it. Arguments: choice: of a union's members; depth: of values in values."""
    if type(kind) in SIMPLE:
        return SIMPLE[type(kind)]
    match kind:
        case inspect.StrType(min_length=least):
            return "text".ljust(least or 0, "x")
        case inspect.IntType() | inspect.FloatType():
            return _number(kind)
        case inspect.LiteralType(values=values):
            return values[choice % len(values)]
        case inspect.EnumType(cls=enum):
            known = list(enum)
            return known[choice % len(known)].value
        case inspect.UnionType():
            return _member(kind, choice, depth)
        case inspect.TupleType(item_types=kinds):
            return [_value(one, choice, depth) for one in kinds]
        case inspect.DictType(key_type=key, value_type=value):
            text = _value(key, choice, depth)
            return {} if depth > DEEPEST else {str(text): _value(value, choice, depth + 1)}
        case inspect.StructType(fields=fields):
            found = {kind.tag_field: kind.tag} if kind.tag_field is not None else {}
            shown = fields if depth <= DEEPEST else [one for one in fields if one.required]
            return found | {one.encode_name: _value(one.type, choice, depth + 1) for one in shown}
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
            count = max(1, kind.min_length or 0) if depth <= DEEPEST else 0
            return [_value(kind.item_type, choice, depth + 1)] * count
        case _:
            raise Misuse(f"no sample of {type(kind).__name__} can be thought up; write one into the file of its event")


def _number(kind: inspect.IntType | inspect.FloatType) -> int | float:
    whole = isinstance(kind, inspect.IntType)
    for candidate in (7, 1, 0, -1, kind.ge, kind.le, (kind.gt or 0) + 1, (kind.lt or 0) - 1):
        if candidate is None:
            continue
        fits = (kind.gt is None or candidate > kind.gt) and (kind.ge is None or candidate >= kind.ge)
        if fits and (kind.lt is None or candidate < kind.lt) and (kind.le is None or candidate <= kind.le):
            return int(candidate) if whole else float(candidate)
    return 0


def _member(kind: inspect.UnionType, choice: int, depth: int) -> Any:
    """In turn, but null only where it goes too deep."""
    known = members(kind)
    others = [one for one in known if not isinstance(one, inspect.NoneType)]
    if depth > DEEPEST and len(others) < len(known):
        return None
    return _value(others[choice % len(others)], choice, depth)
