"""Writes the history of a run down while it happens: each call's start, end and outcome. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal

import msgspec

from headwater.client.receipts import Receipt
from headwater.errors import Conflict, HeadwaterError
from headwater.log.port import Log, Positions, TopicPartition
from headwater.messages.rejection import Rejected, rejection_to_wire
from headwater.testing.audit.history import (
    CommandCall,
    History,
    Outcome,
    PositionSample,
    QuestionCall,
    ReadCall,
    outcome_of,
)

Call = CommandCall | QuestionCall | ReadCall | PositionSample


class Journal:
    """The history of one run, of all clients in this process.

    Arguments: complete, partitions_return: see `History`; clock_s: a monotonic clock that all processes of the run
    share.
    """

    def __init__(
        self, *, complete: bool = True, partitions_return: bool = False, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock_s = clock_s
        self._complete, self._partitions_return = complete, partitions_return
        self._settled_s: float | None = None
        self._calls: list[Call] = []
        self._open: set[CommandNote] = set()
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Notes a call that has ended."""
        with self._lock:
            self._calls.append(call)

    def begin(self, asked: Asked) -> CommandNote:
        """A command that is sent now."""
        note = CommandNote(self, asked, self.clock_s())
        with self._lock:
            self._open.add(note)
        return note

    def ended(self, note: CommandNote, call: CommandCall) -> None:
        """Notes a command's end, once."""
        with self._lock:
            if note in self._open:
                self._open.remove(note)
                self._calls.append(call)

    def settled(self) -> None:
        """From now on nothing is under way any more; what is asked from here is final."""
        self._settled_s = self.clock_s()

    def sample(self, reader: str, look: Callable[[], Positions]) -> None:
        """Looks at a reader's positions, and notes them."""
        started_s = self.clock_s()
        positions = look()
        ended_s = self.clock_s()
        for name, position in positions.items():
            self.add(PositionSample(reader, *name, position, started_s, ended_s))

    def sample_group(self, log: Log, group: str, partitions: list[TopicPartition]) -> None:
        """As `sample`, of a consumer group."""
        self.sample(group, lambda: log.committed(group, partitions))

    def unknown(self) -> list[CommandCall]:
        """The commands of which nobody has heard what became of them, each once."""
        history = self.history()
        told = {one.key for one in history.commands if one.outcome in ("accepted", "rejected")}
        return list(
            {one.key: one for one in history.commands if one.outcome == "unknown" and one.key not in told}.values()
        )

    def history(self) -> History:
        """What has been noted up to now; what has not ended yet is unknown."""
        with self._lock:
            calls = [*self._calls, *(note.unanswered() for note in self._open)]
        return History(
            tuple(one for one in calls if isinstance(one, CommandCall)),
            tuple(one for one in calls if isinstance(one, QuestionCall)),
            tuple(one for one in calls if isinstance(one, ReadCall)),
            tuple(one for one in calls if isinstance(one, PositionSample)),
            self._settled_s,
            self._complete,
            self._partitions_return,
        )


class Asked(msgspec.Struct, frozen=True):
    """A command as it is sent. Arguments: as of `CommandCall`."""

    client: str
    entity: str
    id: str
    command_id: str
    content: str
    expected_version: int | None = None


class CommandNote:
    """A command under way: what it was answered with is given to `answer`, or raised through `with`."""

    def __init__(self, journal: Journal, asked: Asked, started_s: float) -> None:
        self._journal, self._asked, self._started_s = journal, asked, started_s

    def answer(self, result: Receipt | BaseException) -> None:
        """The command's end. The first one counts."""
        ended_s = self._journal.clock_s()
        call = self._accepted(result, ended_s) if isinstance(result, Receipt) else self._refused(result, ended_s)
        self._journal.ended(self, call)

    def unanswered(self) -> CommandCall:
        """As it stands while there is no answer."""
        return self._call(self._journal.clock_s(), "unknown")

    def __enter__(self) -> CommandNote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if error is not None:
            self.answer(error)
        return False

    def _accepted(self, receipt: Receipt, ended_s: float) -> CommandCall:
        (place, next_offset), *_ = receipt.positions.items()
        return msgspec.structs.replace(
            self._call(ended_s, "accepted"),
            version=receipt.version,
            events=receipt.events,
            duplicate=receipt.duplicate,
            partition=place.partition,
            next_offset=next_offset,
        )

    def _refused(self, error: BaseException, ended_s: float) -> CommandCall:
        actual = error.actual if isinstance(error, Conflict) else None
        return msgspec.structs.replace(self._call(ended_s, outcome_of(error)), actual=actual, detail=detail_of(error))

    def _call(self, ended_s: float, outcome: Outcome) -> CommandCall:
        asked = self._asked
        return CommandCall(
            asked.client,
            self._started_s,
            ended_s,
            asked.entity,
            asked.id,
            asked.command_id,
            asked.content,
            outcome,
            asked.expected_version,
        )


def detail_of(error: BaseException) -> str:
    """What was said: a rejection as it travels, so that two can be compared."""
    if isinstance(error, Rejected):
        return rejection_to_wire(error).decode()
    return str(error) if isinstance(error, HeadwaterError) else repr(error)
