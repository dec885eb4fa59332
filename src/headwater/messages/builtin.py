"""The messages that every entity understands: what other processes ask of an owner, and the event of a revert.

They belong to no entity and carry no key of their own; the record's key names the entity.
"""

from __future__ import annotations

import msgspec

from headwater.messages.declare import Command, Event

RawJson = msgspec.Raw
"""JSON that is kept as it is: `RawJson(b'{"a":1}')`."""


class Append(Command, name="hw.Append", built_in=True):
    """Appends events as they are, each the JSON of one event."""

    events: list[RawJson]


class Get(Command, name="hw.Get", built_in=True):
    """Asks for the entity's state, or for what became of the command with the id `outcome_of`."""

    outcome_of: str | None = None


class Reverted(Event, name="hw.Reverted", built_in=True):
    """The entity is again as it was at `to_version`; `state` is the JSON of that state."""

    state: RawJson
    to_version: int
