"""What a caller holds after a command, and what it waits with while there is no answer.

One of each is made for every command, so they are structs: those are made in C.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from headwater.entities.aggregate import Aggregate
from headwater.environment import Span
from headwater.errors import HeadwaterError
from headwater.log.port import TopicPartition
from headwater.log.topology import events_topic
from headwater.messages.declare import Command, Event
from headwater.messages.tokens import encode_token
from headwater.owners.arriving import Source
from headwater.owners.replies import Reply


class Sending(msgspec.Struct, frozen=True):
    """A command with what goes on its envelope, for `send_many`.

    Arguments: command; command_id: None makes one; expected_version: refuse unless the entity is there; time:
    when it happened, aware (None: when it is accepted); actor: who, such as "user:ann"; source: where it comes
    from, for streams that can be read again (a file, a topic): it is then known for ever, however many commands
    came after it.
    """

    command: Command
    command_id: str | None = None
    expected_version: int | None = None
    time: datetime | None = None
    actor: str | None = None
    source: Source | None = None

    @property
    def plain(self) -> bool:
        """Whether there is nothing but a command, and maybe its id."""
        return self.time is None and self.actor is None and self.expected_version is None and self.source is None


class Appending(msgspec.Struct, frozen=True):
    """Events to be appended as they are, for `send_many`. Arguments: as of `Shop.append` and of `Sending`."""

    aggregate: type[Aggregate[Any]]
    entity_id: str
    events: Sequence[Event]
    command_id: str | None = None
    expected_version: int | None = None
    time: datetime | None = None
    actor: str | None = None
    source: Source | None = None


class Receipt(msgspec.Struct, frozen=True):
    """Proof that a command was carried out.

    Arguments: command_id; entity, id: whom; version: the entity's, after it; events: how many it appended (0:
    accepted, nothing happened); duplicate: it had been carried out before; positions: what a reader must have
    reached to see it, for `after=`; log: the log's id.
    """

    command_id: str
    entity: str
    id: str
    version: int
    events: int
    duplicate: bool
    positions: dict[TopicPartition, int]
    log: str

    @property
    def token(self) -> str:
        """The positions as URL-safe text, the same in HTTP headers, command lines and here."""
        return encode_token({(tp.topic, tp.partition): offset for tp, offset in self.positions.items()}, self.log)


def receipt_of(reply: Reply, log_id: str) -> Receipt:
    position = {events_partition(reply.entity, reply.partition): reply.next_offset}
    return Receipt(
        reply.command_id, reply.entity, reply.id, reply.version, reply.events, reply.duplicate, position, log_id
    )


@lru_cache(maxsize=4096)
def events_partition(entity: str, partition: int) -> TopicPartition:
    """Where the events of an entity's partition are: kept, since each answer needs it."""
    return TopicPartition(events_topic(entity), partition)


Question = tuple[str, str, str, int]
"""Entity type, entity id, command id and attempt: what an answer names. One may be under way several times, and is then
answered as often, in order."""


class Pending(msgspec.Struct, eq=False):
    """A command under way. `settle` is called from any thread; the first call counts. `landed`, set before the
    command travels, is called then. `question` is what its answer will name, if it travels; `behind` waits for the
    next answer to the same; `span` follows the command from here to its answer. One caller waits at a time. (The
    garbage collector has to see it: an error that it is answered with refers to the frame in which it was raised, and
    that to the pending.)
    """

    command_id: str
    question: Question | None = None
    result: Reply | HeadwaterError | None = None
    landed: Callable[[Pending], object] | None = None
    behind: Pending | None = None
    span: Span | None = None
    # Set by who waits: of many commands under way, most are answered before anybody does.
    _wake: Callable[[], object] | None = None

    def settle(self, result: Reply | HeadwaterError) -> None:
        if self.result is not None:
            return
        # In this order: who begins to wait meanwhile says how to be woken first and looks at the result then.
        self.result = result
        if self.span is not None:
            end_span(self.span, result)
        wake = self._wake
        if wake is not None:
            wake()
        landed, self.landed = self.landed, None
        if landed is not None:
            landed(self)

    def wait(self, timeout_s: float) -> None:
        """Waits for `settle`; comes back without a result when it did not happen in time."""
        waiter = threading.Lock()
        waiter.acquire()
        self._wake = waiter.release
        if self.result is None:
            waiter.acquire(timeout=timeout_s)
        self._wake = None

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Has `wake` called, which may happen twice, when the command is answered, or now if it is already."""
        self._wake = wake
        if self.result is not None:
            wake()

    def outcome(self) -> Reply | HeadwaterError:
        """The answer, or the error that it was answered with."""
        result = self.result
        assert result is not None, "nobody asks for the answer before it is there"
        if isinstance(result, HeadwaterError):
            return result
        return result if result.outcome == "accepted" else result.error() or result


def end_span(span: Span, result: Reply | HeadwaterError) -> None:
    if isinstance(result, HeadwaterError):
        span.end(type(result).__name__, failed=True)
    else:
        span.end(result.outcome, failed=result.outcome == "failed")
