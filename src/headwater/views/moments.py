"""Moments of the past that views are asked about, and what an answer costs. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from headwater.errors import Misuse
from headwater.log.port import Positions
from headwater.messages.envelope import Meta


@dataclass(frozen=True, slots=True)
class Moment:
    """What of the log counts. Arguments: as_of: what had happened by then; known_at: what had been recorded by then;
    positions: what stands before these, by view in lower case. Only one of the three."""

    as_of: datetime | None = None
    known_at: datetime | None = None
    positions: Mapping[str, Positions] | None = None

    def includes(self, meta: Meta) -> bool:
        """Whether an event had happened, or was known, by the time."""
        if self.as_of is not None:
            return meta.time <= self.as_of
        return self.known_at is None or (meta.recorded or meta.time) <= self.known_at


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a question about the past costs. Arguments: records: that are read again, at most: positions have gaps;
    views: that are made again from them; none: they keep what they were."""

    records: int
    views: tuple[str, ...]


def moment_of(as_of: datetime | str | None, known_at: datetime | None, after: object = None) -> Moment | str | None:
    """The moment that a caller means, or the text of a position; None: now.

    Raises: Misuse: two, a time without a zone, or something to wait for beside it.
    """
    if as_of is not None and known_at is not None:
        raise Misuse("as_of tells what had happened by a time, known_at what had been recorded: take one of them")
    for time in (as_of, known_at):
        if isinstance(time, datetime) and time.tzinfo is None:
            raise Misuse("the time must be aware, such as datetime(1997, 12, 31, tzinfo=UTC)")
    if as_of is None and known_at is None:
        return None
    if after is not None:
        raise Misuse("after= waits for what is new, and as_of= and known_at= ask for what was: take one of them")
    return as_of if isinstance(as_of, str) else Moment(as_of=as_of, known_at=known_at)


def some_moment(as_of: datetime | str | None, known_at: datetime | None) -> Moment | str:
    """As `moment_of`. Raises: Misuse: also for none."""
    found = moment_of(as_of, known_at)
    if found is None:
        raise Misuse("say at which moment: as_of= or known_at=")
    return found
