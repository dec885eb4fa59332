"""Time travel over an entity's recorded events: pure selections of its history.

Two times are kept of every event: when it happened (`meta.time`) and when it was accepted (`meta.recorded`).
`as_of` asks what was true at a time, `as_known_at` what had been recorded by then. Versions count in the order of
recording: where that is not the order of the times, what had happened by a time is no version (`version_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from headwater.errors import Misuse
from headwater.messages.envelope import Recorded

R = TypeVar("R", bound=Recorded[Any])


class Moment(NamedTuple):
    """A point of the past: any of the three, together they narrow. All None: now."""

    as_of: datetime | None = None
    known_at: datetime | None = None
    at_version: int | None = None

    @property
    def past(self) -> bool:
        return self != (None, None, None)


def as_of(history: Sequence[R], time: datetime) -> list[R]:
    """The events that had happened by a time, in the order they were recorded in. Raises: Misuse: naive time."""
    _aware(time)
    return [recorded for recorded in history if recorded.meta.time <= time]


def as_known_at(history: Sequence[R], time: datetime) -> list[R]:
    """The events that had been recorded by a time: a prefix of the history. An event whose record does not say
    when it was recorded counts by when it happened. Raises: Misuse: naive time."""
    _aware(time)
    return [recorded for recorded in history if (recorded.meta.recorded or recorded.meta.time) <= time]


def at_version(history: Sequence[R], version: int) -> list[R]:
    """The events up to a version, inclusive. Raises: Misuse: the entity never had that version."""
    newest = newest_version(history)
    if not 0 <= version <= newest:
        raise Misuse(f"version {version} does not exist; the entity has versions 0 to {newest}")
    return [recorded for recorded in history if (recorded.meta.version or 0) <= version]


def version_of(history: Sequence[R], chosen: Sequence[R]) -> int:
    """The version whose state a selection of a history folds to; 0: none has it, since an event before its newest one
    is not in it."""
    if not chosen:
        return 0
    version = newest_version(chosen)
    return version if len(chosen) == len(at_version(history, version)) else 0


def newest_version(history: Sequence[Recorded[Any]]) -> int:
    """The version of an entity after its history. Several events may have one version, so it is not how many they
    are."""
    return (history[-1].meta.version or 0) if history else 0


def _aware(time: datetime) -> None:
    if time.tzinfo is None:
        raise Misuse("the time must be aware, such as datetime(1997, 12, 31, tzinfo=UTC)")
