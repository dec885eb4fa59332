"""What one command leads to, and what an owner needs of whoever carries commands out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from headwater.log.port import NewRecord, Record
from headwater.owners.arriving import Arrived
from headwater.owners.envelopes import Moment
from headwater.owners.replies import Reply
from headwater.owners.state_record import Entry, StateRecord


class NewEvent(msgspec.Struct, gc=False, eq=False):
    """An event ready to be appended."""

    value: bytes
    headers: list[tuple[str, bytes]]
    time_ms: int


class Step(msgspec.Struct, gc=False, eq=False):
    """What one command led to.

    Arguments: changed: the entry needs a new state record; sends: commands of a process, ready to be written.
    """

    arrived: Arrived
    entry: Entry
    reply: Reply
    events: Sequence[NewEvent]
    changed: bool
    sends: Sequence[NewRecord] = ()


class Refold(Protocol):
    """Makes states anew from all events of their entities."""

    @property
    def wants_meta(self) -> bool:
        """Whether it needs the records' envelopes."""
        ...

    def add(self, records: Sequence[Record]) -> None:
        """Folds records in, in their order. Raises: BadData, Failed."""
        ...

    def seed(self, key: bytes, state: bytes) -> None:
        """Goes on from a state, as JSON, for the entity with this record key."""
        ...

    def all_encoded(self) -> dict[bytes, tuple[int, bytes]]:
        """All states, by record key: the version and the JSON of each."""
        ...

    def encoded(self, entity_id: str, version: int) -> bytes | None:
        """The state of an entity as JSON; None: its events are not as many as its version says."""
        ...


class StepMaker(Protocol):
    """What an owner needs of the thing whose commands it carries out: `Decider`, or a process's twin of it."""

    entity: str
    schema: str

    def new_entry(self, entity_id: str) -> Entry: ...

    def entry_from(self, record: StateRecord) -> Entry:
        """The entry of a state record of this schema."""
        ...

    def refold(self) -> Refold:
        """What makes states of another schema anew. Raises: Misuse: nothing can."""
        ...

    def absorb(self, entry: Entry, tail: Sequence[Record]) -> None:
        """Folds in events that are later than the state record: the events are the truth."""
        ...

    def read(self, work: Sequence[Arrived]) -> None:
        """Reads the values of a batch ahead, where that is cheaper than one by one."""
        ...

    def carry_out(self, entry: Entry, arrived: Arrived, now: Moment) -> Step: ...
