"""A command as it reaches its owner, whichever way it came: as a record, or handed over in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec

from headwater.errors import BadData, HeadwaterError
from headwater.log.port import Headers, Record
from headwater.messages.declare import Command
from headwater.messages.envelope import parse_time
from headwater.messages.unreadable import Unreadable
from headwater.owners.limits import ENVELOPE_CHARACTERS, too_long
from headwater.owners.replies import Reply

TRACEPARENT_BYTES = 55
"""As W3C Trace Context has it in its version 00."""


class Source(msgspec.Struct, frozen=True):
    """Where a process's command comes from: it identifies the command for ever, however late it is repeated.

    Arguments: stream: "process|topic|partition"; offset: of the event there; index: among its commands.
    """

    stream: str
    offset: int
    index: int

    @property
    def place(self) -> tuple[str, int]:
        """The topic and the partition that the event stands in. Raises: ValueError: somebody else's header."""
        _, topic, partition = self.stream.split("|")
        return topic, int(partition)


class Arrived(msgspec.Struct, eq=False):
    """A command with its envelope.

    `answer`, of one that was handed over in this process, is called with the reply after the commit, or with what
    kept it from being carried out; for a record it is None, and `client` says whose reply record it becomes.
    `traceparent` is what follows it (W3C Trace Context), for the headers of what it leads to. `message` is what its
    value says, where it was read together with others; who carries it out takes it away, so that it is used once.
    `turned_away` are those that were handed over before it, and turned away by now: it must not overtake them.
    """

    id: str
    key: bytes
    value: bytes
    partition: int
    offset: int = -1
    expected: int | None = None
    time: datetime | None = None
    actor: str | None = None
    correlation_id: str | None = None
    source: Source | None = None
    client: bytes | None = None
    answer: Callable[[Reply | HeadwaterError], None] | None = None
    headers: Headers = ()
    timestamp_ms: int = 0
    traceparent: bytes | None = None
    message: Command | Unreadable | None = None
    turned_away: Sequence[object] = ()


class NotMine(HeadwaterError):
    """The partition is not owned here (any more), or is stopped: the command must travel, or wait."""

    def __init__(self, entity: str, partition: int, stopped: str | None) -> None:
        super().__init__(
            f"partition {partition} of {entity!r} is not served here" + (f": {stopped}" if stopped else "")
        )
        self.stopped = stopped


def answer_all(commands: Iterable[Arrived], error: HeadwaterError) -> None:
    """Tells those that are in this process why they were not carried out, or may not have been."""
    for one in commands:
        if one.answer is not None:
            one.answer(error)


def from_record(record: Record) -> Arrived:
    """Reads a record of a `-commands` topic.

    Raises: BadData: no key, no value, or headers that no client of ours wrote.
    """
    pairs = record.headers
    get = dict(pairs).get
    command_id = get("ce_id")
    key, value = record.key, record.value
    if command_id is None or key is None or value is None:
        raise _foreign(record, "a foreign record in an owned topic: it has no ce_id header, key or value")
    try:
        arrived = Arrived(
            command_id.decode(),
            key,
            value,
            record.partition,
            offset=record.offset,
            client=get("hw_client"),
        )
        if (trace := get("traceparent")) is not None:
            arrived.traceparent = trace_of(trace)
        if (text := get("ce_time")) is not None:
            arrived.time = parse_time(text.decode())
        if (text := get("ce_authid")) is not None:
            arrived.actor = text.decode()
        if (text := get("hw_expected")) is not None:
            arrived.expected = int(text)
        if (text := get("ce_correlationid")) is not None:
            arrived.correlation_id = text.decode()
        if (text := get("hw_source")) is not None:
            arrived.source = parse_source(text.decode())
            arrived.headers, arrived.timestamp_ms = pairs, record.timestamp_ms
    except ValueError as error:
        raise _foreign(record, f"unreadable command headers: {error}") from error
    long = len(key) + len(command_id)
    if arrived.actor is not None or arrived.correlation_id is not None:
        long += len(arrived.actor or "") + len(arrived.correlation_id or "")
    if long > ENVELOPE_CHARACTERS:
        raise _foreign(record, f"unreadable command headers: {too_long(long)}")
    return arrived


def trace_of(traceparent: bytes) -> bytes | None:
    """A header that can go on into others: what others send may be anything, and of any size."""
    return traceparent if len(traceparent) <= TRACEPARENT_BYTES else None


def source_text(source: Source) -> str:
    """The `hw_source` header: process|topic|partition;offset;index."""
    return f"{source.stream};{source.offset};{source.index}"


def parse_source(text: str) -> Source:
    stream, offset, index = text.split(";")
    return Source(stream, int(offset), int(index))


def _foreign(record: Record, reason: str) -> BadData:
    return BadData(reason, topic=record.topic, partition=record.partition, offset=record.offset)
