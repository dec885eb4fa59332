"""The life of a partition at its owner, as a table. Pure: `known` keeps it, and nothing is known against it.

    AWAY ─► RESTORING ─► ACTIVE ◄─► COMMITTING
              │  ▲          │            │
              │  └──────────┼── DOUBTFUL ◄   something may have been written that is not known here: read it back
              └─► STOPPED ◄─┘                what is wrong must be put right by somebody; its commands wait

Commands are taken only where it is ACTIVE, and answers leave only between COMMITTED and the next command. What was
revoked takes nothing but a new assignment, and no assignment goes on from what was known before: everything is read
back. No partition can be taken away while it is COMMITTING: the loop reads its member between two batches only.
"""

from __future__ import annotations

from enum import Enum, auto

from headwater.errors import HeadwaterError
from headwater.log.port import Torn, Undecided


class State(Enum):
    AWAY = "not owned here"
    RESTORING = "owned, and read back from the log"
    ACTIVE = "its commands are taken"
    COMMITTING = "commands are decided and written, and no answer has left"
    DOUBTFUL = "something may have been written that is not known here"
    STOPPED = "nothing is decided in it, its commands wait"


class Signal(Enum):
    ASSIGNED = auto()
    RESTORED = auto()
    TAKEN = auto()
    COMMITTED = auto()
    NOT_WRITTEN = auto()
    IN_DOUBT = auto()
    BAD_DATA = auto()
    REVOKED = auto()


TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.AWAY: {
        Signal.ASSIGNED: State.RESTORING,
        Signal.REVOKED: State.AWAY,  # dropped when the group fenced its owner; now the group says it as well
    },
    State.RESTORING: {
        Signal.RESTORED: State.ACTIVE,
        Signal.ASSIGNED: State.RESTORING,  # the last attempt failed
        Signal.REVOKED: State.AWAY,
    },
    State.ACTIVE: {
        Signal.TAKEN: State.COMMITTING,
        Signal.BAD_DATA: State.STOPPED,
        Signal.IN_DOUBT: State.DOUBTFUL,  # an interrupt between a commit and the knowledge of it
        Signal.ASSIGNED: State.RESTORING,
        Signal.REVOKED: State.AWAY,
    },
    State.COMMITTING: {
        Signal.COMMITTED: State.ACTIVE,
        Signal.NOT_WRITTEN: State.ACTIVE,
        Signal.IN_DOUBT: State.DOUBTFUL,
    },
    State.DOUBTFUL: {
        Signal.ASSIGNED: State.RESTORING,
        Signal.REVOKED: State.AWAY,
    },
    State.STOPPED: {
        Signal.BAD_DATA: State.STOPPED,
        Signal.ASSIGNED: State.RESTORING,
        Signal.REVOKED: State.AWAY,
    },
}


class IllegalSignal(Exception):
    """Something happens to a partition that cannot happen in its state: a mistake of the owner or of its loop, never
    of the log. The loop stops with it."""


def signal_of(error: BaseException) -> Signal:
    """What a failure of deciding and writing came to. The log says of its own errors which of them leave nothing
    written; what interrupts a thread may come after the commit."""
    sure = isinstance(error, HeadwaterError) and not isinstance(error, Torn | Undecided)
    return Signal.NOT_WRITTEN if sure else Signal.IN_DOUBT


class Lives:
    """Where each partition of an owner stands. Arguments: entity: its type, for errors."""

    def __init__(self, entity: str) -> None:
        self._entity = entity
        self._states: dict[int, State] = {}

    def of(self, partition: int) -> State:
        return self._states.get(partition, State.AWAY)

    def on(self, partition: int, signal: Signal) -> State:
        """The partition's state after a signal. Raises: IllegalSignal."""
        before = self.of(partition)
        after = TRANSITIONS[before].get(signal)
        if after is None:
            raise IllegalSignal(
                f"partition {partition} of {self._entity!r} cannot take {signal.name} while it is {before.name}: "
                f"{before.value}"
            )
        self._states[partition] = after
        return after
