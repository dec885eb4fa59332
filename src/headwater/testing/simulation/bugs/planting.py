"""How a bug is planted: a method or a function of headwater is replaced while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bug:
    """A rule that is left out.

    Arguments: name; breaks: the rule, in a sentence; plant: leaves it out for as long as it is entered; under: what
    faults it takes to show, as parts of a `Mix`; the seed draws the others.
    """

    name: str
    breaks: str
    plant: Callable[[], AbstractContextManager[None]]
    under: Mapping[str, object]


def bug(breaks: str, **under: object) -> Callable[[Callable[[], Iterator[None]]], Bug]:
    """Makes a bug of a generator function that plants, yields and takes out again. Its name becomes the bug's."""

    def declare(plant: Callable[[], Iterator[None]]) -> Bug:
        return Bug(plant.__name__.replace("_", " "), breaks, contextmanager(plant), under)

    return declare


@contextmanager
def replaced(owner: Any, name: str, by: Any) -> Iterator[Any]:
    """Puts something else in the place of an attribute. Gives what was there."""
    # From the class's own dictionary: what is put back must be the same property or static method.
    before = vars(owner)[name]
    setattr(owner, name, by)
    try:
        yield before
    finally:
        setattr(owner, name, before)
