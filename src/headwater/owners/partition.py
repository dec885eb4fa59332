"""What the owner of one partition knows of it: newest states, events that no state covers yet, and where it stands.

Only owners write `-events`, so an owner can count: its events and the marks behind its transactions explain every
offset since it restored. Where one is not explained, somebody else wrote there, and the partition is read again
before anybody relies on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headwater.log.port import Record
from headwater.owners.checkpoint import Marks
from headwater.owners.states import States


class Span(msgspec.Struct):
    """Events that one transaction wrote to a partition. Arguments: first, last: their offsets; count."""

    first: int
    last: int
    count: int


class PartitionMemory:
    """What the owner of one partition knows.

    Arguments: states: the newest state record of each entity; tail: entity key -> events that no state covers yet,
    in the order of their first offsets; next_command: where taking commands goes on; begun: the offset of the
    first event that an owner wrote (-1: none has); verified: every event before it was written by an owner or before
    owners began, and is in a state or in the tail; stopped: why nothing is decided here; newer: whether that is since
    some states are of newer code; rebuilt: entity key -> its state record, folded anew and not in the log yet.
    """

    __slots__ = ("_marks", "begun", "newer", "next_command", "rebuilt", "states", "stopped", "tail", "verified")

    def __init__(self, states: States) -> None:
        self.states = states
        self.tail: dict[bytes, list[Record]] = {}
        self.next_command, self.verified, self.begun = 0, 0, -1
        self.stopped: str | None = None
        self.newer = False
        self.rebuilt: dict[bytes, bytes] = {}
        self._marks = 0

    def take_marks(self) -> None:
        """What the state records say of the partition, after they were read."""
        marks = self.states.marks
        self.next_command, self.verified, self.begun = marks.commands, marks.folded, marks.begun
        self.stopped = self.states.bad

    @property
    def folded(self) -> int:
        """Every event before it is in its entity's state record: where the next owner begins to read events."""
        for uncovered in self.tail.values():
            return min(uncovered[0].offset, self.verified)
        return self.verified

    def get(self, key: bytes) -> bytes | None:
        """The newest state record of an entity. Raises: Unavailable: it cannot be read."""
        if self.rebuilt and (value := self.rebuilt.get(key)) is not None:
            return value
        return self.states.get(key)

    def get_all(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """As `get`, for many keys; without those that have none. Raises: Unavailable."""
        rebuilt, found = self.rebuilt, self.states.get_all(keys)
        if rebuilt:
            found.update((key, rebuilt[key]) for key in keys if key in rebuilt)
        return found

    def keep(self, records: Mapping[bytes, bytes]) -> None:
        """New state records, by entity key; they cover what events there were."""
        self.states.keep(records)
        for waiting in (self.tail, self.rebuilt):
            if waiting:
                for key in records:
                    waiting.pop(key, None)

    def wrote_states(self, first: int | None, covers: tuple[int, int, int], schema: str) -> None:
        """After a transaction whose state records were kept. Arguments: first: the offset of the first, if it is
        known; covers: what they say of `commands`, `folded` and `begun`; schema."""
        if first is not None:
            self.states.kept_before(first, Marks(*covers, {schema}))

    def wrote(self, span: Span) -> bool:
        """Counts a transaction's events. Returns whether they and the marks of earlier transactions (a log may add one
        for each, at any time after its commit) are all that came since; only then is the partition verified to
        their end."""
        if self.begun < 0:
            self.begun = span.first
        others = span.last + 1 - self.verified - span.count
        if others > self._marks:
            return False
        self._marks += 1 - others
        self.verified = span.last + 1
        return True

    def verify(self, end: int) -> None:
        """Every record before this position was looked at, and the last transaction's mark may come behind it."""
        self.verified, self._marks = end, 1
