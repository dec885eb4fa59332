"""An entity's history as a test that runs: `given(Order, …).state(…)` in Python, with the imports that it needs.

Values are written as their authors would write them: a class by its name, fields by theirs.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse, counted
from headwater.messages.builtin import Dropped, Reverted
from headwater.messages.envelope import Recorded

LINE_CHARACTERS = 100

_PLAIN = (str, bytes, int, bool, type(None))


class Call(NamedTuple):
    """Something in brackets, on one line where it fits. Arguments: parts: texts, or calls with what stands before."""

    begin: str
    parts: Sequence[tuple[str, Call | str]]
    end: str

    def text(self, indent: int, room: int) -> str:
        """Arguments: indent: of its line; room: how many characters it may take there."""
        parts = [before + (part if isinstance(part, str) else part.text(0, 10**9)) for before, part in self.parts]
        comma = "," if self.begin == "(" and len(parts) == 1 else ""  # a tuple of one
        line = f"{self.begin}{', '.join(parts)}{comma}{self.end}"
        if len(line) <= room or not parts:
            return line
        inner = indent + 4
        lines = [
            before + (part if isinstance(part, str) else part.text(inner, LINE_CHARACTERS - inner - len(before) - 1))
            for before, part in self.parts
        ]
        pad = " " * inner
        return f"{self.begin}\n{pad}" + f",\n{pad}".join(lines) + f",\n{' ' * indent}{self.end}"


def scenario_text(behaviour: Behaviour[Any], entity_id: str, history: Sequence[Recorded[Any]]) -> str:
    """A module with one test. Arguments: history: all events, or the first of them.

    Raises: Misuse: an event that a scenario cannot begin with, or a value that cannot be written.
    """
    writer = Writer()
    events: list[tuple[str, Call | str]] = [("", writer.named(behaviour.aggregate))]
    for recorded in history:
        if isinstance(recorded.event, Reverted):
            raise Misuse(
                f"version {recorded.meta.version} of {behaviour.entity} {entity_id!r} is a revert, which a scenario "
                "cannot be given: end before it with --at-version"
            )
        if isinstance(recorded.event, Dropped):
            continue
        time = recorded.meta.time.astimezone(UTC)
        events.append(("", Call("(", [("", writer.value(recorded.event)), ("", writer.value(time))], ")")))
    state = behaviour.fold(entity_id, history)
    # Where one old record is read as several events, or as none, the events do not count up to its version.
    hidden = {"id"} if state.version == len(events) - 1 else {"id", "version"}
    fields = [
        (f"{name}=", writer.value(getattr(state, name))) for name in state.__struct_fields__ if name not in hidden
    ]
    given, then = Call("given(", events, ")"), Call(".state(", [("", repr(entity_id)), *fields], ")")
    body = given.text(4, 0) + then.text(4, LINE_CHARACTERS - 5)
    writer.wants("headwater.testing", "given")
    name = f"{behaviour.entity}_{entity_id}"
    title = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_").lower()
    about = f"{behaviour.entity} {entity_id} as it was after {counted(len(history), 'event')}"
    simple = about.isprintable() and not {'"', "\\"} & set(about)
    doc = f'"""{about[0].upper()}{about[1:]}."""' if simple else repr(about)
    return f"{doc}\n\n{writer.imports()}\n\ndef test_{title}() -> None:\n    {body}\n"


class Writer:
    """Writes values, and remembers what has to be imported for them."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, str]] = {}

    def imports(self) -> str:
        modules: dict[str, list[str]] = {}
        for name, (module, original) in self._names.items():
            modules.setdefault(module, []).append(original if name == original else f"{original} as {name}")
        lines = [f"from {module} import {', '.join(sorted(names))}\n" for module, names in sorted(modules.items())]
        return "".join(lines)

    def wants(self, module: str, name: str) -> str:
        """Imports a name, and returns what it is called here: two of one name must be told apart."""
        called, number = name, 1
        while self._names.setdefault(called, (module, name)) != (module, name):
            number += 1
            called = f"{name}{number}"
        return called

    def named(self, cls: type) -> str:
        """A class by its name. Raises: Misuse: it cannot be imported."""
        first, *inner = cls.__qualname__.split(".")
        if "<locals>" in inner or cls.__module__ == "__main__":
            raise Misuse(f"{cls.__qualname__} cannot be imported into a test: it is not at the top of a module")
        return ".".join([self.wants(cls.__module__, first), *inner])

    def value(self, value: object) -> Call | str:
        """A value in Python. Raises: Misuse: it cannot be written."""
        if isinstance(value, enum.Enum):
            name = value.name
            kind = self.named(type(value))
            return f"{kind}.{name}" if name in type(value).__members__ else f"{kind}({value.value!r})"
        if isinstance(value, msgspec.Struct):
            fields = [(f"{name}=", self.value(getattr(value, name))) for name in value.__struct_fields__]
            return Call(f"{self.named(type(value))}(", fields, ")")
        if type(value) in _PLAIN:
            return repr(value)
        if type(value) is float:
            return repr(value) if value - value == 0 else f'float("{value}")'
        if isinstance(value, Decimal | UUID):
            return f'{self.wants(type(value).__module__, type(value).__name__)}("{value}")'
        if isinstance(value, datetime | date | time | timedelta):
            return self._moment(value)
        if isinstance(value, msgspec.Raw):
            return f"{self.wants('msgspec', 'Raw')}({bytes(value)!r})"
        if isinstance(value, dict):
            parts = [("", self._pair(key, item)) for key, item in value.items()]
            return Call("{", parts, "}")
        if type(value) in (list, tuple, set, frozenset):
            return self._many(value)
        raise Misuse(f"{value!r} is a {type(value).__name__}, which cannot be written into a test")

    def _pair(self, key: object, item: object) -> str:
        words = [part if isinstance(part, str) else part.text(0, 10**9) for part in map(self.value, (key, item))]
        return ": ".join(words)

    def _many(self, value: Any) -> Call | str:
        ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        parts: list[tuple[str, Call | str]] = [("", self.value(item)) for item in ordered]
        match value:
            case list():
                return Call("[", parts, "]")
            case tuple():
                return Call("(", parts, ")")
            case set():
                return Call("{", parts, "}") if parts else "set()"
            case _:
                return Call("frozenset([", parts, "])")

    def _moment(self, value: datetime | date | time | timedelta) -> str:
        """Its own representation says everything but where its name comes from."""
        if isinstance(value, datetime | time) and value.tzinfo is not None:
            offset = value.utcoffset()
            zone = self.wants("datetime", "UTC")
            if offset:
                zone = f"{self.wants('datetime', 'timezone')}({self._moment(offset)})"
            bare = self._moment(value.replace(tzinfo=None))
            return f"{bare[:-1]}, tzinfo={zone})"
        name = type(value).__name__
        return repr(value).replace(f"datetime.{name}", self.wants("datetime", name), 1)
