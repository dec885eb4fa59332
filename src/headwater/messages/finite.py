"""Whether the Decimals of decoded messages are finite: JSON can say "NaN" where a message cannot hold it.

msgspec takes whatever text `Decimal` takes: "nan", " -Inf", "N_aN", in escapes too, so the text says little and
the values are asked. For each class the way to its Decimals is laid out once, as a chain of iterators over many
messages: through fields, into lists, into the values inside them. A batch runs through it at the speed of C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, get_args, get_origin

from headwater.messages.annotations import unwrapped
from headwater.messages.checking import is_value_class

Way = Callable[[Iterable[Any]], Iterator[Any]]
"""From many values of a type to all the Decimals in them."""

LISTS = (list, set, frozenset)


class Finite:
    """The test for messages of the given classes. `wary`: whether any of them can hold a Decimal."""

    def __init__(self, classes: Iterable[type]) -> None:
        self._ways = {cls: ways for cls in classes if (ways := ways_of_class(cls, ()))}
        self._only = len(tuple(classes)) == 1
        self.wary = bool(self._ways)

    def all_finite(self, messages: Sequence[Any]) -> bool:
        for cls, ways in self._ways.items():
            mine = messages if self._only else [message for message in messages if type(message) is cls]
            for way in ways:
                if not all(map(Decimal.is_finite, way(mine))):
                    return False
        return True


def ways_of_class(cls: Any, outer: tuple[Any, ...]) -> list[Way]:
    """The ways from instances of a message or value class. `outer`: the classes that this one is inside of."""
    if cls in outer:  # a value that contains itself has no end of ways
        return [decimals_in]
    types = cls.__hw_shape__.types
    ways = []
    for name in cls.__struct_fields__:
        ways += [through(attrgetter(name), way) for way in ways_of(types[name], (*outer, cls))]
    return ways


def ways_of(annotation: Any, outer: tuple[Any, ...]) -> list[Way]:
    annotation = unwrapped(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Decimal:
        return [iter]
    if is_value_class(annotation):
        return ways_of_class(annotation, outer)
    if origin is Annotated:
        return ways_of(parts[0], outer)
    if origin in LISTS or (origin is tuple and parts[1:] == (Ellipsis,)):
        return [inside(way) for way in ways_of(parts[0], outer)]
    # A union, a dict, a tuple of several types: rare enough to look at each value.
    return [decimals_in] if any(ways_of(part, outer) for part in parts) else []


def through(get: Callable[[Any], Any], way: Way) -> Way:
    return (lambda values: map(get, values)) if way is iter else lambda values: way(map(get, values))


def inside(way: Way) -> Way:
    return chain.from_iterable if way is iter else lambda values: way(chain.from_iterable(values))


def decimals_in(values: Iterable[Any]) -> Iterator[Decimal]:
    """All Decimals in values of any type, one step of Python for each."""
    return (decimal for value in values for _, decimal in named_decimals(value, ""))


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
