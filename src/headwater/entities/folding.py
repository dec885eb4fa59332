"""Folding the events of many entities at once, as they stand in a topic: batches of records in, states by id out.

A batch is decoded in one go, and an event costs one call of its @evolves method. An envelope is read only for
methods that ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour, StoredFields, counted
from headwater.errors import BadData, Failed, HeadwaterError
from headwater.messages.declare import Event, key_of
from headwater.messages.envelope import Meta
from headwater.messages.json_codec import Unreadable
from headwater.messages.upcasting import parts_of

A = TypeVar("A", bound=Aggregate[Any])


class Fold(Generic[A]):
    """The states of all entities of a type, after the records that were added. `wants_meta`: whether any method asks
    for envelopes, or decoding does.

    Versions are counted, so adding begins with an entity's first event.
    """

    def __init__(self, behaviour: Behaviour[A]) -> None:
        self._behaviour = behaviour
        self._states: dict[bytes | None, A] = {}
        self._plain = {
            event: function for event, (function, wants_meta) in behaviour.evolvers.items() if not wants_meta
        }
        self.wants_meta = len(self._plain) < len(behaviour.evolvers) or behaviour.events.wants_headers

    @property
    def states(self) -> dict[str, A]:
        """By entity id."""
        return {state.id: state for state in self._states.values()}

    def encoded(self, entity_id: str, version: int) -> bytes | None:
        """The state of an entity as JSON; None: its events are not as many as its version says."""
        state = self._states.get(entity_id.encode())
        if state is None:
            state = self._behaviour.new(entity_id)
        return self._behaviour.encode_state(state) if state.version == version else None

    def all_encoded(self) -> dict[bytes, tuple[int, bytes]]:
        """All states, by record key: the version and the JSON of each."""
        encode = self._behaviour.encode_state
        return {key: (state.version, encode(state)) for key, state in self._states.items() if key is not None}

    def seed(self, key: bytes, state: bytes) -> None:
        """Goes on from a state, as JSON, for the entity with this record key."""
        self._states[key] = self._behaviour.decode_state(state)

    def add(self, records: Sequence[StoredFields]) -> None:
        """Folds records in, in their order.

        Raises: BadData: one that cannot be read. Failed: an @evolves method raised. Each with the coordinates.
        """
        states, plain = self._states, self._plain
        codec = self._behaviour.events
        events = codec.decode_many(codec.contents(records))
        place: tuple[StoredFields, Event | Unreadable] | None = None
        try:
            for place in zip(records, events, strict=True):
                record, event = place
                try:
                    state = states[record.key]
                except KeyError:
                    state = self._state(record, event)
                try:
                    evolve = plain[type(event)]  # what cannot be read has none either
                except KeyError:
                    self._evolve(record, event, state)
                    continue
                evolve(state, event)
                state.version += 1
        except HeadwaterError:
            raise
        except Exception as error:
            # The author's function may raise anything.
            assert place is not None
            raise self._failed(*place, error) from error

    def _failed(self, record: StoredFields, event: Event | Unreadable, error: Exception) -> Failed:
        function, _ = self._behaviour.evolvers.get(type(event), (self._behaviour.evolve, False))  # one of its parts
        where = f"{type(event).__name__} (topic {record.topic}, partition {record.partition}, offset {record.offset})"
        handler = f"{self._behaviour.aggregate.__name__}.{getattr(function, '__name__', function)}"
        return Failed(handler, where, f"{type(error).__name__}: {error}")

    def _state(self, record: StoredFields, event: Event | Unreadable) -> A:
        """The state of the record's entity; a record of others may have no key, its event has."""
        if isinstance(event, Unreadable):
            raise _bad(record, event)
        try:
            entity_id = _key_of(event) if record.key is None else record.key.decode()
        except UnicodeDecodeError as error:
            raise _bad(record, f"the key is not UTF-8: {error}") from error
        key = entity_id.encode()
        if key not in self._states:
            self._states[key] = self._behaviour.new(entity_id)
        return self._states[key]

    def _evolve(self, record: StoredFields, event: Event | Unreadable, state: A) -> None:
        """The unusual ones: unreadable, reverted, of a type without a method, or of one that asks for meta."""
        if isinstance(event, Unreadable):
            raise _bad(record, event)

        def meta() -> Meta:
            found = self._behaviour.meta_of(record, type(event))
            if isinstance(found, Unreadable):
                raise _bad(record, found)
            return counted(found, state.version)

        self._states[state.id.encode()] = self._behaviour.evolve(state, event, meta)


def _key_of(event: Event) -> str:
    """The key of an event, or of those that its record is read as; "": it has none."""
    return next((key_of(one) for _, one in parts_of(event)), "")


def _bad(record: StoredFields, why: Unreadable | str) -> BadData:
    reason = why.reason if isinstance(why, Unreadable) else why
    return BadData(reason, topic=record.topic, partition=record.partition, offset=record.offset)
