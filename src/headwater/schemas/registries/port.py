"""Registries: where it stands which schemas a log may hold.

A subject (`subjects`) has revisions, 1, 2, 3 and so on, each a schema with an id. Nothing that was registered ever
changes or goes away, since records carry the id. `register` refuses what is not compatible with the revisions before
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from headwater.errors import Misuse
from headwater.schemas.compatibility import Break, Level
from headwater.schemas.port import Schema, SchemaSource


class Registered(NamedTuple):
    """Arguments: subject; revision: counts from 1; id; schema."""

    subject: str
    revision: int
    id: int
    schema: Schema


class Incompatible(Misuse):
    """A schema that must not be registered. Arguments: subject; breaks: why, in our words; said: in the registry's
    (empty: it was not asked)."""

    def __init__(self, subject: str, breaks: Sequence[Break], said: str = "") -> None:
        words = [*map(str, breaks), *([f"the registry says: {said}"] if said else [])]
        super().__init__(f"{subject} is not compatible with what is registered: {' | '.join(words)}")
        self.subject, self.breaks, self.said = subject, tuple(breaks), said


class Rules(NamedTuple):
    """What a registry itself asks of a subject.

    Arguments: level: of compatibility; mode: READWRITE, READONLY and so on; empty: it has none.
    """

    level: str
    mode: str


class OwnRules(Protocol):
    """The rules of a registry that has some of its own. Methods raise `Unavailable`."""

    def of(self, subject: str) -> Rules:
        """Those that hold for a subject, also where they are the whole registry's."""

    def set_level(self, subject: str, level: Level) -> None:
        """Gives a subject a level of its own, for whoever registers there. Raises: Misuse: it is refused."""


class Registry(SchemaSource, Protocol):
    """A registry. Thread-safe. Methods raise `Unavailable` where it cannot be reached or read."""

    @property
    def place(self) -> str:
        """Where it is, for people; without secrets."""

    @property
    def level(self) -> Level:
        """What a new schema of a subject has to be to the earlier ones."""

    @property
    def rules(self) -> OwnRules | None:
        """What it asks itself, beside `level`; None: nothing."""

    @property
    def by_hand(self) -> bool:
        """Whether schemas come in by `hw schema register` alone, and never from an app that starts."""

    def subjects(self) -> list[str]:
        """All that it has, sorted."""

    def revisions(self, subject: str) -> list[Registered]:
        """What is registered under a subject, oldest first; empty: nothing."""

    def objection(self, subject: str, schema: Schema) -> str:
        """What the registry itself has against a schema, in its words, beside what `level` asks; empty: nothing."""

    def register(self, subject: str, schema: Schema) -> Registered:
        """Registers a schema; one that is there already is only found. Raises: Incompatible."""

    def close(self) -> None:
        """Closes connections. Idempotent."""
