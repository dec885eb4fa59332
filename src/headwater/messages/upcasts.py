"""Declaring what old versions of an event mean today: functions from one version to the next, kept with the family.

    @hw.upcasts(OrderCancelled, from_version=1)
    def say_a_reason(fields: dict[str, Any]) -> dict[str, Any]:
        return fields | {"reason": fields.get("reason") or "not said"}

    @hw.upcasts(OrderEvent, "OrderClosed", from_version=1)              a type that has no class any more
    def closed(fields: dict[str, Any]) -> list[hw.Upcast]:
        return [hw.Upcast(OrderPaid, 1, fields), hw.Upcast(OrderDelivered, 1, fields)]

Between versions there are only plain fields: the classes of old versions are gone, and need not be kept. The newest end
is typed: what comes out of the last function is decoded into today's class as a record is (`upcasting`). The functions
stand beside the classes, in the module that every reader imports, so no reader can forget them; `refuse_missing_steps`
finds, when an app is made, a version that nothing reads.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from headwater.errors import Misuse
from headwater.messages.declare import Event, Message, family_of, members_of

Fields = dict[str, Any]
"""An event as JSON has it, by the names that it has there; numbers with a point are Decimals. Type and version are not
among them; a `timestamp` is, where the record has one."""


@dataclass(frozen=True, slots=True)
class Upcast:
    """What an old event becomes, where that is another type.

    Arguments: type: a class, or the wire name of a type that has none any more; version: of that type, as the fields
    are; functions that lead on from there are applied; fields: as `upcasts` says.
    """

    type: type[Event] | str
    version: int
    fields: Fields

    @property
    def name(self) -> str:
        return self.type if isinstance(self.type, str) else self.type.__hw__.wire_name


Answer = Fields | Upcast | Sequence[Upcast]
"""The fields of the next version; or another type; or several events, in order; an empty list: nothing."""

F = TypeVar("F", bound=Callable[[Fields], Answer])

STEPS: Final = "__hw_upcasts__"


class Step(NamedTuple):
    """A function, and the version that it takes."""

    name: str
    version: int
    function: Callable[[Fields], Answer]

    @property
    def title(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


Steps = dict[tuple[str, int], Step]
"""By wire name and version."""


def upcasts(message: type[Event], name: str | None = None, *, from_version: int) -> Callable[[F], F]:
    """Marks a function that reads an old version of an event: it takes its fields and returns those of the next one.

    It must be pure, since it is called whenever such a record is read, and gets a dictionary of its own, which it may
    change. Arguments: message: the event's class; or its family, where the type has no class any more; name: the wire
    name of such a type; from_version: the version that the function takes.
    Raises: Misuse: no event, a version that there cannot be, two functions for one version.
    """
    if not (isinstance(message, type) and issubclass(message, Event)):
        raise Misuse(f"@hw.upcasts({getattr(message, '__name__', message)!s}): give it a class of hw.Event")
    called = f"@hw.upcasts({message.__name__}, {f'{name!r}, ' if name else ''}from_version={from_version!r})"
    if not isinstance(from_version, int) or isinstance(from_version, bool) or from_version < 1:
        raise Misuse(f"{called}: from_version is a whole number from 1")
    if message.__hw__.family and not name:
        raise Misuse(f'{called}: {message.__name__} is a family; name the type that is gone, "OrderClosed"')
    if not message.__hw__.family and name:
        raise Misuse(f"{called}: {message.__name__} has a name already; give the family for a type that is gone")

    def mark(function: F) -> F:
        _refuse_signature(called, function)
        steps = _steps_of(family_of(message))
        step = Step(name or message.__hw__.wire_name, from_version, function)
        known = steps.get(step[:2])
        if known is not None and _place(known.function) != _place(function):
            raise Misuse(f"{called}: {known.title} takes that version already")
        steps[step[:2]] = step  # the same function made again (a reload) replaces itself
        return function

    return mark


def steps_of(classes: Iterable[type[Message]]) -> Steps:
    """The functions of all families that these classes are of."""
    found: Steps = {}
    for family in dict.fromkeys(map(family_of, classes)):
        found |= _steps_of(family)
    return found


def functions_of(classes: Iterable[type[Message]]) -> list[Callable[..., Any]]:
    """The functions that read the old events of these families, in a stable order: a part of the code of whoever folds
    them."""
    return [step.function for _, step in sorted(steps_of(classes).items(), key=lambda item: item[0])]


def refuse_missing_steps(classes: Iterable[type[Message]]) -> None:
    """Looks whether every version that an event had is read. Raises: Misuse: one is not, with what to write; or a
    function takes a version that never gets to it."""
    for family in dict.fromkeys(map(family_of, classes)):
        steps, members = _steps_of(family), members_of(family)
        for cls in members if family.__hw__.kind == "event" else ():
            name, newest = cls.__hw__.wire_name, cls.__hw__.version
            for version in range(1, newest):
                if (name, version) not in steps:
                    raise Misuse(_missing(cls.__name__, name, version, newest))
            for step in steps.values():
                if step.name == name and step.version >= newest:
                    raise Misuse(
                        f"{step.title} upcasts {name} from version {step.version}, and {cls.__name__} is at version "
                        f"{newest}: raise it, class {cls.__name__}(…, version={step.version + 1})"
                    )
        _refuse_gaps(family, steps, {cls.__hw__.wire_name for cls in members})


def _refuse_gaps(family: type[Message], steps: Steps, there: set[str]) -> None:
    """The versions of types that have no class any more."""
    for name in sorted({step.name for step in steps.values()} - there):
        newest = max(step.version for step in steps.values() if step.name == name)
        for version in range(1, newest):
            if (name, version) not in steps:
                raise Misuse(_missing(f"{family.__name__}, {name!r}", name, version, newest))


def _missing(first: str, name: str, version: int, newest: int) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower()
    return (
        f"{name} is at version {newest}, and nothing reads its version {version}, which the log may hold: write, "
        f"beside the class,\n\n    @hw.upcasts({first}, from_version={version})\n"
        f"    def {words}_{version}(fields: dict[str, Any]) -> dict[str, Any]: ...\n\n"
        "(if it is written: in a module that is not imported)"
    )


def _steps_of(family: type[Message]) -> Steps:
    found: Steps | None = vars(family).get(STEPS)
    if found is None:
        found = {}
        setattr(family, STEPS, found)
    return found


def _refuse_signature(called: str, function: Callable[..., Any]) -> None:
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise Misuse(f"{called} stands above a plain function: def f(fields: dict[str, Any]) -> dict[str, Any]")
    parameters = list(inspect.signature(function).parameters.values())
    required = [one for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(parameters) != 1 or len(required) != 1:
        raise Misuse(f"{called}: {getattr(function, '__qualname__', function)} must take (fields), and nothing else")


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, getattr(function, "__qualname__", repr(function))
