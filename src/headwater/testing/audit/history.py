"""The history of a run: what its clients asked, when, and what they were told. Plain data, ready for JSON.

Times are seconds on one monotonic clock, the machine's own, so histories of several processes can be put
together. One call happened before another if it ended before the other started; else they ran at the same time.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headwater.errors import Conflict, Failed, Misuse
from headwater.messages.rejection import Rejected

Outcome = Literal["accepted", "rejected", "conflict", "failed", "misuse", "unknown"]

REFUSALS: frozenset[Outcome] = frozenset({"rejected", "conflict", "failed", "misuse"})
"""After these nothing was written."""

CommandKey = tuple[str, str, str]
"""Entity type, entity id, command id: a command id is one command of one entity."""


class CommandCall(msgspec.Struct, frozen=True):
    """A command that was sent, or events that were appended.

    Arguments: client: who; content: type and fields, to tell a repetition from another command of the same id;
    outcome: "unknown" for everything that leaves it open; version, events, duplicate, partition, next_offset: of the
    receipt; actual: the version that a conflict names; detail: the refusal, or the error's text.
    """

    client: str
    started_s: float
    ended_s: float
    entity: str
    id: str
    command_id: str
    content: str
    outcome: Outcome
    expected_version: int | None = None
    version: int = 0
    events: int = 0
    duplicate: bool = False
    partition: int = -1
    next_offset: int = -1
    actual: int | None = None
    detail: str = ""

    @property
    def key(self) -> CommandKey:
        return self.entity, self.id, self.command_id


class QuestionCall(msgspec.Struct, frozen=True):
    """Somebody asked what became of a command: "absent", it was never carried out; "unknown", no answer came."""

    client: str
    started_s: float
    ended_s: float
    entity: str
    id: str
    command_id: str
    outcome: Literal["accepted", "rejected", "absent", "unknown"]
    version: int = 0
    events: int = 0
    detail: str = ""

    @property
    def key(self) -> CommandKey:
        return self.entity, self.id, self.command_id


class ReadCall(msgspec.Struct, frozen=True):
    """An entity that was read. Reads that failed say nothing and are not kept.

    Arguments: how: from its owner (the newest there is), from the log's events, or as a row of its table;
    version: 0 where it was not found; state: as JSON, if the whole state was read; at_least: the version that the
    caller asked for.
    """

    client: str
    started_s: float
    ended_s: float
    entity: str
    id: str
    how: Literal["owner", "events", "row"]
    version: int
    state: bytes | None = None
    at_least: int = 0


class PositionSample(msgspec.Struct, frozen=True):
    """How far a reader (a consumer group, a read model) had come in a partition when somebody looked."""

    reader: str
    topic: str
    partition: int
    position: int
    started_s: float
    ended_s: float


class History(msgspec.Struct, frozen=True):
    """Everything that was recorded of a run.

    Arguments: settled_s: from then on nothing was under way any more, and questions have final answers (None: not
    known); complete: every command of the run is among `commands` or in a `-commands` topic; partitions_return:
    partitions may have gone back to an owner that had lost them.
    """

    commands: tuple[CommandCall, ...] = ()
    questions: tuple[QuestionCall, ...] = ()
    reads: tuple[ReadCall, ...] = ()
    samples: tuple[PositionSample, ...] = ()
    settled_s: float | None = None
    complete: bool = True
    partitions_return: bool = False

    def with_all_of(self, other: History) -> History:
        """Two processes' histories as one."""
        settled = [time for time in (self.settled_s, other.settled_s) if time is not None]
        return History(
            self.commands + other.commands,
            self.questions + other.questions,
            self.reads + other.reads,
            self.samples + other.samples,
            max(settled, default=None),
            self.complete and other.complete,
            self.partitions_return or other.partitions_return,
        )


def outcome_of(error: BaseException) -> Outcome:
    """What an error says of its command. Whatever does not say that nothing was written leaves it open."""
    match error:
        case Rejected():
            return "rejected"
        case Conflict():
            return "conflict"
        case Failed():
            return "failed"
        case Misuse():
            return "misuse"
    return "unknown"
