"""Carries events to the process that reacts to them, under the process's key.

The record keeps its value and headers; `hw_source` adds where it came from, which is what the process
recognises a repetition by. Forwarded records and the position behind them are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from headwater.environment import SYSTEM, Environment
from headwater.errors import BadData, Failed, Misuse, Unavailable
from headwater.failures.parking import Parking, trouble_of
from headwater.log.limits import check_size
from headwater.log.port import Log, NewRecord, Record, TopicPartition
from headwater.log.topology import Topology, commands_topic, events_topic
from headwater.messages.builtin import Parts
from headwater.messages.declare import Event, key_of
from headwater.messages.envelope import read_meta, record_time, time_text
from headwater.messages.keys import key_text
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasting import meta_of_part, parts_of
from headwater.owners.arriving import Source, source_text
from headwater.processes.declare import ProcessShape
from headwater.processes.reacting import LATE
from headwater.readers.held_topic import HeldTopic
from headwater.readers.relaying import Relaying
from headwater.schemas.topics import PLAIN, Codecs


class Forwarder:
    """Makes the commands of a process, for the event topics that it listens to; `relaying` is the `BatchHandler`.

    Arguments: log; topology; shape; name: of its writer; held: where what cannot be forwarded is set aside (None: it
    stops there); environment; codecs: of the app.
    """

    def __init__(
        self,
        log: Log,
        topology: Topology,
        shape: ProcessShape,
        *,
        name: str,
        held: HeldTopic | None = None,
        environment: Environment = SYSTEM,
        codecs: Codecs = PLAIN,
    ) -> None:
        self._topology, self._shape = topology, shape
        self.group = shape.entity
        self.topics = [events_topic(entity) for entity in shape.families]
        self._codecs = {
            events_topic(entity): codecs.of(events_topic(entity), shape.events_of(entity)) for entity in shape.families
        }
        self._target = commands_topic(shape.entity)
        self.relaying = Relaying(log, self.group, self, name=name, held=held, environment=environment)

    def goes_on(self, partition: TopicPartition, position: int) -> str:
        """See `Maker`."""
        return f"{self._shape.name} is told of the events from there on; those that it knows it recognises"

    def made(self, records: Sequence[Record], parking: Parking, late: bool) -> list[NewRecord]:
        """The commands that records become. See `Maker`."""
        forwards: list[NewRecord] = []
        for record in records:
            if parking.parks(record):
                continue
            try:
                forwards += self.forwarded(record, late)
            except (BadData, Failed) as error:
                parking.fail(record, trouble_of(error))
        return forwards

    def close(self) -> None:
        self.relaying.close()

    def forwarded(self, record: Record, late: bool = False) -> list[NewRecord]:
        """The command of the process that an event becomes; none: it does not react to it; several: it is an old event
        that is read as several, for different keys of the process. Arguments: late: later ones of other entities were
        told before. Raises: BadData, Failed; Unavailable: of the key function."""
        (content,) = self._codecs[record.topic].contents([record])
        event = self._codecs[record.topic].decode(content)
        if isinstance(event, Unreadable):
            if event.kind in ("unknown_type", "tombstone"):
                return []
            raise event.bad_data(record.topic, record.partition, record.offset)
        parts = parts_of(event)
        if not parts:
            return []
        headers = list(record.headers)
        self._complete(headers, record, content, parts[0][1])
        keys = [self._key(one, record, headers, part if type(event) is Parts else None) for part, one in parts]
        source = Source(f"{self._shape.name}|{record.topic}|{record.partition}", record.offset, 0)
        headers.append(("hw_source", source_text(source).encode()))
        headers.append(("hw_key", record.key or b""))
        if late:
            headers.append((LATE, b"1"))
        return [self._forward_to(key, record, content, headers) for key in dict.fromkeys(map(str.encode, keys))]

    def _forward_to(
        self, key: bytes, record: Record, content: bytes | None, headers: list[tuple[str, bytes]]
    ) -> NewRecord:
        partition = self._topology.partition(self._shape.entity, key)
        forward = NewRecord(self._target, partition, key, content, headers, record.timestamp_ms)
        try:
            check_size(forward)
        except Misuse as error:
            raise self._bad(record, str(error)) from error
        return forward

    def _complete(self, headers: list[tuple[str, bytes]], record: Record, content: bytes | None, event: Event) -> None:
        """Gives a foreign event what its own record says: where it is going, its place and its time are others."""
        names = {name for name, _ in headers}
        if "ce_type" not in names:
            headers.append(("ce_type", type(event).__hw__.wire_name.encode()))
        if "ce_id" not in names:
            headers.append(("ce_id", f"{record.topic}-{record.partition}-{record.offset}".encode()))
        if "ce_time" not in names:
            time = self._codecs[record.topic].payload_time(content)
            if isinstance(time, Unreadable):
                raise self._bad(record, time.reason)
            headers.append(("ce_time", time_text(time or record_time(record.timestamp_ms)).encode()))

    def _key(self, event: Event, record: Record, headers: list[tuple[str, bytes]], part: int | None) -> str:
        reaction = self._shape.reactions[type(event)]
        if reaction.key is None:
            return key_of(event)
        meta = read_meta(record.topic, record.partition, record.offset, record.key, headers, record.timestamp_ms)
        if isinstance(meta, Unreadable):
            raise self._bad(record, meta.reason)
        if part is not None:
            meta = meta_of_part(meta, part, event)
        try:
            return key_text(reaction.key(event, meta))
        except Unavailable:
            raise
        except Exception as error:  # the author's function may raise anything
            where = f"{type(event).__name__} at {record.topic}/{record.partition}, offset {record.offset}"
            raise Failed(
                f"{self._shape.process.__name__}: key of {reaction.function.__name__}", where, repr(error)
            ) from error

    def _bad(self, record: Record, reason: str) -> BadData:
        return BadData(reason, topic=record.topic, partition=record.partition, offset=record.offset)
