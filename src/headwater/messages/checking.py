"""Whether a value is what its field declares, so that what cannot be read back is refused when it is made.

msgspec checks what it decodes, not what a program puts into a struct: a wrong type would be encoded and stay
in the log as a record that nobody can read. `test_of` compiles a field's type once, to a function that costs
a few dozen nanoseconds; `complaint` finds the words, only after a test has failed. Nothing is converted.

Values inside a message were checked when they were made, so their class is enough here. Classes are compared
exactly: an instance of a subclass would lose its own fields on the way.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec

from headwater.messages.annotations import unwrapped

Test = Callable[[Any], bool]

EXACT: Final = frozenset({bool, NoneType, bytes, date, time, timedelta, UUID, msgspec.Raw})
JSON_KEYS: Final = frozenset({str, int, Decimal, datetime, date, time, timedelta, UUID})
LISTS: Final = frozenset({list, set, frozenset})


class Unsupported(Exception):
    """A type that a message cannot have; the text says why and what to write instead."""


def test_of(annotation: Any) -> Test:
    """A function that tells whether a value fits a type. Raises Unsupported."""
    annotation = unwrapped(annotation)
    classes = exact_classes(annotation)
    if classes is not None:
        return one_of(classes)
    if annotation in SCALARS:
        return SCALARS[annotation]
    if annotation is Any or annotation is object:
        return is_plain
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return annotation.__instancecheck__
    return test_of_parts(annotation, get_origin(annotation), get_args(annotation))


def test_of_parts(annotation: Any, origin: Any, parts: tuple[Any, ...]) -> Test:
    if origin is Annotated:
        return constrained(annotation, test_of(parts[0]))
    if origin in (Union, UnionType):
        tests = tuple(map(test_of, parts))
        return lambda value: any(test(value) for test in tests)
    if origin is Literal:
        classes = frozenset(map(type, parts))
        return lambda value: type(value) in classes and value in parts
    if origin in LISTS:
        return test_of_elements(origin, parts[0])
    if origin is tuple:
        return test_of_tuple(parts)
    if origin is dict:
        if not can_be_json_key(parts[0]):
            raise Unsupported(f"{type_name(parts[0])} cannot be the key of a dict: use str, int, date, UUID or an Enum")
        keys, values = test_of(parts[0]), test_of(parts[1])
        return lambda value: type(value) is dict and all(map(keys, value)) and all(map(values, value.values()))
    raise Unsupported(advice(annotation))


def can_be_json_key(annotation: Any) -> bool:
    annotation = unwrapped(annotation)
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return all(map(can_be_json_key, annotation.__args__))
    is_enum = isinstance(annotation, type) and issubclass(annotation, enum.Enum)
    return annotation in JSON_KEYS or is_enum or get_origin(annotation) is Literal


def test_of_elements(container: Any, element: Any) -> Test:
    classes = exact_classes(unwrapped(element))
    if classes is not None:  # at the speed of C, whatever the length
        return lambda value: type(value) is container and classes.issuperset(map(type, value))
    test = test_of(element)
    return lambda value: type(value) is container and all(map(test, value))


def test_of_tuple(parts: tuple[Any, ...]) -> Test:
    if len(parts) == 2 and parts[1] is Ellipsis:
        return test_of_elements(tuple, parts[0])
    tests = tuple(map(test_of, parts))
    return lambda value: (
        type(value) is tuple
        and len(value) == len(tests)
        and all(test(part) for test, part in zip(tests, value, strict=True))
    )


def exact_classes(annotation: Any) -> frozenset[type] | None:
    """The classes that decide alone whether a value fits; None where the value itself must be looked at."""
    if annotation is None:
        return frozenset({NoneType})
    if annotation in EXACT or is_value_class(annotation):
        return frozenset({annotation})
    if get_origin(annotation) in (Union, UnionType):
        parts = [exact_classes(unwrapped(part)) for part in get_args(annotation)]
        if None not in parts:
            return frozenset().union(*(part for part in parts if part is not None))
    return None


def is_value_class(annotation: Any) -> bool:
    info = getattr(annotation, "__hw__", None) if isinstance(annotation, type) else None
    return info is not None and info.kind == "value"


def one_of(classes: frozenset[type]) -> Test:
    if len(classes) == 1:
        (only,) = classes
        return lambda value: type(value) is only
    return lambda value: type(value) in classes


def constrained(annotation: Any, test: Test) -> Test:
    """Also asks msgspec where the type carries `msgspec.Meta` constraints."""
    if not any(isinstance(mark, msgspec.Meta) for mark in annotation.__metadata__):
        return test

    def fits(value: Any) -> bool:
        if not test(value):
            return False
        try:
            msgspec.convert(value, annotation)
        except msgspec.ValidationError:
            return False
        return True

    return fits


def is_text(value: Any) -> bool:
    return type(value) is str or (isinstance(value, str) and isinstance(value, enum.Enum))


def is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, int) and isinstance(value, enum.Enum))


def is_float(value: Any) -> bool:
    """Finite: JSON has no NaN. A whole number is taken where the float keeps all its digits."""
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and abs(value) <= 2**53


def is_decimal(value: Any) -> bool:
    return type(value) is Decimal and value.is_finite()


def is_aware(value: Any) -> bool:
    return type(value) is datetime and value.tzinfo is not None and value.utcoffset() is not None


def is_plain(value: Any) -> bool:
    """What JSON itself can say, and therefore reads back as it was."""
    if type(value) is list:
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
    return type(value) in (str, int, bool, NoneType) or (type(value) is float and math.isfinite(value))


SCALARS: Final[dict[Any, Test]] = {
    str: is_text,
    int: is_whole,
    float: is_float,
    Decimal: is_decimal,
    datetime: is_aware,
    list: lambda value: type(value) is list and is_plain(value),
    dict: lambda value: type(value) is dict and is_plain(value),
}


def advice(annotation: Any) -> str:
    """What to write instead of a type that a message cannot have."""
    name = type_name(annotation)
    if hasattr(annotation, "model_fields") or hasattr(annotation, "__pydantic_fields__"):
        return f"{name} is a pydantic model: declare the same fields in a class of hw.Value"
    if hasattr(annotation, "__dataclass_fields__"):
        return f"{name} is a dataclass: derive it from hw.Value instead"
    info = getattr(annotation, "__hw__", None)
    if info is not None:
        return f"{name} is a {info.kind}: only values (hw.Value) may be inside another declaration"
    if isinstance(annotation, str):
        return f"the name {annotation} is not defined where the class is made"
    return (
        f"{name} cannot be in a message: use str, int, float, bool, Decimal, datetime, date, time, timedelta, "
        "UUID, bytes, an Enum, Literal, list, dict, tuple, set, | or a class of hw.Value"
    )


def complaint(annotation: Any, value: Any, path: str) -> str:
    """Why a value that failed its test does not fit, with the place inside it."""
    annotation = unwrapped(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated and not test_of(parts[0])(value):
        return complaint(parts[0], value, path)
    if origin in (list, tuple, set, frozenset) and type(value) is origin:
        elements = parts if origin is tuple and Ellipsis not in parts else parts[:1] * len(value)
        for place, (part, element) in enumerate(zip(elements, value, strict=False)):
            if not test_of(part)(element):
                return complaint(part, element, f"{path}[{place}]")
    if origin is dict and type(value) is dict:
        for key, element in value.items():
            if test_of(parts[0])(key) and not test_of(parts[1])(element):
                return complaint(parts[1], element, f"{path}[{key!r}]")
    if isinstance(value, datetime) and mentions_datetime(annotation) and value.tzinfo is None:
        return f"{path} has no time zone: {value!r}; write datetime(…, tzinfo=UTC)"
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "…"
    return f"{path} is {shown} ({type(value).__name__}), not {type_name(annotation)}"


def mentions_datetime(annotation: Any) -> bool:
    return annotation is datetime or datetime in get_args(annotation)


def type_name(annotation: Any) -> str:
    if annotation is Decimal or annotation is float:
        return f"a finite {annotation.__name__}"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b[A-Za-z_]\w*\.", "", str(annotation))  # without modules
