"""The value of a record in `<entity>-state`: what an owner needs to know of one entity, and nothing else.

State is a cache of the events. What is not in the events and must survive a fail-over travels here: which
commands were answered how (`recent`), and how far each process's commands have been applied (`sources`).
Refused commands write a record too: else a second try of the same id might be accepted.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headwater.errors import BadData
from headwater.log.port import Record

WINDOW = 128
"""How many command ids are remembered per entity; older ones are found in the events, if they had any."""

DAY_MS = 86_400_000

Kind = Literal["accepted", "rejected"]


class Remembered(msgspec.Struct, array_like=True, frozen=True):
    """An answered command: enough to answer it again.

    Arguments: id; fingerprint: CRC-32 of its value, to tell a repetition from another command with the same
    id; time_ms: when it was answered; kind; version and events: as in the reply; body: the rejection.
    """

    id: str
    fingerprint: int
    time_ms: int
    kind: Kind
    version: int
    events: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class StateRecord(msgspec.Struct, rename="camel"):
    """The record as it stands in the log. `events` and `commands` are the next offsets of `-events` and
    `-commands` that it covers."""

    id: str
    version: int
    schema: str
    events: int
    commands: int
    state: msgspec.Raw
    recent: list[Remembered] = []
    sources: dict[str, tuple[int, int]] = {}


class WrittenState(msgspec.Struct, rename="camel"):
    """`StateRecord` as it is written: what is remembered is JSON already."""

    id: str
    version: int
    schema: str
    events: int
    commands: int
    state: msgspec.Raw
    recent: list[msgspec.Raw]
    sources: dict[str, tuple[int, int]]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StateRecord).decode


class Entry:
    """One entity in its owner's memory: the state as object and as bytes, and what is remembered.

    `torn` is a command of which only the first events are in the log, with their number: it is carried out
    again on the state before it, and only the missing events are written. `recent_json` repeats `recent` as
    JSON: a record carries up to 128 answers, and each is encoded only once.
    """

    __slots__ = ("events", "id", "raw", "recent", "recent_ids", "recent_json", "sources", "state", "torn", "version")

    def __init__(
        self,
        entity_id: str,
        state: Any,
        raw: bytes,
        version: int,
        events: int,
        recent: list[Remembered],
        sources: dict[str, tuple[int, int]],
    ) -> None:
        self.id, self.state, self.raw, self.version, self.events = entity_id, state, raw, version, events
        self.recent, self.sources = recent, sources
        self.torn: tuple[str, int] | None = None
        self.recent_ids = {one.id: one for one in recent}
        self.recent_json = [msgspec.Raw(_encode(one)) for one in recent]

    def remember(self, one: Remembered) -> None:
        """Adds an answered command and forgets what is beyond the window or older than a day."""
        recent = self.recent
        recent.append(one)
        self.recent_ids[one.id] = one
        self.recent_json.append(msgspec.Raw(_encode(one)))
        while len(recent) > WINDOW or recent[0].time_ms < one.time_ms - DAY_MS:
            gone = recent.pop(0)
            self.recent_json.pop(0)
            self.recent_ids.pop(gone.id, None)


def encode_entry(entry: Entry, schema: str, events: int, commands: int) -> bytes:
    """The record's value for an entry, covering these next offsets."""
    return _encode(
        WrittenState(
            entry.id,
            entry.version,
            schema,
            events,
            commands,
            msgspec.Raw(entry.raw),
            entry.recent_json,
            entry.sources,
        )
    )


class Covered(msgspec.Struct, rename="camel"):
    """The part of a record that restoring needs, read without the rest."""

    version: int
    events: int
    commands: int


decode_covered = msgspec.json.Decoder(Covered).decode


def decode_value(value: bytes) -> StateRecord:
    return _decode(value)


def checked_covered(record: Record) -> Covered:
    """The covered offsets of a state record. Raises: BadData: it is none."""
    try:
        return decode_covered(record.value or b"")
    except msgspec.DecodeError as error:
        raise BadData(
            f"not a state record: {error}", topic=record.topic, partition=record.partition, offset=record.offset
        ) from error
