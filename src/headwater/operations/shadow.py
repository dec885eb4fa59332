"""The states of all entities of a type, folded by the code that runs here, in memory and beside everything else.

Unlike an owner's fold it does not stop at what it cannot read or apply: it notes it, and goes on with the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from headwater.entities.behaviour import Behaviour, counted
from headwater.environment import Environment
from headwater.errors import BadData, HeadwaterError
from headwater.log.port import Log, Positions, Record
from headwater.messages.declare import Event, key_of
from headwater.messages.envelope import Meta
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasting import parts_of
from headwater.readers.spans import batches_between


class Place(NamedTuple):
    """Where a record stands, and what it says that it is."""

    topic: str
    partition: int
    offset: int
    type: str


class Trouble(NamedTuple):
    """An entity that the code cannot fold to its end. Arguments: version: of the event where it fails."""

    id: str
    version: int
    place: Place
    error: str


class Unread(NamedTuple):
    """Events that the code cannot read. Arguments: events: how many; first: the first of them; reason: of that one."""

    type: str
    kind: str
    reason: str
    events: int
    first: Place


class Folded(NamedTuple):
    """A state. Arguments: digest: of its fields, as far as they were asked for."""

    version: int
    digest: bytes


class Traced(NamedTuple):
    """A state after an event."""

    version: int
    place: Place
    fields: dict[str, Any]


def fields_of(behaviour: Behaviour[Any]) -> list[str]:
    """The names of a state's fields as they stand in JSON, without the version, which is no one's own."""
    return [name for name in behaviour.aggregate.__struct_encode_fields__ if name not in ("id", "version")]


def plain(state: Any) -> dict[str, Any]:
    """A state as JSON has it, sets in order."""
    found: dict[str, Any] = msgspec.to_builtins(state, order="deterministic")
    return found


def digest_of(fields: Mapping[str, Any], names: Sequence[str]) -> bytes:
    """Arguments: names: the fields that count; one that is missing counts as null."""
    text = msgspec.json.encode([fields.get(name) for name in names], order="deterministic")
    return hashlib.blake2b(text, digest_size=12).digest()


class Shadow:
    """A fold of one entity type. Arguments: only: the ids that matter (None: all); traced: whether each step of them is
    kept.

    `events`: how many were folded; `troubles`, by id; `unread`, by type and kind; `traces`: the steps, by id.
    """

    def __init__(self, behaviour: Behaviour[Any], only: Collection[str] | None = None, *, traced: bool = False) -> None:
        self._behaviour, self._only, self._traced = behaviour, only, traced
        self._states: dict[str, Any] = {}
        self.events = 0
        self.troubles: dict[str, Trouble] = {}
        self.unread: dict[tuple[str, str], Unread] = {}
        self.traces: dict[str, list[Traced]] = {}

    @property
    def envelopes(self) -> bool:
        """Whether it needs them."""
        methods = any(wants_meta for _, wants_meta in self._behaviour.evolvers.values())
        return methods or self._behaviour.events.wants_headers

    def add(self, records: Sequence[Record]) -> None:
        """Folds records in, in their order."""
        codec = self._behaviour.events
        events = codec.decode_many(codec.contents(records))
        self.events += len(records)
        for record, event in zip(records, events, strict=True):
            entity_id = _id_of(record, event)
            if isinstance(event, Unreadable):
                self._note(record, event)
            if entity_id is None or entity_id in self.troubles:
                continue
            if self._only is not None and entity_id not in self._only:
                continue
            state = self._states.get(entity_id)
            if state is None:
                state = self._states[entity_id] = self._behaviour.new(entity_id)
            if isinstance(event, Unreadable):
                state.version += 1
            else:
                self._evolve(entity_id, state, record, event)
            if self._traced and entity_id not in self.troubles:
                state = self._states[entity_id]
                self.traces.setdefault(entity_id, []).append(Traced(state.version, _place(record, event), plain(state)))

    def folded(self, names: Sequence[str]) -> dict[str, Folded]:
        """The states, by id, but for those with trouble. Arguments: names: the fields that count."""
        return {
            entity_id: Folded(state.version, digest_of(plain(state), names))
            for entity_id, state in self._states.items()
            if entity_id not in self.troubles
        }

    def state(self, entity_id: str) -> dict[str, Any]:
        """The fields of one state."""
        return plain(self._states[entity_id])

    def _evolve(self, entity_id: str, state: Any, record: Record, event: Event) -> None:
        def meta() -> Meta:
            found = self._behaviour.meta_of(record, type(event))
            if isinstance(found, Unreadable):
                raise BadData(found.reason, topic=record.topic, partition=record.partition, offset=record.offset)
            return counted(found, state.version)

        version = state.version + 1
        try:
            self._states[entity_id] = self._behaviour.evolve(state, event, meta)
        except Exception as error:  # noqa: BLE001 -- the author's function may raise anything: that is to be found out
            text = str(error) if isinstance(error, HeadwaterError) else f"{type(error).__name__}: {error}"
            self.troubles[entity_id] = Trouble(entity_id, version, _place(record, event), text)

    def _note(self, record: Record, event: Unreadable) -> None:
        name = event.wire_name or "?"
        known = self.unread.get((name, event.kind))
        if known is None:
            known = Unread(name, event.kind, event.reason, 0, _place(record, event))
        self.unread[name, event.kind] = known._replace(events=known.events + 1)


def run_shadow(shadow: Shadow, log: Log, start: Positions, ends: Positions, environment: Environment) -> Shadow:
    """Folds the events between two positions. Raises: Unavailable."""
    for batch in batches_between(log, start, ends, "previewing", environment, envelopes=shadow.envelopes):
        shadow.add(batch.records)
    return shadow


def _id_of(record: Record, event: Event | Unreadable) -> str | None:
    try:
        if record.key is not None:
            return record.key.decode()
        return None if isinstance(event, Unreadable) else next((key_of(one) for _, one in parts_of(event)), None)
    except UnicodeDecodeError:
        return None


def _place(record: Record, event: Event | Unreadable) -> Place:
    if isinstance(event, Unreadable):
        name = event.wire_name or "?"
    else:
        name = " + ".join(type(one).__hw__.wire_name for _, one in parts_of(event)) or type(event).__hw__.wire_name
    return Place(record.topic, record.partition, record.offset, name)
