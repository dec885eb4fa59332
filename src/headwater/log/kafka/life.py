"""The life of a transaction on Kafka, as a table. Pure: `transactions` asks it what every answer leads to.

    NEW ─► OPEN ─► COMMITTING ─► COMMITTED                          all went well
             │         │
             │         └─► UNKNOWN ─► FENCED ─► COMMITTED           a step of commit failed: a new producer of the same
             │                           │                          id shuts out whatever the old one still sends, then
             │                           ├────► NOTHING_WRITTEN     the log is read
             │                           ├────► TORN
             │                           └────► UNDECIDED           (the cluster cannot be asked)
             ├─► FAILED ─► SHUT_OUT ─► NOTHING_WRITTEN …            a step before commit failed: the same, but nothing
             │                                                      of it may ever be taken for committed
             └─► ABORTING ─► ABORTED or ABANDONED                   whoever fills it gave up

Three things to see in it. `COMMITTED`, the only state after which an answer may leave, comes from a commit that said
OK, or from what the log shows after one was asked for. Every failure leads over a new producer; the client's way of
going on with the old one (abort, then begin again) is never taken after an error, since what the old one sent before
could still arrive. And only an error that says so is repeated: the same call with the same arguments, nothing else.
"""

from __future__ import annotations

from enum import Enum, auto

from confluent_kafka import KafkaError


class State(Enum):
    NEW = "nothing was sent, no producer was taken"
    OPEN = "records and positions are sent"
    COMMITTING = "everything was sent, commit is asked for"
    COMMITTED = "an answer may leave"
    ABORTING = "whoever fills it gave up, abort is asked for"
    ABORTED = "without any doubt"
    ABANDONED = "given up in doubt: a new producer of the id ends it, or the cluster when its time is over"
    FAILED = "a step before commit failed: its producer must be replaced"
    SHUT_OUT = "it was; what of a transaction that was never to be committed is visible?"
    UNKNOWN = "commit failed: its producer must be replaced"
    FENCED = "it was; what of the transaction is visible?"
    NOTHING_WRITTEN = "nothing is visible, and nothing will be"
    TORN = "a part is visible"
    UNDECIDED = "the cluster cannot be asked"


class Signal(Enum):
    """What the caller wants, what a call of the client came to, what the log shows."""

    SEND = auto()
    COMMIT = auto()
    GIVE_UP = auto()

    OK = auto()
    RETRIABLE = auto()
    REQUIRES_ABORT = auto()
    FATAL = auto()
    OUT_OF_TIME = auto()

    REPLACED = auto()
    UNREACHABLE = auto()
    ALL_VISIBLE = auto()
    PART_VISIBLE = auto()
    NOTHING_VISIBLE = auto()


FAILURES = (Signal.REQUIRES_ABORT, Signal.FATAL, Signal.OUT_OF_TIME)

TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.NEW: {
        Signal.SEND: State.OPEN,
        Signal.GIVE_UP: State.NEW,  # it costs nothing; it is never committed, either
    },
    State.OPEN: {
        Signal.SEND: State.OPEN,
        Signal.OK: State.OPEN,
        Signal.RETRIABLE: State.OPEN,
        **dict.fromkeys(FAILURES, State.FAILED),
        Signal.COMMIT: State.COMMITTING,
        Signal.GIVE_UP: State.ABORTING,
    },
    State.COMMITTING: {
        Signal.OK: State.COMMITTED,
        Signal.RETRIABLE: State.COMMITTING,
        **dict.fromkeys(FAILURES, State.UNKNOWN),
        Signal.GIVE_UP: State.ABANDONED,  # an abort calls no commit back
    },
    State.COMMITTED: {Signal.GIVE_UP: State.COMMITTED},  # an interrupt came too late
    State.ABORTING: {
        Signal.OK: State.ABORTED,
        # It is not repeated: a new producer aborts as well, and leaves no doubt.
        Signal.RETRIABLE: State.ABANDONED,
        **dict.fromkeys(FAILURES, State.ABANDONED),
    },
    State.FAILED: {
        Signal.REPLACED: State.SHUT_OUT,
        Signal.UNREACHABLE: State.UNDECIDED,
        Signal.GIVE_UP: State.ABANDONED,  # nobody wants to know what became of it
    },
    State.SHUT_OUT: {
        # The commit of an earlier transaction, late, did this: nobody asked for that of this one.
        Signal.ALL_VISIBLE: State.TORN,
        Signal.PART_VISIBLE: State.TORN,
        Signal.NOTHING_VISIBLE: State.NOTHING_WRITTEN,
        Signal.UNREACHABLE: State.UNDECIDED,
    },
    State.UNKNOWN: {Signal.REPLACED: State.FENCED, Signal.UNREACHABLE: State.UNDECIDED},
    State.FENCED: {
        Signal.ALL_VISIBLE: State.COMMITTED,
        Signal.PART_VISIBLE: State.TORN,
        Signal.NOTHING_VISIBLE: State.NOTHING_WRITTEN,
        Signal.UNREACHABLE: State.UNDECIDED,
    },
    State.ABORTED: {},
    State.ABANDONED: {},
    State.NOTHING_WRITTEN: {},
    State.TORN: {},
    State.UNDECIDED: {},
}


class IllegalSignal(Exception):
    """A step that is none in this state: a mistake of who drives the transaction, never of the cluster."""


class Life:
    """Where one transaction stands. Arguments: id: its transactional id, for errors."""

    def __init__(self, id: str) -> None:
        self.state = State.NEW
        self._id = id

    def on(self, signal: Signal) -> State:
        """The state after a signal. Raises: IllegalSignal."""
        try:
            self.state = TRANSITIONS[self.state][signal]
        except KeyError:
            raise IllegalSignal(
                f"{signal.name} of {self._id} while it is {self.state.name}: {self.state.value}"
            ) from None
        return self.state


def signal_of(error: KafkaError, in_time: bool) -> Signal:
    """What a call that failed came to: what the client says of its error, in the order that its authors ask for.

    Arguments: in_time: whether the same call may still be made.
    """
    if error.txn_requires_abort():
        return Signal.REQUIRES_ABORT
    if not error.retriable():
        return Signal.FATAL
    return Signal.RETRIABLE if in_time else Signal.OUT_OF_TIME


def signal_of_share(visible: float) -> Signal:
    """What a look at the log came to. Arguments: visible: the share of the transaction that is."""
    if visible == 0.0:
        return Signal.NOTHING_VISIBLE
    return Signal.ALL_VISIBLE if visible == 1.0 else Signal.PART_VISIBLE
