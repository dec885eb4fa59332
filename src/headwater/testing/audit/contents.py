"""The final content of a log's topics, and of read models, as plain data: what an audit reads. Ready for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from headwater.log.port import TopicPartition


class KeptRecord(NamedTuple):
    """A `Record` in plain fields that come back from JSON as they were."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class Partition(msgspec.Struct, frozen=True):
    """A partition from its first kept record to its end. Arguments: begin, end: positions, gaps included."""

    topic: str
    number: int
    begin: int
    end: int
    records: tuple[KeptRecord, ...]

    @property
    def name(self) -> TopicPartition:
        return TopicPartition(self.topic, self.number)


class Committed(msgspec.Struct, frozen=True):
    """The committed position of a group in a partition."""

    group: str
    topic: str
    partition: int
    position: int


class Contents(msgspec.Struct, frozen=True):
    """What one reader found in a log when all was done."""

    partitions: tuple[Partition, ...]
    committed: tuple[Committed, ...] = ()

    def of(self, topic: str) -> list[Partition]:
        """The partitions of a topic; none, if it was not read."""
        return [one for one in self.partitions if one.topic == topic]

    def entities(self, end: str = "-events") -> list[str]:
        """The entity types whose events, or other topics, were read."""
        return sorted({one.topic.removesuffix(end) for one in self.partitions if one.topic.endswith(end)})

    def position(self, group: str, partition: TopicPartition) -> int:
        """What the group committed; 0 where it never did."""
        for one in self.committed:
            if (one.group, one.topic, one.partition) == (group, *partition):
                return one.position
        return 0

    def records(self, topic: str) -> Iterator[KeptRecord]:
        """All records of a topic, partition by partition."""
        for partition in self.of(topic):
            yield from partition.records


class ModelRows(msgspec.Struct, frozen=True):
    """The rows of a read model and the positions that they were stored with.

    Arguments: model: its name; positions: topic, partition, next offset; rows: table and key as text -> the row as
    JSON.
    """

    model: str
    positions: tuple[tuple[str, int, int], ...]
    rows: dict[str, bytes]
