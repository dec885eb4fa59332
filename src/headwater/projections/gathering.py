"""From a batch of records to the calls it means: decode what somebody wants, and name the rows.

A type that nobody reacts to costs one look at the beginning of its value. The rest is decoded in one pass per
topic. The order within each partition is kept; between partitions there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from headwater.errors import BadData, Failed, HeadwaterError, Misuse
from headwater.log.port import Record, TopicPartition
from headwater.log.topology import events_topic
from headwater.messages.checking import Test, complaint, test_of
from headwater.messages.declare import Event
from headwater.messages.envelope import Meta, read_meta
from headwater.messages.json_codec import JsonCodec
from headwater.messages.unreadable import Unreadable
from headwater.projections.folding import Call, Handler, failure
from headwater.stores.port import Key, TableSchema

KeyTest = tuple[str, Any, Test]
NAME_BEGINS = b'{"eventType":"'


class Listener(NamedTuple):
    """A handler with what decides its rows.

    Arguments: event: a concrete class; tests: of the key's values; key, keys: functions of (event, meta);
    neither: `own` gives the key that the event itself carries; wants_meta: of the handler or of the key functions.
    """

    event: type[Event]
    handler: Handler
    tests: Sequence[KeyTest]
    key: Callable[[Any, Meta], object] | None
    keys: Callable[[Any, Meta], Iterable[object]] | None
    own: Callable[[Any], object]
    wants_meta: bool


class Gathered(NamedTuple):
    """`calls`, and per partition where reading has to stop: the record's offset and why."""

    calls: list[Call]
    stops: dict[TopicPartition, tuple[int, HeadwaterError]]


class Topic:
    """The listeners of one topic. `entity`: its entity type; `types`: wire names that somebody listens to."""

    def __init__(self, entity: str, listeners: Sequence[Listener], codec: JsonCodec[Event] | None = None) -> None:
        self.entity, self.name = entity, events_topic(entity)
        found: dict[type[Event], list[Listener]] = {}
        for listener in listeners:
            found.setdefault(listener.event, []).append(listener)
        self._listeners = {event: (any(one.wants_meta for one in ones), ones) for event, ones in found.items()}
        self._codec = codec or JsonCodec([listener.event for listener in listeners])
        self.types = frozenset(self._codec.classes)
        self._wanted = {name.encode() for name in self.types}
        self._wanted_values = tuple(NAME_BEGINS + name + b'"' for name in self._wanted)
        self._direct = {event: ones[0] for event, ones in found.items() if is_direct(ones)}

    def gather(self, records: Sequence[Record]) -> Gathered:
        """The calls of this topic's records, each partition up to the first that cannot be read."""
        begins = self._wanted_values
        wanted = [
            record
            for record in records
            if ((value := record.value) is not None and value.startswith(begins)) or self._is_wanted(value)
        ]
        events = self._codec.decode_many([record.value for record in wanted])
        calls: list[Call] = []
        stops: dict[TopicPartition, tuple[int, HeadwaterError]] = {}
        direct = self._direct.get
        for record, event in zip(wanted, events, strict=True):
            only = direct(type(event))  # type: ignore[arg-type] # what is unreadable is not there either
            if only is not None and not stops:  # the way of most events, without a call
                calls.append((record, event, None, only.handler, (only.own(event),)))  # type: ignore[arg-type] # as above
                continue
            try:
                if isinstance(event, Unreadable):
                    if event.kind != "unknown_type":
                        raise bad_data(event, record)
                    continue
                if stops and TopicPartition(record.topic, record.partition) in stops:
                    continue
                self._call(record, event, calls)
            except (BadData, Failed) as error:
                stops.setdefault(TopicPartition(record.topic, record.partition), (record.offset, error))
        return Gathered(calls, stops)

    def _is_wanted(self, value: bytes | None) -> bool:
        """False for a type that has no listener; True also where only decoding can tell."""
        if value is None or not value.startswith(NAME_BEGINS):
            return True
        end = value.find(b'"', len(NAME_BEGINS))
        name = value[len(NAME_BEGINS) : end]
        return name in self._wanted or end < 0 or b"\\" in name

    def _call(self, record: Record, event: Event, calls: list[Call]) -> None:
        wants_meta, listeners = self._listeners[type(event)]
        meta = self._read_meta(record, event) if wants_meta else None
        for listener in listeners:
            handler = listener.handler
            if listener.key is None and listener.keys is None:
                calls.append((record, event, meta, handler, (listener.own(event),)))
                continue
            try:
                for key in named_keys(listener, event, meta):
                    values = key if isinstance(key, tuple) else (key,)
                    refuse_key(handler.table, listener.tests, values)
                    calls.append((record, event, meta, handler, values))
            except Exception as error:  # the author's function may raise anything
                raise failure((record, event, meta, handler, ()), error, part="the key of ") from error

    def _read_meta(self, record: Record, event: Event) -> Meta:
        headers = record.headers
        time = None
        for name, _ in headers:
            if name == "ce_time":
                break
        else:
            said = self._codec.payload_time(record.value)
            if isinstance(said, Unreadable):
                raise bad_data(said, record)
            time = said
        at, kind = (record.topic, record.partition, record.offset), type(event).__hw__.wire_name
        meta = read_meta(*at, record.key, headers, record.timestamp_ms, time, kind)
        if isinstance(meta, Unreadable):
            raise bad_data(meta, record)
        return meta


def is_direct(listeners: Sequence[Listener]) -> bool:
    """Whether the event's own key names the only row that it changes, and nothing more is asked."""
    first, *others = listeners
    return not others and first.key is None and first.keys is None and not first.wants_meta


def refuse_key(table: TableSchema[Any], tests: Sequence[KeyTest], key: Key) -> None:
    if len(key) != len(tests):
        raise Misuse(f"it gave {key!r}, the key of {table.name} is ({', '.join(table.key)})")
    for (name, kind, fits), value in zip(tests, key, strict=True):
        if not fits(value):
            raise Misuse(f"it gave {complaint(kind, value, name)}")


def named_keys(listener: Listener, event: Event, meta: Meta | None) -> Iterable[object]:
    if listener.key is not None:
        return (listener.key(event, meta),)  # type: ignore[arg-type] # there is meta where there is a key function
    keys = listener.keys(event, meta)  # type: ignore[arg-type,misc] # as above
    if isinstance(keys, (str, bytes)):
        raise Misuse(f"keys= gave {keys!r}: give a set or a list of keys")
    return dict.fromkeys(keys)


def key_tests(table: TableSchema[Any]) -> list[KeyTest]:
    """For each column of a table's key: its name, its type, and whether a value fits."""
    types = {column.name: column.type for column in table.columns}
    return [(name, types[name], test_of(types[name])) for name in table.key]


def bad_data(found: Unreadable, record: Record) -> BadData:
    name = f"{found.wire_name}: " if found.wire_name else ""
    return BadData(f"{name}{found.reason}", topic=record.topic, partition=record.partition, offset=record.offset)
