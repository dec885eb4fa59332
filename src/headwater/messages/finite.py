"""Whether the Decimals of decoded messages are finite: JSON can say "NaN" where a message cannot hold it.

msgspec takes whatever text `Decimal` takes: "nan", " -Inf", "N_aN", in escapes too, so the text says little and
the values are asked. Where the Decimals of a class are is known when its codec is made. So the statements that look at
them are written down then, as `dataclasses` does for a constructor, and run with nothing else between:

    for message in messages:
        if type(message) is class_0:
            if not is_finite(message.total):
                return False
            for v1 in message.items:
                if not is_finite(v1.item_price):
                    return False
    return True

Python reads an attribute that stands in the code in half the time that one takes whose name comes from a variable, and
this look is taken at each message that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import chain
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from headwater.messages.annotations import unwrapped
from headwater.messages.checking import is_value_class

LISTS: Final = (list, set, frozenset)
DEEPEST: Final = 6
"""Levels that statements are written for; what lies deeper is searched, so that no class makes endless code."""


class Finite:
    """The test for messages of the given classes. `wary`: whether any of them can hold a Decimal."""

    def __init__(self, classes: Iterable[type]) -> None:
        looked_at = {cls: found for cls in classes if (found := statements_for_class(cls, "message", 1, ()))}
        self.wary = bool(looked_at)
        self.all_finite: Callable[[Iterable[Any]], bool] = compiled(looked_at)


def compiled(looked_at: dict[type, list[str]]) -> Callable[[Iterable[Any]], bool]:
    """The test as a function. Arguments: looked_at: the statements for each class, about `message`."""
    lines: list[str] = []
    names: dict[str, Any] = {"searched": searched, "decimals": Decimal.is_finite}
    for number, (cls, statements) in enumerate(looked_at.items()):
        names[f"class_{number}"] = cls
        lines += [f"{'elif' if number else 'if'} kind is class_{number}:", *indented(statements)]
    body = [
        "is_finite = decimals",
        "for message in messages:",
        "    kind = type(message)",
        *indented(lines),
        "return True",
    ]
    exec("\n".join(["def all_finite(messages):", *indented(body)]), names)
    made: Callable[[Iterable[Any]], bool] = names["all_finite"]
    return made


def statements_for_class(cls: Any, value: str, depth: int, outer: tuple[Any, ...]) -> list[str]:
    """Statements that return False at a Decimal that is not finite, for an instance of a message or value class.

    Arguments: value: the name of a variable; depth: the number that the next variable takes; outer: the classes that
    this one is inside of. Returns: none where there can be no Decimal.
    """
    types, inner = cls.__hw_shape__.types, (*outer, cls)
    fields = [statements_for(types[name], f"{value}.{name}", depth, inner) for name in cls.__struct_fields__]
    return [line for found in fields for line in found]


def statements_for(annotation: Any, value: str, depth: int, outer: tuple[Any, ...]) -> list[str]:
    """As `statements_for_class`, for a value of any type. Arguments: value: an expression."""
    annotation = unwrapped(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Decimal:
        return [f"if not is_finite({value}):", "    return False"]
    if origin is Annotated:
        return statements_for(parts[0], value, depth, outer)
    inner, search = f"v{depth}", [f"if not searched({value}):", "    return False"]
    if is_value_class(annotation):
        if annotation in outer or depth > DEEPEST:  # a value that contains itself has no end
            return search
        found = statements_for_class(annotation, inner, depth + 1, outer)
        return [f"{inner} = {value}", *found] if found else []
    found_in = [statements_for(part, inner, depth + 1, outer) for part in parts]
    if not any(found_in):
        return []
    if depth <= DEEPEST:
        if origin in LISTS or (origin is tuple and parts[1:] == (Ellipsis,)):
            return [f"for {inner} in {value}:", *indented(found_in[0])]
        if origin in (Union, UnionType) and NoneType in parts and len(parts) == 2:
            return [f"{inner} = {value}", f"if {inner} is not None:", *indented(chain.from_iterable(found_in))]
    return search  # a union, a dict, a tuple of several types


def indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def searched(value: Any) -> bool:
    """Whether all Decimals in a value of any type are finite."""
    return all(decimal.is_finite() for _, decimal in named_decimals(value, ""))


def named_decimals(value: Any, path: str) -> Iterator[tuple[str, Decimal]]:
    """All Decimals in a value, with their places."""
    if type(value) is Decimal:
        yield path, value
    elif is_value_class(type(value)):
        for name in value.__struct_fields__:
            yield from named_decimals(getattr(value, name), f"{path}.{name}")
    elif type(value) is dict:
        for key, element in value.items():
            yield from named_decimals(key, f"{path} has a key that")
            yield from named_decimals(element, f"{path}[{key!r}]")
    elif type(value) in (*LISTS, tuple):
        for place, element in enumerate(value):
            yield from named_decimals(element, f"{path}[{place}]")


def complaint_about_decimals(message: Any) -> str | None:
    """The place of the first Decimal in a message that is not finite; None when all are."""
    for name in message.__struct_fields__:
        for path, decimal in named_decimals(getattr(message, name), f"{type(message).__name__}.{name}"):
            if not decimal.is_finite():
                return f"{path} is {decimal!r}, not a finite Decimal"
    return None
