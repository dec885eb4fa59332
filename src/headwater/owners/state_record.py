"""The value of a record in `<entity>-state`: what an owner needs to know of one entity, and nothing else.

State is a cache of the events. What is not in the events and must survive a fail-over travels here: which
commands were answered how (`recent`), and how far each process's commands have been applied (`sources`).
Refused commands write a record too: else a second try of the same id might be accepted.
"""

from __future__ import annotations

from functools import lru_cache
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
    `-commands` that it covers; `recent` holds one `Remembered` each, oldest first. Of its partition it says:
    `folded`: every event before it was in its entity's state by then; `begun`: the first event that an owner
    wrote (-1: none)."""

    id: str
    version: int
    schema: str
    events: int
    commands: int
    state: msgspec.Raw
    recent: list[msgspec.Raw] = []
    sources: dict[str, tuple[int, int]] = {}
    folded: int = 0
    begun: int = -1


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StateRecord).decode
_decode_remembered = msgspec.json.Decoder(Remembered).decode


class Entry(msgspec.Struct, gc=False, eq=False):
    """One entity in its owner's memory: the state as object and as bytes, and what is remembered.

    `answers` has those that are remembered, oldest first, as the JSON with which a record carries them: each is encoded
    once, and read again only for a repetition. (Put together from pieces all over the memory, they were a tenth of an
    owner's work.) `recent` says by command id how many bytes each has there; a comma is between them.
    `torn` is a command of which only the first events are in the log, with their number: it is carried out again on the
    state before it, and only the missing events are written.

    An owner keeps tens of thousands of these. Nothing in one refers back to it, so the garbage collector does
    not have to look at them; when it did, that was a third of the time of a command.
    """

    id: str
    state: Any
    raw: bytes
    version: int
    events: int
    recent: dict[str, int]
    sources: dict[str, tuple[int, int]]
    answers: bytearray = msgspec.field(default_factory=bytearray)
    torn: tuple[str, int] | None = None
    oldest_ms: int = 0
    newest_ms: int = 0
    weight_bytes: int = 0

    @classmethod
    def new(cls, entity_id: str, state: Any, raw: bytes) -> Entry:
        """Of an entity that was never there."""
        return cls(entity_id, state, raw, 0, 0, {}, {})

    @classmethod
    def of_record(cls, record: StateRecord, state: Any, raw: bytes) -> Entry:
        answers = {_decode_remembered(one).id: bytes(one) for one in record.recent}
        recent, text = {id: len(one) for id, one in answers.items()}, bytearray(b",".join(answers.values()))
        entry = cls(record.id, state, raw, record.version, record.events, recent, record.sources, text)
        entry._note_oldest()
        return entry

    def remembered(self, command_id: str) -> Remembered | None:
        """What a command was answered, if that is remembered."""
        return _decode_remembered(self.answers[self._place(command_id)]) if command_id in self.recent else None

    def remember(self, one: Remembered) -> None:
        """Adds an answered command, or replaces what is remembered of it."""
        at_ms, value = one.time_ms, _encode(one)
        if not self.recent:
            self.oldest_ms = at_ms
        if at_ms > self.newest_ms:
            self.newest_ms = at_ms
        if one.id in self.recent:
            self.answers[self._place(one.id)] = value
        else:
            if self.answers:
                self.answers += b","
            self.answers += value
        self.recent[one.id] = len(value)

    def forget_old(self) -> None:
        """Forgets what is beyond the window or older than a day. Not before a batch is decided: what it holds is not in
        the log yet, where a repetition of what was forgotten is looked for."""
        recent, before_ms = self.recent, self.newest_ms - DAY_MS
        while len(recent) > WINDOW or (recent and self.oldest_ms < before_ms):
            del self.answers[: recent.pop(next(iter(recent))) + 1]  # at its beginning nothing is moved for that
            self._note_oldest()

    def _note_oldest(self) -> None:
        for length in self.recent.values():
            self.oldest_ms = _decode_remembered(self.answers[:length]).time_ms
            return

    def _place(self, command_id: str) -> slice:
        """Where the answer to a command stands in `answers`."""
        end = len(self.answers)
        for id in reversed(self.recent):  # it is the last one, mostly: a command has several events
            begin = end - self.recent[id]
            if id == command_id:
                return slice(begin, end)
            end = begin - 1
        raise KeyError(command_id)


_RECORD = (
    b'{"id":%b,"version":%d,"schema":%b,"events":%d,"commands":%d,"state":%b,"recent":[%b],"sources":%b,'
    b'"folded":%d,"begun":%d}'
)
"""A `StateRecord` as msgspec would write it, but put together of parts that are JSON already: one is written for every
command, and it holds up to 128 of them."""


def encode_entry(entry: Entry, schema: str, commands: int, folded: int, begun: int) -> bytes:
    """The record's value for an entry, as `StateRecord` says."""
    entry.forget_old()
    sources = _encode(entry.sources) if entry.sources else b"{}"
    return _RECORD % (
        _encode(entry.id),
        entry.version,
        _encode_schema(schema),
        entry.events,
        commands,
        entry.raw,
        entry.answers,
        sources,
        folded,
        begun,
    )


@lru_cache(maxsize=256)
def _encode_schema(schema: str) -> bytes:
    """The same in all records of an owner: made once."""
    return _encode(schema)


class Covered(msgspec.Struct, rename="camel"):
    """The part of a record that restoring needs, read without the rest."""

    version: int
    events: int
    commands: int
    schema: str = ""
    folded: int = 0
    begun: int = -1


decode_covered = msgspec.json.Decoder(Covered).decode


def decode_value(value: bytes) -> StateRecord:
    return _decode(value)


def with_state(record: StateRecord, schema: str, state: bytes) -> bytes:
    """The record's value with the same state as other code has it."""
    return _encode(msgspec.structs.replace(record, schema=schema, state=msgspec.Raw(state)))


def checked_covered(record: Record) -> Covered:
    """The covered offsets of a state record. Raises: BadData: it is none."""
    try:
        return decode_covered(record.value or b"")
    except msgspec.DecodeError as error:
        raise BadData(
            f"not a state record: {error}", topic=record.topic, partition=record.partition, offset=record.offset
        ) from error
