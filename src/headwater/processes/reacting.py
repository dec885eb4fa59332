"""What a process does with one event: the twin of `owners.deciding.Decider`.

Its commands get ids made from (process, event, index): the same event always leads to the same ids, and each
command carries where its event came from, so its receiver recognises a repetition however late it comes.
They happen when the event happened: `ce_time` goes on from cause to effect.

What a process has reacted to it knows by the last offset of each partition of events. An event that was set aside on
its way, since its key could not be told, comes after later ones of other entities (`hw_late`): those are kept singly.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from headwater.entities.schema import shape_of_fields
from headwater.errors import BadData, Failed, Misuse, Unavailable
from headwater.log.port import NewRecord, Record
from headwater.log.topology import Topology, commands_topic, events_topic
from headwater.messages.builtin import Parts
from headwater.messages.declare import Command, Event, key_of
from headwater.messages.envelope import Meta, command_headers, read_meta
from headwater.messages.json_codec import JsonCodec
from headwater.messages.keys import key_text
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasting import meta_of_part, parts_of
from headwater.owners.arriving import Arrived, Source, source_text
from headwater.owners.envelopes import Moment
from headwater.owners.limits import EVENT_BYTES, STATE_BYTES, fits
from headwater.owners.replies import Reply
from headwater.owners.state_record import Entry, StateRecord
from headwater.owners.steps import Refold, Step
from headwater.processes.declare import ProcessShape
from headwater.schemas.topics import PLAIN, Codecs

COMMAND_IDS = uuid.UUID("6f5c1d6e-6f0e-5b3a-9a63-0d9a3c1c7a10")

LATE = "hw_late"
"""A header of events that come after later ones of their partition."""

MOST_COMMANDS = 1 << 20
"""The commands of each of the events that one old event is read as are numbered from a multiple of this."""


class Reactor:
    """Carries out the inputs of one process (a `StepMaker`).

    Arguments: shape; topology: where the commands go; source: the app's name; codecs: of the app.
    """

    def __init__(self, shape: ProcessShape, topology: Topology, source: str, codecs: Codecs = PLAIN) -> None:
        self._shape, self._topology, self._source = shape, topology, source
        self.entity = shape.entity
        self.schema = f"{shape.process.__hw__.version}-{shape_of_fields(shape.process)}"
        self._events = {
            events_topic(entity): codecs.of(events_topic(entity), shape.events_of(entity)) for entity in shape.families
        }
        self._commands: dict[type[Command], JsonCodec[Command]] = {}
        self._decoder = msgspec.json.Decoder(shape.process)
        self._key_type = shape.process.__hw__.key_type

    def new_entry(self, entity_id: str) -> Entry:
        key = entity_id if self._key_type is str else msgspec.convert(entity_id, self._key_type, strict=False)
        state = self._shape.process(**{self._shape.key_field: key})
        return Entry.new(entity_id, state, msgspec.json.encode(state))

    def entry_from(self, record: StateRecord) -> Entry:
        """As `StepMaker` says."""
        state = self._decoder.decode(record.state)
        return Entry.of_record(record, state, bytes(record.state))

    def refold(self) -> Refold:
        """Raises: Misuse: always; a process has no events that it could be made of."""
        name = self._shape.process.__name__
        raise Misuse(
            f"the fields of process {name} changed; its state cannot be converted: write "
            f"class {name}(hw.Process, version={self._shape.process.__hw__.version + 1})"
        )

    def absorb(self, entry: Entry, tail: Sequence[Record]) -> None:
        """A process has no events of its own."""

    def read(self, work: Sequence[Arrived]) -> None:
        """Each is read when its turn comes: they may be of several topics."""

    def carry_out(self, entry: Entry, arrived: Arrived, now: Moment) -> Step:
        """One event. Raises: BadData: it cannot be read, or this version does not listen to it. Failed: its reaction
        failed. Unavailable: nobody has made the topics of an entity that it sends to. Nothing was changed then."""
        source = arrived.source
        if source is None:
            raise self._bad(arrived, "not a forwarded event: it has no hw_source header")
        stream = _stream_of(entry, arrived, source)
        if stream is None:
            return Step(arrived, entry, self._reply(entry, arrived, duplicate=True), (), False)
        event, meta = self._read(arrived, source)
        sends: list[NewRecord] = []
        reaction = None
        try:
            for part, one, mine in self._parts(entry, event, meta):
                reaction = self._shape.reactions[type(one)]
                function = reaction.function
                answer = function(entry.state, one, mine) if reaction.wants_meta else function(entry.state, one)
                sends += self._sends(answer, mine, source, part * MOST_COMMANDS)
            if arrived.traceparent is not None:
                sends = [_followed(send, arrived.traceparent) for send in sends]
            raw = msgspec.json.encode(entry.state)
            fits(raw, STATE_BYTES, f"the state of {self._shape.process.__name__} would have")
        except Unavailable:
            # The topics that a command goes to are not there (yet): its owner's app makes them.
            entry.state = self._decoder.decode(entry.raw)
            raise
        except Exception as error:  # the author's function may raise anything
            entry.state = self._decoder.decode(entry.raw)
            handler = self._shape.process.__name__
            if reaction is not None:
                handler += f".{reaction.function.__name__}"
            where = f"{meta.type} {meta.id} at {meta.topic}/{meta.partition}, offset {meta.offset}"
            raise Failed(handler, where, f"{type(error).__name__}: {error}") from error
        entry.raw = raw
        entry.version += 1
        entry.sources[stream] = (source.offset, source.index)
        return Step(arrived, entry, self._reply(entry, arrived), (), True, sends)

    def _read(self, arrived: Arrived, source: Source) -> tuple[Event, Meta]:
        topic, partition = self._place(arrived, source)
        codec, get = self._events.get(topic), dict(arrived.headers).get
        if codec is None:  # another version of the process forwarded it
            name = get("ce_type", b"").decode(errors="backslashreplace")
            raise self._unheard(arrived, name, topic)
        event = codec.decode(arrived.value)
        if isinstance(event, Unreadable):
            if event.kind == "unknown_type":
                raise self._unheard(arrived, event.wire_name, f"{event.wire_name} in {topic}")
            raise event.bad_data(commands_topic(self.entity), arrived.partition, arrived.offset)
        meta = read_meta(topic, partition, source.offset, get("hw_key"), arrived.headers, arrived.timestamp_ms)
        if isinstance(meta, Unreadable):
            raise self._bad(arrived, meta.reason)
        return event, meta

    def _parts(self, entry: Entry, event: Event, meta: Meta) -> Iterator[tuple[int, Event, Meta]]:
        """The events that this run of the process is to react to: of an old one that is read as several, those with its
        key; none of one that is read as nothing by now."""
        if type(event) is not Parts:
            yield from ((part, one, meta) for part, one in parts_of(event))
            return
        for part, one in event.events:
            mine = meta_of_part(meta, part, one)
            key = self._shape.reactions[type(one)].key
            if (key_of(one) if key is None else key_text(key(one, mine))) == entry.id:
                yield part, one, mine

    def _sends(self, answer: Any, meta: Meta, source: Source, first: int) -> list[NewRecord]:
        """Arguments: first: the number of the first command."""
        if answer is None:
            return []
        commands = [answer] if isinstance(answer, Command) else list(answer)
        return [self._record(command, meta, source, index) for index, command in enumerate(commands, first)]

    def _record(self, command: Command, meta: Meta, source: Source, index: int) -> NewRecord:
        if not isinstance(command, Command):
            raise Misuse(f"a reaction returns commands, not {type(command).__name__}")
        entity, key = str(type(command).__hw__.entity), key_of(command)
        codec = self._commands.get(type(command))
        if codec is None:
            codec = JsonCodec([type(command)], type_field="commandType", version_field="commandVersion")
            self._commands[type(command)] = codec
        headers = command_headers(
            id=str(uuid.uuid5(COMMAND_IDS, f"{self._shape.name}|{meta.id}|{index}")),
            source=self._source,
            type=type(command).__hw__.wire_name,
            subject=key,
            time=meta.time,
            actor=meta.actor,
            causation_id=meta.id,
            correlation_id=meta.correlation_id or meta.id,
            hw_source=source_text(Source(source.stream, source.offset, index)),
        )
        encoded, value = key.encode(), codec.encode(command, None)
        fits(value, EVENT_BYTES, f"{type(command).__name__} has")
        partition = self._topology.partition(entity, encoded)
        return NewRecord(commands_topic(entity), partition, encoded, value, headers)

    def _reply(self, entry: Entry, arrived: Arrived, duplicate: bool = False) -> Reply:
        return Reply(arrived.id, "accepted", self.entity, entry.id, version=entry.version, duplicate=duplicate)

    def _place(self, arrived: Arrived, source: Source) -> tuple[str, int]:
        """The topic and the partition that an event stands in. Raises: BadData: somebody else's header."""
        try:
            return source.place
        except ValueError as error:
            raise self._bad(
                arrived, f"not a forwarded event: its hw_source header names no partition: {source.stream!r}"
            ) from error

    def _unheard(self, arrived: Arrived, name: str | None, what: str) -> BadData:
        """Of an event that was forwarded by a version which listens to more: only such a one can react to it."""
        reason = (
            f"process {self._shape.process.__name__} of this version does not listen to {what}; retry it under a "
            "version that does, or discard it"
        )
        found = Unreadable("unknown_type", name or None, None, reason)
        return found.bad_data(commands_topic(self.entity), arrived.partition, arrived.offset)

    def _bad(self, arrived: Arrived, reason: str) -> BadData:
        topic = commands_topic(self.entity)
        return BadData(reason, topic=topic, partition=arrived.partition, offset=arrived.offset)


def _stream_of(entry: Entry, arrived: Arrived, source: Source) -> str | None:
    """Under what it is kept that an event was reacted to; None: it was."""
    at, last = (source.offset, source.index), entry.sources.get(source.stream)
    if last is None or at > last:
        return source.stream
    late = f"{source.stream}|{source.offset}"
    if last == at or late in entry.sources or LATE not in {name for name, _ in arrived.headers}:
        return None
    return late


def _followed(record: NewRecord, traceparent: bytes) -> NewRecord:
    return msgspec.structs.replace(record, headers=[*record.headers, ("traceparent", traceparent)])
