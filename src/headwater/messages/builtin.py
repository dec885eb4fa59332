"""The messages that every entity understands: what other processes ask of an owner, and the event of a revert.

They belong to no entity and carry no key of their own; the record's key names the entity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from headwater.errors import Misuse
from headwater.messages.declare import Command, Event

T = TypeVar("T")

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

    def state_as(self, kind: type[T]) -> T:
        """The state that the entity has again: as its aggregate, as a value with some of its fields, or as a `dict`.

        An aggregate's `version` is the one of then: `to_version`. Raises: Misuse: the state is no such thing.
        """
        try:
            return msgspec.json.decode(self.state, type=kind)
        except msgspec.DecodeError as error:
            name = getattr(kind, "__name__", kind)
            raise Misuse(f"the state of version {self.to_version} cannot be read as {name}: {error}") from error


class Parts(Event, name="hw.Parts", built_in=True):
    """What an old record is read as, where it is another type or several events: `upcasting.parts_of` takes it apart.
    Never written.

    Arguments: events: each with its number, from 0; those that a reader's codec does not know are left out.
    """

    if TYPE_CHECKING:
        events: tuple[tuple[int, Event], ...]
    else:  # never decoded, so it has no type that could be
        events: tuple[Any, ...]


class Dropped(Event, name="hw.Dropped", built_in=True):
    """What an old record is read as that means nothing any more; see `upcasting`. Never written."""

    type: str
    version: int
