"""What an app says to others and hears of them, found in its code: every entity, event, command, version and field, who
emits it and who listens.

classes ──► `catalogue_of` ──► `catalogue_text` (a page) · `asyncapi` (a document for other tools)

Who emits an event is what the @decides methods say that they return; who sends a command, what the reactions of
processes do. A method that does not say it is named as such.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.entities.aggregate import handlers_of
from headwater.entities.behaviour import Behaviour
from headwater.log.topology import commands_topic, events_topic
from headwater.messages.declare import Command, Event, Message, family_of, members_of
from headwater.messages.reactions import reactions_of
from headwater.messages.upcasts import Step, steps_of
from headwater.processes.declare import ProcessShape
from headwater.projections.declare import Projection
from headwater.schemas.derivation import schema_of

if TYPE_CHECKING:
    from headwater.views.plan import View


class Old(NamedTuple):
    """A version that is read by a function. Arguments: doc: of the function."""

    name: str
    version: int
    function: str
    doc: str


class Said(NamedTuple):
    """An event or a command.

    Arguments: name: on the wire; key: the field that names its entity, on the wire; schema: JSON Schema; by: who emits
    or sends it; to: who listens or decides; old: earlier versions, the first one first.
    """

    name: str
    version: int
    doc: str
    key: str
    schema: Mapping[str, Any]
    by: Sequence[str]
    to: Sequence[str]
    old: Sequence[Old]


class Entity(NamedTuple):
    """An entity type. Arguments: owner: the aggregate's class (None: it is of another service); gone: versions of event
    types that have no class any more."""

    name: str
    owner: str | None
    doc: str
    events: Sequence[Said]
    gone: Sequence[Old]
    commands: Sequence[Said]

    @property
    def events_topic(self) -> str:
        return events_topic(self.name)

    @property
    def commands_topic(self) -> str:
        return commands_topic(self.name)


class Catalogue(NamedTuple):
    """All of an app. Arguments: silent: methods that do not say which events or commands they return."""

    app: str
    entities: Sequence[Entity]
    silent: Sequence[str]


def catalogue_of(
    app: str,
    behaviours: Sequence[Behaviour[Any]],
    projections: Sequence[type[Projection]],
    processes: Sequence[ProcessShape],
    views: Sequence[View] = (),
) -> Catalogue:
    """Raises: Misuse: a message that JSON Schema cannot describe."""
    finder = _Finder(behaviours, projections, processes, views)
    return Catalogue(app, finder.entities(), finder.silent)


class _Finder:
    """Who says and hears what: names of methods, by message class."""

    def __init__(
        self,
        behaviours: Sequence[Behaviour[Any]],
        projections: Sequence[type[Projection]],
        processes: Sequence[ProcessShape],
        views: Sequence[View],
    ) -> None:
        self._behaviours = {one.entity: one for one in behaviours}
        self._by: dict[type[Message], list[str]] = {}
        self._to: dict[type[Message], list[str]] = {}
        self.silent: list[str] = []
        for behaviour in behaviours:
            self._look_at(behaviour)
        for projection in projections:
            for reaction in reactions_of(projection):
                self._add(self._to, [reaction.message_type], _title(projection, reaction.function))
        for shape in processes:
            for event, reaction in shape.reactions.items():
                title = _title(shape.process, reaction.function)
                self._add(self._to, [event], title)
                self._add_returned(reaction.function, Command, title, title)

        for view in views:
            from headwater.views.topics import topics_of

            for topic in topics_of(view):
                events = [event for event in topic.events if event.__hw__.entity is not None]
                self._add(self._to, events, f"view {view.name}")

    def entities(self) -> list[Entity]:
        found = {cls.__hw__.entity: cls for cls in (*self._by, *self._to) if cls.__hw__.entity is not None}
        families = {entity: family_of(cls) for entity, cls in found.items() if issubclass(cls, Event)}
        families |= {entity: behaviour.family for entity, behaviour in self._behaviours.items()}
        return [self._entity(entity, families.get(entity)) for entity in sorted({*found, *self._behaviours})]

    def _entity(self, entity: str, family: type[Message] | None) -> Entity:
        behaviour = self._behaviours.get(entity)
        known = {cls for cls in (*self._by, *self._to) if cls.__hw__.entity == entity}
        events = [cls for cls in members_of(family) if behaviour or cls in known] if family is not None else []
        commands = [cls for cls in (*self._by, *self._to) if cls in known and issubclass(cls, Command)]
        steps = sorted(steps_of([family]).values(), key=lambda step: step[:2]) if family is not None else []
        there = {cls.__hw__.wire_name for cls in members_of(family)} if family is not None else set()
        return Entity(
            entity,
            behaviour.aggregate.__name__ if behaviour else None,
            _doc(behaviour.aggregate) if behaviour else "",
            [self._said(cls, steps) for cls in events],
            [_old(step) for step in steps if step.name not in there] if behaviour else [],
            [self._said(cls, []) for cls in sorted(dict.fromkeys(commands), key=lambda cls: cls.__hw__.wire_name)],
        )

    def _said(self, cls: type[Message], steps: Iterable[Step]) -> Said:
        info = cls.__hw__
        names = dict(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))
        return Said(
            info.wire_name,
            info.version,
            _doc(cls),
            names.get(info.key_field or "", ""),
            json.loads(schema_of(cls, "json")),
            self._by.get(cls, []),
            self._to.get(cls, []),
            [_old(step) for step in steps if step.name == info.wire_name],
        )

    def _look_at(self, behaviour: Behaviour[Any]) -> None:
        aggregate = behaviour.aggregate
        for handler in handlers_of(aggregate):
            title = _title(aggregate, handler.function)
            self._add(self._to, handler.messages, title)
            if handler.role == "decides":
                commands: tuple[Any, ...] = handler.messages
                on = " or ".join(one.__hw__.wire_name for one in commands)
                self._add_returned(handler.function, Event, title, f"{title} (on {on})")

    def _add_returned(self, function: Callable[..., Any], base: type[Message], title: str, shown: str) -> None:
        returned = returned_by(function, base)
        if returned is not None:
            self._add(self._by, returned, shown)
        elif title not in self.silent:
            self.silent.append(title)

    def _add(self, where: dict[type[Message], list[str]], classes: Iterable[Any], title: str) -> None:
        for cls in classes:
            known = where.setdefault(cls, [])
            if title not in known:
                known.append(title)


def returned_by(function: Callable[..., Any], base: type[Message]) -> list[type[Message]] | None:
    """The messages that a method may return, by its annotation; a family stands for its members. None: it has none, it
    cannot be read here, or it says only that they are events or commands."""
    annotation = function.__annotations__.get("return")
    if annotation is None:
        return None if "return" not in function.__annotations__ else []
    if isinstance(annotation, str):
        mark: tuple[str, Mapping[str, Any]] = getattr(function, "__hw_mark__", ("", {}))
        try:
            annotation = eval(annotation, {**function.__globals__, **mark[1]})
        except (NameError, AttributeError, SyntaxError, TypeError):
            return None
    found = list(dict.fromkeys(_classes_in(annotation, base)))
    return None if base in found else found


def _classes_in(annotation: Any, base: type[Message]) -> list[type[Message]]:
    if isinstance(annotation, type) and issubclass(annotation, base):
        return members_of(annotation) if annotation.__hw__.family and annotation is not base else [annotation]
    return [cls for part in typing.get_args(annotation) for cls in _classes_in(part, base)]


def _title(cls: type, function: Callable[..., Any]) -> str:
    return f"{cls.__name__}.{getattr(function, '__name__', function)}"


def _old(step: Step) -> Old:
    return Old(step.name, step.version, step.title, cleandoc(step.function.__doc__ or ""))


def _doc(cls: type) -> str:
    return cleandoc(vars(cls).get("__doc__") or "")
