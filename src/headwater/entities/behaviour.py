"""An aggregate class, compiled once into what the owner and the readers call: decide, evolve, encode, fold.

Everything here is a pure function of its arguments. `decide` checks that the state was left as it was (the
bytes before and after are compared), so a handler that changes state instead of returning an event is found
at its first call and not after a restart.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from headwater.entities.aggregate import Aggregate, handlers_of
from headwater.entities.schema import schema_of
from headwater.errors import BadData, HeadwaterError, Misuse
from headwater.log.topology import events_topic
from headwater.messages.builtin import Parts, Reverted
from headwater.messages.codec import Codec
from headwater.messages.declare import Command, Event, key_of, members_of
from headwater.messages.envelope import Meta, Recorded, read_meta
from headwater.messages.json_codec import JsonCodec
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasting import meta_of_part, parts_of
from headwater.schemas.topics import PLAIN, Codecs

A = TypeVar("A", bound=Aggregate[Any])


class StoredFields(Protocol):
    """The fields of a log's record that reading needs."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...
    @property
    def timestamp_ms(self) -> int: ...


class Broken(HeadwaterError):
    """A handler did something that it must not: the text says which and what. Becomes `Failed` above."""


class Behaviour(Generic[A]):
    """What one aggregate class does. `events`: the codec of its topic; `json`: of events that travel in commands.

    Arguments: aggregate; codecs: of the app.
    Raises: Misuse: no event family, handlers for foreign messages, two handlers for one message.
    """

    def __init__(self, aggregate: type[A], codecs: Codecs = PLAIN) -> None:
        self.aggregate = aggregate
        self.family = _family_of(aggregate)
        self.entity = typing.cast(str, self.family.__hw__.entity)
        events = typing.cast(list[type[Event]], members_of(self.family))
        if not events:
            raise Misuse(f"{aggregate.__name__}: {self.family.__name__} has no events yet")
        self._deciders: dict[type, tuple[Callable[..., Any], bool]] = {}
        self.evolvers: dict[type, tuple[Callable[..., Any], bool]] = {}
        self._collect(events)
        self.events: Codec[Event] = codecs.of(events_topic(self.entity), [*events, Reverted])
        self.json: JsonCodec[Event] = JsonCodec([*events, Reverted])
        self._key_fields: dict[type, str | None] = {event: event.__hw__.key_field for event in events}
        self._decoder: msgspec.json.Decoder[A] = msgspec.json.Decoder(aggregate)
        self.schema = schema_of(aggregate)
        self.encode_state: Callable[[A], bytes] = msgspec.json.Encoder().encode

    @property
    def commands(self) -> list[type[Command]]:
        """The command classes that it decides on."""
        return list(self._deciders)

    def new(self, entity_id: str) -> A:
        """The state before the first event."""
        state: A = self.aggregate()
        state.id = entity_id
        return state

    def decode_state(self, raw: bytes) -> A:
        return self._decoder.decode(raw)

    def decide(self, state: A, raw: bytes, command: Command, meta: Callable[[], Meta]) -> Sequence[Event]:
        """The events that answer a command (none: accepted, nothing happened).

        Arguments: state and raw: the same state, as an object and as bytes; meta: called only if it is wanted.
        Raises: Rejected: by the handler. Broken: the state was changed, or what came back is no event of this
        entity. Whatever else the handler raises passes through.
        """
        function, wants_meta = self._deciders[type(command)]
        answer = function(state, command, meta()) if wants_meta else function(state, command)
        if self.encode_state(state) != raw:
            raise Broken("it changed the state; only @evolves methods may, from an event")
        if answer is None:
            return ()
        key_field = self._key_fields.get(type(answer))
        if key_field is not None and getattr(answer, key_field) == state.id:
            return (answer,)  # the usual answer: see `check`
        events = (answer,) if isinstance(answer, Event) else tuple(answer)
        for event in events:
            self.check(event, state.id)
        return events

    def check(self, event: object, entity_id: str) -> None:
        """Whether an event may be appended to this entity. Raises: Broken."""
        kind = type(event)
        key_field = self._key_fields.get(kind)
        if key_field is not None and getattr(event, key_field) == entity_id:
            return  # an id is text, and so is a key that equals one
        if kind is Reverted:
            return
        if key_field is None:
            raise Broken(f"{kind.__name__} is not an event of {self.entity}; return events of {self.family.__name__}")
        if key_of(typing.cast(Event, event)) != entity_id:
            raise Broken(f"{kind.__name__} carries the key {key_of(typing.cast(Event, event))!r}, not {entity_id!r}")

    def evolve(self, state: A, event: Event, meta: Callable[[], Meta]) -> A:
        """The state after an event: usually the same object, changed. `meta` is called only if it is wanted."""
        if type(event) is Reverted:
            version = state.version + 1
            entity_id = state.id
            state = self._decoder.decode(event.state)
            state.version, state.id = version, entity_id
            return state
        if type(event) is Parts:
            return self._evolve_parts(state, event, meta)
        found = self.evolvers.get(type(event))
        if found is not None:
            function, wants_meta = found
            if wants_meta:
                function(state, event, meta())
            else:
                function(state, event)
        state.version += 1
        return state

    def _evolve_parts(self, state: A, event: Parts, meta: Callable[[], Meta]) -> A:
        """All that one record is read as, which is one version."""
        version = state.version
        for part, one in event.events:
            state = self.evolve(state, one, lambda part=part, one=one: meta_of_part(meta(), part, one))  # type: ignore[misc] # called at once
            state.version = version
        state.version = version + 1
        return state

    def fold(self, entity_id: str, history: Iterable[Recorded[Event]]) -> A:
        """The state after these events. `version` is the last one's, so a fold of a part says how far it saw."""
        state = self.new(entity_id)
        for recorded in history:
            state = self.evolve(state, recorded.event, lambda meta=recorded.meta: meta)  # type: ignore[misc] # bound now, called now
            if recorded.meta.version is not None:
                state.version = recorded.meta.version
        return state

    def fold_values(self, entity_id: str, values: Sequence[bytes | None]) -> A:
        """The state after event values alone. Raises: Unreadable values as `Broken`; Misuse: an @evolves
        method wants meta, which values do not have."""
        state = self.new(entity_id)
        evolve = self.evolve
        for event in self.events.decode_many(values):
            if isinstance(event, Unreadable):
                raise Broken(event.reason)
            state = evolve(state, event, _no_meta)
        return state

    def read(self, records: Iterable[StoredFields], *, after: int = 0) -> list[Recorded[Event]]:
        """The events of an entity's records, in order, each with its meta. Several that one old record is read as have
        its version in common. Else as `read_records`."""
        found: list[Recorded[Event]] = []
        for recorded in self.read_records(records, after=after):
            if type(recorded.event) is not Parts:
                found.append(recorded)
                continue
            for part, event in parts_of(recorded.event):
                found.append(Recorded(event, meta_of_part(recorded.meta, part, event)))
        return found

    def read_records(self, records: Iterable[StoredFields], *, after: int = 0) -> list[Recorded[Event]]:
        """One for each record; where the records do not say versions, they are counted on from `after`.

        Raises: BadData: a record that cannot be read, with where."""
        found: list[Recorded[Event]] = []
        records = list(records)
        for record, content in zip(records, self.events.contents(records), strict=True):
            event = self.events.decode(content)
            meta = self.meta_of(record, type(event))
            if isinstance(event, Unreadable) or isinstance(meta, Unreadable):
                reason = event.reason if isinstance(event, Unreadable) else typing.cast(Unreadable, meta).reason
                raise BadData(reason, topic=record.topic, partition=record.partition, offset=record.offset)
            found.append(Recorded(event, counted(meta, after + len(found))))
        return found

    def meta_of(self, record: StoredFields, event: type) -> Meta | Unreadable:
        """The envelope of a record; the payload's own type and time, where the headers do not say them."""
        said: datetime | None = None
        if not any(name == "ce_time" for name, _ in record.headers):
            time = self.events.payload_time(self.events.contents([record])[0])
            if isinstance(time, Unreadable):
                return time
            said = time
        kind = event.__hw__.wire_name if issubclass(event, Event) else None
        at = record.topic, record.partition, record.offset
        return read_meta(*at, record.key, record.headers, record.timestamp_ms, said, kind)

    def fold_records(self, entity_id: str, records: Iterable[StoredFields]) -> A:
        """The state after an entity's records. Raises: BadData."""
        return self.fold(entity_id, self.read(records))

    def _collect(self, events: Sequence[type[Event]]) -> None:
        for handler in handlers_of(self.aggregate):
            table = self._deciders if handler.role == "decides" else self.evolvers
            base = Command if handler.role == "decides" else Event
            for message in handler.messages:
                name = f"{self.aggregate.__name__}.{handler.function.__name__}"
                if not (isinstance(message, type) and issubclass(message, base)):
                    raise Misuse(f"{name}: {message!r} is not a subclass of hw.{base.__name__}")
                if message.__hw__.entity != self.entity:
                    raise Misuse(
                        f"{name}: {message.__name__} belongs to {message.__hw__.entity!r}, not to {self.entity!r}"
                    )
                if message in table:
                    raise Misuse(f"{name}: {message.__name__} has another @{handler.role} method already")
                table[message] = (handler.function, handler.wants_meta)


def counted(meta: Meta, before: int) -> Meta:
    """An envelope with the version that its record does not say, since others wrote it. Arguments: before: the entity's
    version before it."""
    return msgspec.structs.replace(meta, version=before + 1) if meta.version is None else meta


def _no_meta() -> Meta:
    raise Misuse("an @evolves method that takes meta cannot be folded from values alone")


def _family_of(aggregate: type) -> type[Event]:
    for base in getattr(aggregate, "__orig_bases__", ()):
        if typing.get_origin(base) is Aggregate:
            family = typing.get_args(base)[0]
            if isinstance(family, type) and issubclass(family, Event) and family.__hw__.entity:
                return family
    raise Misuse(f"write class {aggregate.__name__}(hw.Aggregate[YourEvent]), where YourEvent names the entity")
