"""From the names and JSON that people type, or keep in files, to the messages of an app.

A payload is read more strictly than one from a log: nobody wrote it yet, so a field that the class does not
have is a spelling mistake, and would be lost without a word.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse
from headwater.messages.declare import Command, Event, Message, check, key_of

M = TypeVar("M", bound=Message)


class Word(NamedTuple, Generic[M]):
    """A message class of the app, and the entity type that it belongs to."""

    behaviour: Behaviour[Any]
    message: type[M]


class Vocabulary:
    """The commands and events of an app, by wire name.

    A name that two entity types use is told apart as "order.Rename". Arguments: behaviours: of the app.
    """

    def __init__(self, behaviours: Iterable[Behaviour[Any]]) -> None:
        self.behaviours = {behaviour.entity: behaviour for behaviour in behaviours}
        self._commands: dict[str, list[Word[Command]]] = {}
        self._events: dict[str, list[Word[Event]]] = {}
        for behaviour in self.behaviours.values():
            for command in behaviour.commands:
                self._commands.setdefault(command.__hw__.wire_name, []).append(Word(behaviour, command))
            for event in behaviour.events.classes.values():
                if event.__hw__.entity is not None:  # not one of headwater's own
                    self._events.setdefault(event.__hw__.wire_name, []).append(Word(behaviour, event))

    def entity(self, name: str) -> Behaviour[Any]:
        """Raises: Misuse: the app has no such entity type."""
        found = self.behaviours.get(name)
        if found is None:
            raise Misuse(f"the app has no entity type {name!r}; {_choice(name, self.behaviours)}")
        return found

    def command(self, name: str) -> Word[Command]:
        """Raises: Misuse: no aggregate of the app decides on it."""
        return _word(self._commands, name, "command")

    def event(self, name: str) -> Word[Event]:
        """Raises: Misuse: no entity of the app has it."""
        return _word(self._events, name, "event")


def read_object(text: bytes | str) -> dict[str, Any]:
    """The JSON object in a text. Raises: Misuse: it is none."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Misuse(f"this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Misuse(f"this is JSON, but not an object: {_shortened(text)}")
    return found


def check_type(word: Word[Command], text: bytes | str) -> None:
    """Refuses JSON that says itself that it is something else. Raises: Misuse."""
    name = word.message.__hw__.wire_name
    said = read_object(text).get("commandType", name)
    if said != name:
        raise Misuse(f'{name} was to be sent, and the JSON says that it is {said!r}: "commandType" may be left out')


def read_message(word: Word[M], text: bytes | str, *, ignore: Iterable[str] = (), unknown_fields: bool = False) -> M:
    """The message in a JSON object, whose type is known.

    Arguments: ignore: fields that are not the message's own; unknown_fields: whether others may be there.
    Raises: Misuse: no JSON, a field that is missing, of the wrong type or not known, an empty key.
    """
    cls = word.message
    fields = read_object(text)
    kept = {name: value for name, value in fields.items() if name not in ignore}
    try:
        # From the text, not from `kept`: a number with decimals must not pass through a float.
        message = msgspec.json.decode(text if len(kept) == len(fields) else _without(text, kept), type=cls)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Misuse(f"{cls.__hw__.wire_name}: {error}{_fields_of(cls, kept)}") from error
    check(message)
    key_of(message)
    if not unknown_fields:
        refuse_unknown_fields(cls.__hw__.wire_name, kept, msgspec.to_builtins(message))
    return message


def refuse_unknown_fields(where: str, given: object, taken: object) -> None:
    """Compares JSON with what a class took of it. Raises: Misuse: a field that the class does not have."""
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        for name, value in given.items():
            if name not in taken:
                raise Misuse(f"{where} has no field {name!r}; {_choice(name, taken)}")
            refuse_unknown_fields(f"{where}.{name}", value, taken[name])
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for index, (left, right) in enumerate(zip(given, taken, strict=True)):
            refuse_unknown_fields(f"{where}[{index}]", left, right)


def _without(text: bytes | str, kept: Iterable[str]) -> bytes:
    """The object with some of its fields, each as it was written."""
    raws = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: raws[name] for name in kept})


def _word(words: Mapping[str, list[Word[M]]], name: str, kind: str) -> Word[M]:
    entity, dot, rest = name.rpartition(".")
    found = words.get(name, [])
    if not found and dot:
        found = [word for word in words.get(rest, []) if word.behaviour.entity == entity]
    if not found:
        raise Misuse(f"the app has no {kind} {name!r}; {_choice(name, words)}")
    if len(found) > 1:
        names = ", ".join(f"{word.behaviour.entity}.{name}" for word in found)
        raise Misuse(f"{name!r} is a {kind} of several entity types; write one of {names}")
    return found[0]


def _choice(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"


def _fields_of(cls: type[Message], given: Mapping[str, Any]) -> str:
    """A hint for a field that is missing since it was misspelled."""
    stray = [name for name in given if name not in cls.__struct_encode_fields__]
    missing = [name for name in cls.__struct_encode_fields__ if name not in given]
    return f"; it has no field {stray[0]!r}, {_choice(stray[0], missing)}" if stray and missing else ""


def _shortened(text: bytes | str) -> str:
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    return shown if len(shown) <= 60 else shown[:59] + "…"
