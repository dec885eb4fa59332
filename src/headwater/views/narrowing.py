"""An event class cut down to the fields that a view uses, each as the class declares it.

    class OrderPlaced(OrderEvent):          SELECT SUM(item_price) … WHERE status = 'open'
        order_id: hw.Key[str]
        status: Literal["open", "done"]  ─►  status: Literal["open", "done"]
        items: list[Item]                ─►  items: list[Item with item_price alone]
        note: str

A record that has to be read by its class is read by this one, so a fault elsewhere is none of the view's, however the
record is written. What `from_json` cannot know of a field, as which texts an Enum has, is `undeclared`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from headwater.messages.annotations import strict, unwrapped
from headwater.views.plan import EventType, Field
from headwater.views.types import JSON, ListOf, MapOf, Member, Scalar, SqlType, StructOf, literal, quoted

FILLED: Final = msgspec.Meta(min_length=1)
"""What is asked of each key."""

SETS: Final = (set, frozenset)
BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


class Used(NamedTuple):
    """A field of a class that a view uses. Arguments: name; wire: its name in records; note: its annotation; type:
    what is used of it; default: NODEFAULT: it has to be there."""

    name: str
    wire: str
    note: Any
    type: SqlType
    default: Any


def narrowed(kind: EventType) -> Any:
    """The class of an event type with the fields that are used."""
    return _class_of(kind.cls, kind.fields)


def nullable(kind: EventType) -> list[bool]:
    """Of each field of an event type that is used, whether it may be null."""
    return [_takes_none(one.note) for one in used_of(kind.cls, kind.fields)]


def _takes_none(note: Any) -> bool:
    note = unwrapped(note)
    origin, parts = get_origin(note), get_args(note)
    if origin is Annotated:
        return _takes_none(parts[0])
    return note is NoneType or (origin in (Union, UnionType) and any(map(_takes_none, parts)))


def undeclared(kind: EventType) -> list[str]:
    """SQL on the row `x` of a record of the type: tests that find values which the class may not take."""
    used = used_of(kind.cls, kind.fields)
    return [test for one in used for test in _tests(one.note, one.type, f"x.{quoted(one.wire)}", 0)]


def used_of(cls: Any, wanted: Sequence[Field | Member]) -> list[Used]:
    """The fields of a class that are used, in their order. Arguments: wanted: which, and what of each."""
    types, keys = cls.__hw_shape__.types, cls.__hw__.key_fields
    by_wire = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    found = []
    for one in wanted:
        field = by_wire[one.wire]
        note = strict(types[field.name], key=field.name in keys and cls.__hw__.kind == "event")
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = msgspec.field(default_factory=field.default_factory)
        found.append(Used(field.name, one.wire, note, one.type, default))
    return found


def _class_of(cls: Any, wanted: Sequence[Field | Member]) -> Any:
    used = used_of(cls, wanted)
    fields = [
        (one.name, _cut(one.note, one.type), *(() if one.default is msgspec.NODEFAULT else (one.default,)))
        for one in used
    ]
    return msgspec.defstruct(cls.__name__, fields, rename={one.name: one.wire for one in used}, kw_only=True)


def _cut(note: Any, kind: SqlType) -> Any:
    """An annotation without what is not used of it. The elements of a set are left whole: by all of their fields it is
    told which are the same."""
    note = unwrapped(note)
    origin, parts = get_origin(note), get_args(note)
    if isinstance(kind, Scalar) or origin in SETS:
        return note
    if origin is Annotated:
        return Annotated[(_cut(parts[0], kind), *note.__metadata__)]
    if origin in (Union, UnionType):
        return Union[tuple(one if one is NoneType else _cut(one, kind) for one in parts)]  # noqa: UP007 -- of a tuple
    if isinstance(kind, StructOf):
        return _class_of(note, kind.members)
    if isinstance(kind, MapOf):
        return dict[parts[0], _cut(parts[1], kind.of)]  # type: ignore[misc,valid-type] # made of what a class declares
    return list[_cut(parts[0], kind.of)]  # type: ignore[misc] # as above


def _tests(note: Any, kind: SqlType, text: str, depth: int) -> Iterator[str]:
    """Arguments: text: the value, as SQL; depth: of lists around it."""
    note = unwrapped(note)
    origin, parts = get_origin(note), get_args(note)
    if kind == JSON or origin in SETS:  # it cannot be told from the text; an element may be there twice
        yield "true"
    elif origin is Annotated:
        yield from _tests(parts[0], kind, text, depth)
        bounds = [one for one in note.__metadata__ if any(getattr(one, bound, None) is not None for bound in BOUNDS)]
        if bounds:
            yield f"{text} = ''" if bounds == [FILLED] else "true"
    elif origin in (Union, UnionType):
        for one in parts:
            if one is not NoneType:
                yield from _tests(one, kind, text, depth)
    elif isinstance(kind, StructOf):
        for one in used_of(note, kind.members):
            yield from _tests(one.note, one.type, f"{text}.{quoted(one.wire)}", depth)
    elif isinstance(kind, ListOf):
        element = f"e{depth}"
        inner = " OR ".join(_tests(parts[0], kind.of, element, depth + 1))
        if inner:
            yield f"len(list_filter({text}, lambda {element}: {inner})) > 0"
    elif isinstance(note, type) and issubclass(note, enum.Enum):
        yield _none_of(text, [one.value for one in note])
    elif origin is Literal:
        yield _none_of(text, parts)
    elif note is float:
        yield f"isinf({text})"
    elif note in (bytes, timedelta):
        yield "true"


def _none_of(text: str, values: Sequence[Any]) -> str:
    if not all(isinstance(value, str | int) for value in values):
        return "true"
    listed = ", ".join(literal(one) if isinstance(one, str) else str(int(one)) for one in values)
    return f"{text} NOT IN ({listed})"
