"""A registry that is a topic of the log itself: `headwater-schemas`, one partition, compacted.

    key      order-events/OrderPlaced.v1#90375984        subject and id
    value    {"subject", "revision", "id", "kind", "text", "references"}

Two processes may register at once, and the log has no "append if nothing came since". So who registers reads what is
there, appends, and reads again up to its own record. If another one came in between that it is not compatible with, it
takes its own back (a record without a value): the earlier one of two stays, in whatever order they look.

Revisions are numbered in the order that their writers claimed, and of two that claimed the same, the earlier record
first; so a schema that two processes registered at once keeps its number when the topic is compacted.
"""

from __future__ import annotations

import threading
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from headwater.errors import Unavailable
from headwater.log.port import Log, NewRecord, Record, TopicPartition, TopicSpec
from headwater.schemas.compatibility import Level
from headwater.schemas.derivation import SchemaKind
from headwater.schemas.identity import canonical
from headwater.schemas.port import Schema, UnknownSchema
from headwater.schemas.registries.port import Incompatible, Registered
from headwater.schemas.registries.registering import broken_by, found_in, free_id
from headwater.schemas.subjects import parsed_subject

TOPIC: Final = "headwater-schemas"
SPEC: Final = TopicSpec(TOPIC, 1, compacted=True)
PARTITION: Final = TopicPartition(TOPIC, 0)


class Entry(msgspec.Struct, frozen=True):
    """A record's value. Arguments: revision: that its writer claimed."""

    subject: str
    revision: int
    id: int
    kind: SchemaKind
    text: str
    references: tuple[tuple[str, str], ...] = ()


class _Read(NamedTuple):
    offset: int
    entry: Entry


class LogRegistry:
    """Arguments: log: stays open; level."""

    def __init__(self, log: Log, level: Level) -> None:
        self._log, self._level = log, level
        self._lock = threading.RLock()
        self._position: int | None = None
        self._entries: dict[str, _Read] = {}

    @property
    def place(self) -> str:
        return f"{TOPIC} on {self._log.url}"

    @property
    def level(self) -> Level:
        return self._level

    @property
    def rules(self) -> None:
        return None

    @property
    def by_hand(self) -> Literal[False]:
        return False

    def schema(self, id: int | UUID) -> Schema:
        with self._lock:
            found = self._schemas().get(id) if isinstance(id, int) else None
            if found is None and isinstance(id, int):
                self._refresh()
                found = self._schemas().get(id)
        if found is None:
            raise UnknownSchema(f"there is no schema {id} in {self.place}: it was registered elsewhere")
        return found

    def id_of(self, subject: str, schema: Schema) -> int:
        with self._lock:
            found = found_in(self._of(subject), schema) or found_in(self.revisions(subject), schema)
        if found is None:
            raise UnknownSchema(f"{subject} has no such schema in {self.place}")
        return found.id

    def location(self, id: int) -> str:
        return f"{self._log.url}#{TOPIC}/{id}"

    def subjects(self) -> list[str]:
        with self._lock:
            self._refresh()
            return sorted({one.entry.subject for one in self._entries.values()})

    def revisions(self, subject: str) -> list[Registered]:
        with self._lock:
            self._refresh()
            return self._of(subject)

    def objection(self, subject: str, schema: Schema) -> str:
        return ""

    def register(self, subject: str, schema: Schema) -> Registered:
        parsed_subject(subject)
        with self._lock:
            there = self.revisions(subject)
            found = found_in(there, schema)
            if found is not None:
                return found
            if wrong := broken_by(schema, there, self._level):
                raise Incompatible(subject, wrong)
            number = free_id(schema, self._schemas())
            entry = Entry(subject, len(there) + 1, number, schema.kind, schema.text, schema.references)
            self._log.create_topics([SPEC])
            offset = self._append(entry)
            self._refresh()
            before = [one for one in self._reads(subject) if one.offset < offset]
            if wrong := broken_by(schema, _numbered(before), self._level):
                self._log.append([NewRecord(TOPIC, 0, _key(entry).encode(), None)])
                self._refresh()
                raise Incompatible(subject, wrong)
            return next(one for one in self._of(subject) if one.id == number)

    def carry(self, subject: str, schema: Schema, id: int) -> None:
        """Keeps a schema that is registered elsewhere, with its id from there. Raises: Unavailable: another has it."""
        with self._lock:
            self._refresh()
            other = self._schemas().get(id)
            if other is not None and canonical(other) != canonical(schema):
                raise Unavailable(f"{self.place} has another schema with the id {id} of {subject}: register it there")
            if other is None:
                self._log.create_topics([SPEC])
                self._append(
                    Entry(subject, len(self._of(subject)) + 1, id, schema.kind, schema.text, schema.references)
                )
                self._refresh()

    def close(self) -> None:
        """The log is its owner's."""

    def _append(self, entry: Entry) -> int:
        [offset] = self._log.append([NewRecord(TOPIC, 0, _key(entry).encode(), msgspec.json.encode(entry))])
        return offset

    def _of(self, subject: str) -> list[Registered]:
        return _numbered(self._reads(subject))

    def _reads(self, subject: str) -> list[_Read]:
        return [one for one in self._entries.values() if one.entry.subject == subject]

    def _schemas(self) -> dict[int, Schema]:
        return {one.entry.id: _schema(one.entry) for one in self._entries.values()}

    def _refresh(self) -> None:
        """Reads what was added since. Raises: Unavailable."""
        if not self._log.topics([TOPIC]):
            return
        end = self._log.ends([PARTITION])[PARTITION]
        position = self._log.begins([PARTITION])[PARTITION] if self._position is None else self._position
        if position >= end:
            return
        reader = self._log.reader()
        try:
            reader.assign({PARTITION: position})
            while position < end:
                batch = reader.read(1000, 1.0)
                for record in batch.records:
                    self._take(record)
                position = batch.reached.get(PARTITION, position)
        finally:
            reader.close()
        self._position = position

    def _take(self, record: Record) -> None:
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._entries.pop(key, None)
            return
        try:
            entry = msgspec.json.decode(record.value, type=Entry)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"{TOPIC}/0 has at offset {record.offset} what no headwater wrote: {error}; look at it with `hw tail`"
            ) from error
        self._entries[key] = _Read(record.offset, entry)


def _numbered(read: list[_Read]) -> list[Registered]:
    ordered = sorted(read, key=lambda one: (one.entry.revision, one.offset))
    return [
        Registered(one.entry.subject, number, one.entry.id, _schema(one.entry))
        for number, one in enumerate(ordered, start=1)
    ]


def _schema(entry: Entry) -> Schema:
    return Schema(entry.kind, entry.text, entry.references)


def _key(entry: Entry) -> str:
    return f"{entry.subject}#{entry.id}"
