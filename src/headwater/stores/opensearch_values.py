"""Between Python values and the fields of a document, a column at a time.

A document's source holds what is read back: exact, and readable by anybody. Its mapping says what can be searched:

| type             | in the source              | mapped as                                                         |
|------------------|----------------------------|-------------------------------------------------------------------|
| str, UUID, time  | text                       | keyword (of texts over 8191 characters only the source knows)     |
| int              | number; over 64 bits: text | long                                                              |
| float, bool      | number, true or false      | double, boolean                                                   |
| Decimal          | text, exact                | double, for sums and ranges; `_hw.order.<column>` for exact order |
| date             | text                       | date                                                              |
| datetime         | text, UTC, microseconds    | date (milliseconds); `<column>.exact`, a keyword, for exact order |
| timedelta, bytes | text (ISO 8601, base64)    | keyword; `_hw.order.<column>` for the order                       |
| Enum, Literal    | its value                  | keyword or long                                                   |
| a list of Values | list                       | nested, with the fields of the Value                              |
| a Value          | object                     | object, with its fields                                           |
| anything else    | JSON                       | not searchable                                                    |

No value can be one that the server refuses: what a field cannot hold is left out of its index.
"""

from __future__ import annotations

import enum
import math
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal, NamedTuple, get_args, get_origin
from uuid import UUID

import msgspec

from headwater.errors import Misuse
from headwater.stores.cells import as_json, cell_for, one_of
from headwater.stores.integers import MARK, all_fit, fits
from headwater.stores.shapes import plain, without_none

LONGEST_TERM = 8191
SEARCHED = 4000
"""Texts of more characters are compared here, not there."""

Mapped = dict[str, Any]
KEYWORD: Mapped = {"type": "keyword", "ignore_above": LONGEST_TERM}
LONG: Mapped = {"type": "long", "ignore_malformed": True}
DOUBLE: Mapped = {"type": "double", "ignore_malformed": True}
DATE: Mapped = {"type": "date", "format": "strict_date", "ignore_malformed": True}
TIME: Mapped = {"type": "date", "format": "strict_date_optional_time_nanos", "ignore_malformed": True}
UNSEARCHED: Mapped = {"type": "object", "enabled": False}
_DIGITS = str.maketrans("0123456789", "9876543210")
_MIDDLE, _FAR = 500, 10**19


class Field(NamedTuple):
    """How values of one type are kept.

    Arguments: mapping: of the field; encode: from values, none of them None, to what is written (None: they are
    written as they are); kept: the type that is read from the source; decode: from that to the value (None: it is right
    already); order: from a value to the text that sorts as it does (None for a value that its field sorts); sorts: the
    fields that a column is sorted by, `{}` for its name (none: it cannot be sorted by); sorted: whether its field sorts
    all of these values.
    """

    mapping: Mapped
    encode: Callable[[list[Any]], list[Any]] | None
    kept: Any
    decode: Callable[[Any], Any] | None = None
    order: Callable[[Any], str | None] | None = None
    sorts: tuple[str, ...] = ("{}",)
    sorted: Callable[[list[Any]], bool] | None = None


def order_of(number: Decimal | int) -> str:
    """A text that sorts as the number does: sign, magnitude, digits; of equal numbers the same one."""
    value = Decimal(number)
    if not value.is_finite():
        return "9" if value.is_nan() else "1" if value < 0 else "8"
    digits = "".join(map(str, value.as_tuple().digits)).lstrip("0").rstrip("0")
    if not digits:
        return "5"
    size = value.adjusted()
    if abs(size) < _MIDDLE:
        text = f"1{size + _MIDDLE:03}"
    else:
        text = f"{2 if size > 0 else 0}{size + _FAR:020}"
    if value > 0:
        return f"6{text}{digits}"[:LONGEST_TERM]
    return f"4{(text + digits).translate(_DIGITS)}"[: LONGEST_TERM - 1] + "~"


def _large_order(number: int) -> str | None:
    return None if fits(number) else order_of(number)


def _float_order(number: float) -> str | None:
    return None if math.isfinite(number) else order_of(Decimal(number))


def _all_finite(numbers: list[Any]) -> bool:
    return all(map(math.isfinite, numbers))


def _integers(values: list[Any], *, large: bool) -> list[Any]:
    if all_fit(values):
        return values
    if not large:
        raise Misuse(f"{max(values, key=abs)} does not fit in 64 bits: use a str")
    return [value if fits(value) else f"{value}{MARK}" for value in values]


def _integer(kept: int | str) -> int:
    return kept if isinstance(kept, int) else int(kept.removesuffix(MARK))


def _floats(values: list[Any]) -> list[Any]:
    return [value if math.isfinite(value) else repr(value) for value in map(float, values)]


def _strings(values: list[Any]) -> list[Any]:
    "".join(values).encode()  # half of a surrogate pair is found here
    return values if set(map(type, values)) <= {str} else list(map(str.__str__, values))


def _moments(values: list[Any]) -> list[Any]:
    for value in values:
        if value.tzinfo is None:
            raise Misuse(f"{value!r} has no time zone: use datetimes with one")
    return [value.astimezone(UTC).isoformat(timespec="microseconds") for value in values]


def _microseconds(value: timedelta) -> str:
    return order_of(value // timedelta(microseconds=1))


def _each(function: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda values: list(map(function, values))


def _enum_value(member: enum.Enum) -> Any:
    return member.value


_TEXT = Field(KEYWORD, _strings, str)
_WHOLE = Field(LONG, partial(_integers, large=False), int)
_FIELDS: dict[Any, Field] = {
    str: _TEXT,
    bool: Field({"type": "boolean"}, None, bool),
    float: Field(DOUBLE, _floats, float | str, float, _float_order, ("_hw.order.{}", "{}"), _all_finite),
    bytes: Field(KEYWORD, _each(lambda value: b64encode(value).decode()), bytes, None, bytes.hex, ("_hw.order.{}",)),
    Decimal: Field(DOUBLE, _each(str), Decimal, None, order_of, ("_hw.order.{}",)),
    date: Field(DATE, _each(date.isoformat), date),
    datetime: Field({**TIME, "fields": {"exact": {"type": "keyword"}}}, _moments, datetime, sorts=("{}.exact",)),
    time: Field(KEYWORD, _each(time.isoformat), time),
    timedelta: Field(KEYWORD, _each(msgspec.to_builtins), timedelta, None, _microseconds, ("_hw.order.{}",)),
    UUID: Field(KEYWORD, _each(str), UUID),
}
_LARGE = Field(LONG, partial(_integers, large=True), int | str, _integer, _large_order, ("_hw.order.{}", "{}"), all_fit)


def field_for(kind: Any, *, key: bool) -> Field:
    """How values of a type (without None) are kept. Arguments: key: in a column of the key."""
    if kind is int:
        return _WHOLE if key else _LARGE
    found = _FIELDS.get(kind)
    if found is not None:
        return found
    if cell_for(kind).accepts:  # an Enum or a Literal of texts or of whole numbers
        if get_origin(kind) is Literal:
            base = _TEXT if isinstance(get_args(kind)[0], str) else _WHOLE
            return Field(base.mapping, _each(one_of(kind)), kind)
        base = _TEXT if isinstance(next(iter(kind)).value, str) else _WHOLE
        return Field(base.mapping, _each(_enum_value), kind)
    write = as_json(kind)
    return Field(nested_mapping(kind), _each(lambda value: msgspec.Raw(write(value).encode())), kind, sorts=())


def nested_mapping(annotation: Any, inside: tuple[Any, ...] = ()) -> Mapped:
    """How a value inside others is searched, as far as its type says."""
    kind, _ = without_none(annotation)
    found = _FIELDS.get(kind)
    if kind is int:
        return LONG
    if found is not None:
        return {**TIME} if kind is datetime else found.mapping
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (list, set, frozenset, Sequence) or (origin is tuple and arguments[1:] == (...,)):
        item = nested_mapping(arguments[0], inside)
        return {**item, "type": "nested"} if "properties" in item else item
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in inside:
        fields = msgspec.structs.fields(kind)
        properties = {field.encode_name: nested_mapping(field.type, (*inside, kind)) for field in fields}
        return {"type": "object", "dynamic": False, "properties": properties}
    if not isinstance(plain(kind), type) and origin is not Literal:
        return UNSEARCHED
    if cell_for(kind).accepts:
        return field_for(kind, key=True).mapping
    return UNSEARCHED


def order_columns(fields: Mapping[str, Field]) -> Mapped:
    """The mapping of `_hw.order`."""
    return {name: KEYWORD for name, field in fields.items() if field.order is not None}


def searched(field: Field, name: str, value: Any) -> tuple[str, Any] | None:
    """The field and the term that find a value; None where only a look at each row can tell. Raises: Misuse."""
    ordered = None if field.order is None else field.order(value)
    if ordered is not None:
        return (f"_hw.order.{name}", ordered) if len(ordered) <= SEARCHED else None
    if not field.sorts:
        return None
    [written] = [value] if field.encode is None else field.encode([value])
    if isinstance(written, str) and len(written) > SEARCHED:
        return None
    return field.sorts[-1].format(name), written


def present(values: Collection[Any], encode: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """Encodes the values that are not None."""
    if None not in values:
        return encode(list(values))
    written = iter(encode([value for value in values if value is not None]))
    return [None if value is None else next(written) for value in values]


def argument(value: Any) -> Any:
    """A value given with a query, as it is written into a document. Raises: Misuse."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [argument(one) for one in value]
    for kind in (datetime, str, int, float, bytes, Decimal, date, time, timedelta, UUID):
        if isinstance(value, kind):
            encode = field_for(kind, key=False).encode
            return value if encode is None else encode([value])[0]
    return msgspec.to_builtins(value)
