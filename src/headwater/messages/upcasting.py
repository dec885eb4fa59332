"""Reading old events: from (type, version, fields) through the declared functions to events of today's classes.

    OrderClosed 1 ─closed─► OrderPaid 1 ─in_euros─► OrderPaid 2 ─► class OrderPaid
                       └──► OrderDelivered 1 ───────────────────► class OrderDelivered

A record stays one record, whatever it is read as. It has one position, one id and one version of its entity, and all
events that it became have these in common; `Meta.part` tells them apart. So versions stay what the log says, and
`expected_version`, states and positions that are stored stay true when a function is added or changed:

| what came of a record | what stands for it |
|---|---|
| one event of the same type | that event |
| another type, or several | `Parts`, which readers take apart |
| nothing | `Dropped`: its version is counted, nobody reacts to it |

Pure: what a function raises becomes `Unreadable`, and names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from decimal import Decimal
from typing import Final, NamedTuple, cast

import msgspec

from headwater.messages.builtin import Dropped, Parts
from headwater.messages.declare import Event, Message, family_of, make, members_of
from headwater.messages.envelope import Meta
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasts import Fields, Step, Steps, Upcast, steps_of


class Ended(NamedTuple):
    """The newest form of an old event. Arguments: step: the function that it comes from."""

    name: str
    fields: Fields
    step: Step


class _Failed(Exception):
    def __init__(self, step: Step, error: str, why: str) -> None:
        super().__init__(why)
        self.step, self.error = step, error


class Upcasting:
    """The functions of the families that some classes are of.

    Arguments: classes: those that a codec knows; an event of another class of their families is left out of what comes
    out. `names`: types with old versions.
    """

    def __init__(self, classes: Iterable[type[Message]]) -> None:
        classes = list(classes)
        self._steps: Steps = steps_of(classes)
        self._newest = {
            cls.__hw__.wire_name: cls.__hw__.version
            for family in dict.fromkeys(map(family_of, classes))
            for cls in members_of(family)
        }
        self.names = frozenset(step.name for step in self._steps.values())

    def takes(self, name: str, version: int) -> bool:
        """Whether there is a function for this version of a type."""
        return (name, version) in self._steps

    def newest(self, name: str) -> int | None:
        """The version of a type's class; None: it has none."""
        return self._newest.get(name)

    def lead(self, name: str, version: int, fields: Fields) -> list[Ended] | Unreadable:
        """What an old event is today, in order. Arguments: fields: are used up."""
        found: list[Ended] = []
        try:
            self._walk(self._steps[name, version], fields, found, frozenset())
        except _Failed as failed:
            return failed_in(failed.step, name, version, failed.error, str(failed))
        return found

    def read(
        self, name: str, version: int, fields: Fields, decode: Callable[[str, Fields], Event | Unreadable | None]
    ) -> Event | Unreadable:
        """As `lead`, typed. Arguments: decode: makes an event of its wire name and fields; None: it has no such
        class."""
        ends = self.lead(name, version, fields)
        if isinstance(ends, Unreadable):
            return ends
        if not ends:
            return Dropped(name, version)
        events: list[tuple[int, Event]] = []
        for index, end in enumerate(ends):
            event = decode(end.name, end.fields)
            if isinstance(event, Unreadable):
                return failed_in(end.step, name, version, "BadData", f"it gave no {end.name}: {event.reason}")
            if event is not None:
                events.append((index, event))
        if len(ends) == len(events) == 1 and ends[0].name == name:
            return events[0][1]
        return parts(events)

    def _walk(self, step: Step, fields: Fields, found: list[Ended], way: frozenset[tuple[str, int]]) -> None:
        """Adds what comes of an old event to `found`. Arguments: way: the functions before this one that led to another
        type; without one there is no circle, since versions only go up."""
        while True:
            answer = _answered(step, fields)
            if isinstance(answer, list):
                break
            following = self._following(step, step.name, step.version + 1)
            if following is None:
                found.append(Ended(step.name, answer, step))
                return
            step, fields = following, answer
        way |= {step[:2]}
        for one in answer:
            following = self._following(step, one.name, one.version)
            if following is None:
                found.append(Ended(one.name, one.fields, step))
            elif following[:2] in way:
                raise _Failed(step, "Misuse", f"it led back to version {one.version} of {one.name}: a circle")
            else:
                self._walk(following, one.fields, found, way)

    def _following(self, step: Step, name: str, version: int) -> Step | None:
        """The function that takes what another one gave; None: it is of today. Raises: _Failed: it is neither."""
        following = self._steps.get((name, version))
        if following is None and version != self._newest.get(name):
            raise _Failed(step, "Misuse", f"it led to version {version} of {name}, which nothing reads")
        return following


def _answered(step: Step, fields: Fields) -> Fields | list[Upcast]:
    """What a function makes of an event. Raises: _Failed."""
    try:
        answer = step.function(fields)
    except Exception as error:
        # The author's function may raise anything.
        raise _Failed(step, type(error).__name__, f"{type(error).__name__}: {error}") from error
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, Upcast):
        return [answer]
    if isinstance(answer, list | tuple) and all(isinstance(one, Upcast) for one in answer):
        # They may share lists, which the functions that lead on may change.
        return [Upcast(one.type, one.version, deepcopy(one.fields)) for one in answer]
    wanted = "return the fields, hw.Upcast(…), a list of these, or [] for nothing"
    raise _Failed(step, "Misuse", f"it returned {type(answer).__name__}: {wanted}")


def failed_in(step: Step, name: str, version: int, error: str, why: str) -> Unreadable:
    reason = f"upcasting {name} from version {version}: {step.title} (from version {step.version}): {why}"
    return Unreadable("upcast", name, version, reason, handler=step.title, error=error)


def parts(events: Iterable[tuple[int, Event]]) -> Parts:
    """Without a look at the events: a codec has made them."""
    return cast(Parts, make(Parts, tuple(events)))


def parts_of(event: Event) -> tuple[tuple[int, Event], ...]:
    """The events that a record stands for, each with its number: itself, most of the time."""
    if type(event) is Parts:
        return event.events
    return () if type(event) is Dropped else ((0, event),)


def meta_of_part(meta: Meta, part: int, event: Event) -> Meta:
    """The envelope of one of a record's events: it says the type that the event has now."""
    return msgspec.structs.replace(meta, part=part, type=type(event).__hw__.wire_name)


FIELDS: Final = msgspec.json.Decoder(Fields, float_hook=Decimal)
"""Numbers do not pass through a float."""

FIELDS_TO_JSON: Final = msgspec.json.Encoder(decimal_format="number")
