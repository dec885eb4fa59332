"""What the handles on one log in memory share: topics, partitions, groups, and the lock around them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.log.limits import check_partition, check_size, check_specs, check_types, unknown_partition, unknown_topic
from headwater.log.memory.groups import Group
from headwater.log.memory.partitions import Partition
from headwater.log.port import (
    Aborted,
    Fence,
    NewRecord,
    Positions,
    StoredRecord,
    TopicDescription,
    TopicPartition,
    TopicSpec,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unkindness:
    """How far the log goes in what the contract allows. See `MemoryLog`."""

    gaps: bool
    late: bool
    aborts: float


class Shelf:
    """The state of one log. Every method but the constructor is called with `changed` held."""

    def __init__(self, unkind: Unkindness, seed: int, session_timeout_s: float, environment: Environment) -> None:
        self.id = environment.new_id()
        self.environment, self.session_timeout_s = environment, session_timeout_s
        self.unkind, self.chance = unkind, random.Random(seed)
        self.changed = threading.Condition()
        self.topics: dict[str, TopicDescription] = {}
        self.groups: dict[str, Group] = {}
        self._partitions: dict[TopicPartition, Partition] = {}

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        check_specs(specs)
        for spec in specs:
            if spec.name in self.topics:
                continue
            self.topics[spec.name] = TopicDescription(
                spec.name,
                self.environment.new_id(),
                spec.partitions,
                spec.retention_ms,
                spec.compacted,
                spec.log_time,
            )
            for number in range(spec.partitions):
                name = TopicPartition(spec.name, number)
                self._partitions[name] = Partition(name, spec, self.chance, self.unkind.gaps, self.unkind.late)

    def counts(self) -> dict[str, int]:
        return {name: topic.partitions for name, topic in self.topics.items()}

    def partition(self, name: TopicPartition) -> Partition:
        found = self._partitions.get(name)
        if found is None:
            topic = self.topics.get(name.topic)
            raise (
                unknown_topic(name.topic)
                if topic is None
                else unknown_partition(name.topic, name.partition, topic.partitions)
            )
        return found

    def look(self, names: Iterable[TopicPartition]) -> bool:
        """Looks at these partitions. Returns whether everything that was written can be seen now."""
        looks = [self.partition(name).look() for name in names]  # each must be looked at
        return all(looks)

    def group(self, name: str) -> Group:
        return self.groups.setdefault(name, Group(name, self.session_timeout_s))

    def now_ms(self) -> int:
        return int(self.environment.now().timestamp() * 1000)


class Draft:
    """An open transaction: what will be written, with the offsets that it will have."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._records: dict[Partition, list[StoredRecord]] = {}
        self._positions: list[tuple[Group, Positions]] = []

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return [self._add(record) for record in records]

    def write(self, records: Sequence[NewRecord]) -> None:
        self.append(records)

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        self._shelf.group(group).check(positions, fence)
        self._positions.append((self._shelf.group(group), positions))

    def firsts(self) -> dict[TopicPartition, int]:
        """Where its first record of each partition is."""
        return {partition.name: records[0].offset for partition, records in self._records.items()}

    def _add(self, record: NewRecord) -> int:
        topic = self._shelf.topics.get(record.topic)
        if topic is None:
            raise unknown_topic(record.topic)
        check_partition(record, topic.partitions)
        check_types(record)
        check_size(record)
        if topic.compacted and record.key is None:
            raise Misuse(f"topic {record.topic} is compacted: each of its records needs a key")
        partition = self._shelf.partition(TopicPartition(record.topic, record.partition))
        if partition not in self._records:
            partition.skip()
            self._records[partition] = []
        known = self._records[partition]
        offset = partition.next + len(known)
        timestamp_ms = record.timestamp_ms
        if timestamp_ms is None or topic.log_time:
            timestamp_ms = self._shelf.now_ms()
        known.append(
            StoredRecord(
                record.topic,
                record.partition,
                offset,
                record.key,
                record.value,
                tuple(record.headers),
                timestamp_ms,
            )
        )
        return offset

    def carry_out(self, fill: Callable[[Draft], T], *, marker: bool) -> T:
        """Fills this draft and commits it, or leaves nothing of it but gaps."""
        filled = False
        try:
            result = fill(self)
            filled = True
        finally:
            if not filled:
                self._abort()
        if marker and self._shelf.chance.random() < self._shelf.unkind.aborts:
            self._abort()
            raise Aborted("the log in memory was asked to abort now and then; do the work again")
        for partition, records in self._records.items():
            partition.commit(records, marker)
        for group, positions in self._positions:
            group.positions.update(positions)
        self._shelf.changed.notify_all()
        return result

    def _abort(self) -> None:
        for partition, records in self._records.items():
            partition.abort(len(records))
        self._shelf.changed.notify_all()
