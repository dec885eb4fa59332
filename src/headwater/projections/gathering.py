"""From a batch of records to the calls it means: decode what somebody wants, and name the rows.

A type that nobody reacts to costs one look at the beginning of its value. The rest is decoded in one pass per
topic. The order within each partition is kept; between partitions there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

from headwater.errors import BadData, Failed, HeadwaterError, Misuse
from headwater.failures.parking import Place, Trouble, place_of, trouble_in, trouble_of
from headwater.log.port import Record, TopicPartition
from headwater.log.topology import events_topic
from headwater.messages.builtin import Reverted
from headwater.messages.checking import Test, complaint, test_of
from headwater.messages.codec import Codec
from headwater.messages.declare import Event
from headwater.messages.envelope import Meta, read_meta
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasting import meta_of_part, parts_of
from headwater.projections.folding import Call, Handler, failure
from headwater.projections.straight import Straight, is_straight
from headwater.stores.port import Key, TableSchema

KeyTest = tuple[str, Any, Test]
_value = attrgetter("value")
NAME_BEGINS = b'{"eventType":"'
REVERTED = Reverted.__hw__.wire_name
REVERTED_NAME = REVERTED.encode()


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
    """`calls`, and the records that cannot be read or have no key: `troubles`."""

    calls: Sequence[Call]
    troubles: dict[Place, Trouble]

    @property
    def stops(self) -> dict[TopicPartition, tuple[int, HeadwaterError]]:
        """Per partition the first of them: the record's offset and why."""
        found: dict[TopicPartition, tuple[int, HeadwaterError]] = {}
        for (topic, partition, offset), trouble in self.troubles.items():
            found.setdefault(TopicPartition(topic, partition), (offset, trouble.cause))
        return found

    def refuse(self, refused: Iterable[BadData]) -> None:
        """Adds records that cannot be recognised, where they might be there twice."""
        for error in refused:
            place = error.topic, error.partition, error.offset
            self.troubles.setdefault(place, Trouble("decode", "dedupe", "BadData", error.reason, error))


Gather = Callable[[], Gathered]
"""The rest of gathering a batch, once its turn has come."""


class Topic:
    """The listeners of one topic. `entity`: its entity type; `types`: wire names that somebody listens to;
    `passed_revert`: whether an entity was reverted in what was gathered, and nobody listens to that.

    Arguments: codec: of the listeners' events; name: of the topic, where it is not that of an entity type's events;
    then `entity` is "".
    """

    def __init__(self, entity: str, listeners: Sequence[Listener], codec: Codec[Event], name: str = "") -> None:
        self.entity, self.name = entity, name or events_topic(entity)
        found: dict[type[Event], list[Listener]] = {}
        for listener in listeners:
            found.setdefault(listener.event, []).append(listener)
        self._listeners = {event: (any(one.wants_meta for one in ones), ones) for event, ones in found.items()}
        self._codec = codec
        self.types = frozenset(self._codec.classes)
        self.passed_revert = False
        self.wants_envelopes = codec.wants_headers or any(one.wants_meta for one in listeners)
        """Whether records are asked for more than their values."""
        self._wanted = {name.encode() for name in self.types}
        self._wanted_values = tuple(NAME_BEGINS + name + b'"' for name in self._wanted)
        # An old version of a type that nobody listens to may be read as one that somebody does.
        upcasting = self._codec.upcasting
        others = upcasting.names - self.types
        self._old = {name.encode() for name in others}
        self._not_old = tuple(
            NAME_BEGINS + b'%b","eventVersion":%d,' % (name.encode(), newest)
            for name in others
            if (newest := upcasting.newest(name)) is not None
        )
        self._direct = {event: ones[0] for event, ones in found.items() if is_direct(ones)}
        self._handlers: dict[Any, Handler] = {event: one.handler for event, one in self._direct.items()}
        usual = found.keys() - {Reverted}  # a batch with a revert in it goes the other way
        fields = {event.__hw__.key_field for event in usual}
        handlers = [one.handler for one in self._direct.values()]
        self._own = (
            next(iter(self._direct.values())).own
            if len(fields) == 1 == len({handler.table for handler in handlers})
            and len(handlers) == len(usual)
            and all(map(is_straight, handlers))
            else None
        )

    def as_json(self, record: Record) -> bytes | None:
        """The JSON that a record's value says; None: none."""
        found = self._codec.as_json(self._codec.contents([record])[0])
        return None if isinstance(found, Unreadable) else found

    def gather(self, records: Sequence[Record]) -> Gathered:
        """The calls of this topic's records."""
        begins = self._wanted_values
        values: list[Any] = list(map(_value, records))
        try:
            usual = all(map(bytes.startswith, values, repeat(begins)))
        except TypeError:  # a tombstone is among them
            usual = False
        if not usual:
            records = [
                record
                for record, value in zip(records, values, strict=True)
                if (value is not None and value.startswith(begins)) or self._is_wanted(value)
            ]
            values = self._codec.contents(records)
        events: list[Any] = self._codec.decode_many(values)
        if self._own is not None and set(map(type, events)) <= self._handlers.keys():
            # Each event's own key names the only row that it changes: without a step of Python for each.
            return Gathered(Straight(records, events, list(map(self._own, events)), self._handlers), {})
        return self._gather_each(records, events)

    def _gather_each(self, wanted: Sequence[Record], events: Sequence[Any]) -> Gathered:
        """The calls of events, or what is wrong with their records, one by one."""
        calls: list[Call] = []
        troubles: dict[Place, Trouble] = {}
        direct = self._direct.get
        for record, event in zip(wanted, events, strict=True):
            only = direct(type(event))  # what is unreadable is not there either
            if only is not None:  # the way of most events, without a call
                calls.append((record, event, None, only.handler, (only.own(event),)))
                continue
            if isinstance(event, Unreadable):
                if event.kind == "unknown_type":
                    self.passed_revert = self.passed_revert or event.wire_name == REVERTED
                else:
                    troubles[place_of(record)] = trouble_in(event, bad_data(event, record))
                continue
            known = len(calls)
            try:
                self._call(record, event, calls)
            except BadData as error:
                troubles[place_of(record)] = Trouble("decode", type(event).__name__, "BadData", error.reason, error)
            except Failed as error:
                del calls[known:]  # a record counts as a whole or not at all
                troubles[place_of(record)] = trouble_of(error)
        return Gathered(calls, troubles)

    def _is_wanted(self, value: bytes | None) -> bool:
        """False for a type that has no listener; True also where only decoding can tell."""
        if value is None or not value.startswith(NAME_BEGINS):
            return True
        end = value.find(b'"', len(NAME_BEGINS))
        name = value[len(NAME_BEGINS) : end]
        if name in self._old:
            return not value.startswith(self._not_old)
        if name == REVERTED_NAME and name not in self._wanted:
            self.passed_revert = True
        return name in self._wanted or end < 0 or b"\\" in name

    def _call(self, record: Record, event: Event, calls: list[Call]) -> None:
        """Adds the calls of a record, whatever it is read as."""
        if type(event) in self._listeners:
            self._call_one(record, event, None, calls)
            return
        for part, one in parts_of(event):
            self._call_one(record, one, part, calls)

    def _call_one(self, record: Record, event: Event, part: int | None, calls: list[Call]) -> None:
        wants_meta, listeners = self._listeners[type(event)]
        meta = self._read_meta(record, event) if wants_meta else None
        if meta is not None and part is not None:
            meta = meta_of_part(meta, part, event)
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
            said = self._codec.payload_time(self._codec.contents([record])[0])
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
    return found.bad_data(record.topic, record.partition, record.offset)
