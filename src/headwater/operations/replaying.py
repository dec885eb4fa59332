"""What happened to entities, told again somewhere else: as lines of a file, or as records of another topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import msgspec

from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse
from headwater.log.limits import check_size
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record, TopicPartition, TopicSpec
from headwater.log.topology import META_TOPIC, Topology, events_topic
from headwater.messages.builtin import Dropped, Reverted
from headwater.messages.envelope import Recorded

ORIGIN = "hw_replayed_from"
"""The header of a copy: topic/partition/offset of what it is a copy of."""

AT_ONCE = 5_000
"""So many records are one transaction."""


def lines_of(behaviour: Behaviour[Any], history: Sequence[Recorded[Any]]) -> Iterator[bytes]:
    """A line for each event, as `hw import` takes it: its payload, when it happened, its id, and who asked for it.

    Events that one old record is read as have ids of their own here: a line is imported once for each id.
    """
    for event, meta in ((recorded.event, recorded.meta) for recorded in history):
        if isinstance(event, Dropped):
            continue
        fields = msgspec.json.decode(behaviour.json.encode(event, meta.time), type=dict[str, msgspec.Raw])
        id = f"{meta.id}.{meta.part}" if meta.id is not None and meta.part else meta.id
        for name, value in (("id", id), ("actor", meta.actor)):
            if value is not None and name not in fields:
                fields[name] = msgspec.Raw(msgspec.json.encode(value))
        yield msgspec.json.encode(fields) + b"\n"


def reverts_in(history: Sequence[Recorded[Any]]) -> int:
    """How many of the events are reverts, which `hw import` does not take."""
    return sum(isinstance(recorded.event, Reverted) for recorded in history)


def records_of(log: Log, topology: Topology, behaviour: Behaviour[Any], entity_id: str) -> list[Record]:
    """The records of an entity's events, as they are. Raises: Unavailable."""
    key = entity_id.encode()
    topic, partition = events_topic(behaviour.entity), topology.partition(behaviour.entity, key)
    return log.keyed(TopicPartition(topic, partition), key)


def copy_to(log: Log, topology: Topology, records: Sequence[Record], topic: str) -> int:
    """Writes copies of records to a topic, which is made if it is not there. Returns: how many.

    They keep key, value, headers and time, and a header says what each is a copy of. Done twice, they are there twice.
    Raises: Misuse: headwater keeps that topic itself. Unavailable.
    """
    owned = {META_TOPIC, *(name for one in topology.records for name in one.topics)}
    if topic in owned:
        raise Misuse(f"only headwater writes to {topic}: name a topic of your own, --to topic:copies")
    if not records:
        return 0
    there = log.topics([topic])
    if topic not in there:
        source = log.topics([records[0].topic])[records[0].topic]
        log.create_topics([TopicSpec(topic, source.partitions)])
        there = log.topics([topic])
    copies = [_copy(record, topic, there[topic].partitions) for record in records]
    with closing(log.writer(f"replay-{topic}")) as writer:
        for start in range(0, len(copies), AT_ONCE):
            some = copies[start : start + AT_ONCE]
            writer.transact(lambda transaction, some=some: transaction.write(some))  # type: ignore[misc] # called at once
    return len(copies)


def _copy(record: Record, topic: str, partitions: int) -> NewRecord:
    origin = f"{record.topic}/{record.partition}/{record.offset}".encode()
    partition = record.partition % partitions if record.key is None else partition_of(record.key, partitions)
    headers = [*record.headers, (ORIGIN, origin)]
    copy = NewRecord(topic, partition, record.key, record.value, headers, record.timestamp_ms)
    check_size(copy)
    return copy
