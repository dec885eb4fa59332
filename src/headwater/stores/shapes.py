"""A type in words: what two processes compare to know that a table still has the shape its rows were made in.

The words do not hold module names, so moving a class changes nothing; they hold the fields of nested values,
because those are stored as JSON inside a column.
"""

from __future__ import annotations

import enum
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec


def plain(annotation: Any) -> Any:
    """The type without `Annotated`, `NewType` and the like, at its outermost level."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return annotation


def without_none(annotation: Any) -> tuple[Any, bool]:
    """The type without None, and whether None was part of it."""
    annotation = plain(annotation)
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, annotation is type(None)
    parts = [part for part in get_args(annotation) if part is not type(None)]
    optional = len(parts) < len(get_args(annotation))
    return (plain(parts[0]) if len(parts) == 1 else Union[tuple(parts)]), optional  # noqa: UP007 -- made from a tuple


def describe(annotation: Any, inside: tuple[Any, ...] = ()) -> str:
    """A type in words, with the fields of nested structs and the values of enumerations."""
    annotation = plain(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(sorted(map(repr, arguments)))
    if origin in (Union, types.UnionType):
        return " | ".join(sorted(describe(part, inside) for part in arguments))
    if origin is not None:
        words = ["..." if part is Ellipsis else describe(part, inside) for part in arguments]
        return f"{origin.__name__}[{', '.join(words)}]"
    if annotation is type(None):
        return "None"
    if not isinstance(annotation, type):
        return str(annotation)
    if annotation in inside:
        return annotation.__name__
    if issubclass(annotation, msgspec.Struct):
        fields = msgspec.structs.fields(annotation)
        return "{" + ", ".join(f"{f.encode_name}: {describe(f.type, (*inside, annotation))}" for f in fields) + "}"
    if issubclass(annotation, enum.Enum):
        return "one of " + ", ".join(sorted(repr(member.value) for member in annotation))
    return annotation.__name__
