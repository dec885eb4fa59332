"""Carries events to the process that reacts to them, under the process's key.

The record keeps its value and headers; `hw_source` adds where it came from, which is what the process
recognises a repetition by. Forwarded records and the position behind them are one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.errors import BadData, Failed, HeadwaterError, Misuse
from headwater.log.limits import check_size
from headwater.log.port import Batch, Fence, Log, NewRecord, Positions, Record, TopicPartition, Transaction
from headwater.log.topology import Topology, commands_topic, events_topic
from headwater.messages.declare import Event, key_of
from headwater.messages.envelope import read_meta, record_time, time_text
from headwater.messages.json_codec import JsonCodec, Unreadable
from headwater.messages.keys import key_text
from headwater.owners.arriving import Source, source_text
from headwater.processes.declare import ProcessShape


class Forwarder:
    """A `BatchHandler` for the event topics that a process listens to."""

    def __init__(self, log: Log, topology: Topology, shape: ProcessShape, *, name: str) -> None:
        self._log, self._topology, self._shape = log, topology, shape
        self.group = shape.entity
        self.topics = [events_topic(entity) for entity in shape.families]
        self._codecs = {
            events_topic(entity): JsonCodec([event for event in shape.reactions if event.__hw__.entity == entity])
            for entity in shape.families
        }
        self._target = commands_topic(shape.entity)
        self._writer = log.writer(name)

    @property
    def failures(self) -> Mapping[int, str]:
        """None: what it cannot go on with stops all of it."""
        return {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        self._log.settle(self.group, partitions)
        committed = self._log.committed(self.group, partitions)
        missing = [tp for tp in partitions if tp not in committed]
        return {**committed, **(self._log.begins(missing) if missing else {})}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing is kept between batches."""

    def idle(self, fence: Fence) -> None:
        """Nothing waits for a pause."""

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Forwards a batch. Raises: BadData, Failed: at the first record that cannot go on; those before it
        are forwarded first. Aborted, Fenced, Unavailable: nothing was written."""
        forwards: list[NewRecord] = []
        positions = dict(batch.reached)
        trouble: HeadwaterError | None = None
        blocked: set[TopicPartition] = set()
        for record in batch.records:
            tp = TopicPartition(record.topic, record.partition)
            if tp in blocked:
                continue
            try:
                forward = self._forward(record)
            except (BadData, Failed) as error:
                trouble = trouble or error
                blocked.add(tp)
                positions[tp] = record.offset
                continue
            if forward is not None:
                forwards.append(forward)

        if positions:

            def fill(tx: Transaction) -> None:
                if forwards:
                    tx.write(forwards)
                tx.positions(self.group, positions, fence)

            self._writer.transact(fill)
        if trouble is not None:
            raise trouble

    def close(self) -> None:
        self._writer.close()

    def _forward(self, record: Record) -> NewRecord | None:
        event = self._codecs[record.topic].decode(record.value)
        if isinstance(event, Unreadable):
            if event.kind in ("unknown_type", "tombstone"):
                return None
            raise self._bad(record, event.reason)
        headers = list(record.headers)
        self._complete(headers, record, event)
        key = self._key(event, record, headers).encode()
        source = Source(f"{self._shape.name}|{record.topic}|{record.partition}", record.offset, 0)
        headers.append(("hw_source", source_text(source).encode()))
        headers.append(("hw_key", record.key or b""))
        partition = self._topology.partition(self._shape.entity, key)
        forward = NewRecord(self._target, partition, key, record.value, headers, record.timestamp_ms)
        try:
            check_size(forward)
        except Misuse as error:
            raise self._bad(record, str(error)) from error
        return forward

    def _complete(self, headers: list[tuple[str, bytes]], record: Record, event: Event) -> None:
        """Gives a foreign event what its own record says: where it is going, its place and its time are others."""
        names = {name for name, _ in headers}
        if "ce_type" not in names:
            headers.append(("ce_type", type(event).__hw__.wire_name.encode()))
        if "ce_id" not in names:
            headers.append(("ce_id", f"{record.topic}-{record.partition}-{record.offset}".encode()))
        if "ce_time" not in names:
            time = self._codecs[record.topic].payload_time(record.value)
            if isinstance(time, Unreadable):
                raise self._bad(record, time.reason)
            headers.append(("ce_time", time_text(time or record_time(record.timestamp_ms)).encode()))

    def _key(self, event: Event, record: Record, headers: list[tuple[str, bytes]]) -> str:
        reaction = self._shape.reactions[type(event)]
        if reaction.key is None:
            return key_of(event)
        meta = read_meta(record.topic, record.partition, record.offset, record.key, headers, record.timestamp_ms)
        if isinstance(meta, Unreadable):
            raise self._bad(record, meta.reason)
        try:
            return key_text(reaction.key(event, meta))
        except Exception as error:  # the author's function may raise anything
            where = f"{type(event).__name__} at {record.topic}/{record.partition}, offset {record.offset}"
            raise Failed(
                f"{self._shape.process.__name__}: key of {reaction.function.__name__}", where, repr(error)
            ) from error

    def _bad(self, record: Record, reason: str) -> BadData:
        return BadData(reason, topic=record.topic, partition=record.partition, offset=record.offset)
