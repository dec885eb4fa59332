"""What others publish beside the classes that listen to it: whether today's code reads every registered revision.

The other side of `publishing`. A listener may leave fields out: it passes over those that its class does not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from headwater.messages.declare import Event
from headwater.schemas.compatibility import unreadable
from headwater.schemas.compatibility.found import Found
from headwater.schemas.derivation import schema_of
from headwater.schemas.port import Schema
from headwater.schemas.registries.port import Registered, Registry
from headwater.schemas.subjects import subject_for

_PASSED_OVER: Final = "closed"
"""What a schema says of a field that it does not have, and that a class is not asked for."""


class Heard(NamedTuple):
    """One event class that listens.

    Arguments: subject; state: read: all registered revisions can be read; unread: not all; unknown: nothing is
    registered under its subject; wrong: revision, and what cannot be read of it.
    """

    subject: str
    state: Literal["read", "unread", "unknown"]
    wrong: list[tuple[int, Found]]


def heard(registry: Registry, topic: str, events: Iterable[type[Event]]) -> list[Heard]:
    """What the registry says of events that others write. Raises: Unavailable: it cannot be asked."""
    return [_heard(registry, subject_for(topic, cls), cls) for cls in events]


def _heard(registry: Registry, subject: str, cls: type[Event]) -> Heard:
    revisions = registry.revisions(subject)
    wrong = [(one.revision, found) for one in revisions for found in _unread(cls, one)]
    return Heard(subject, "unread" if wrong else "read" if revisions else "unknown", wrong)


def _unread(cls: type[Event], one: Registered) -> list[Found]:
    own = Schema(one.schema.kind, schema_of(cls, one.schema.kind))
    return [found for found in unreadable(own, one.schema) if found.cause != _PASSED_OVER]
