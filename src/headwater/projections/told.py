"""Which dead letters of a read model are in their topic: asked before any is written, so each is there once.

What the store says of it is not enough. A process may die between the topic and the mark in the store. And a store that
is killed may lose what it committed last: a dead letter was told then, and neither its row nor its mark are left; the
record is read and fails again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from headwater.environment import Environment
from headwater.failures.held import HeldRecord
from headwater.failures.letters import OURS, deadletters_topic, letter_id
from headwater.log.port import Log, TopicPartition
from headwater.readers.spans import batches_between


class Told:
    """Of each partition the topic is read once, when the first is to be written, and what is written then is added.

    Arguments: log; group: of the reader.
    """

    def __init__(self, log: Log, group: str, environment: Environment) -> None:
        self._log, self._group, self._environment = log, group, environment
        self._ids: dict[int, set[bytes]] = {}

    def missing(self, rows: Iterable[HeldRecord]) -> list[HeldRecord]:
        """Those that are not in the topic. Raises: Unavailable."""
        found = []
        for row in rows:
            if row.partition not in self._ids:
                self._ids[row.partition] = self._read(row.partition)
            if self._id(row) not in self._ids[row.partition]:
                found.append(row)
        return found

    def wrote(self, rows: Iterable[HeldRecord]) -> None:
        """They were missing, and are there now."""
        for row in rows:
            self._ids[row.partition].add(self._id(row))

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Somebody else may write there, or what was written is in doubt."""
        for tp in partitions:
            self._ids.pop(tp.partition, None)

    def _id(self, row: HeldRecord) -> bytes:
        return letter_id(self._group, row.topic, row.partition, row.record_offset).encode()

    def _read(self, partition: int) -> set[bytes]:
        topic = deadletters_topic(self._group)
        there = self._log.topics([topic]).get(topic)
        if there is None:
            return set()
        letters = TopicPartition(topic, partition % there.partitions)
        self._log.settle(self._group, [letters])
        begins, ends = self._log.begins([letters]), self._log.ends([letters], committed=False)
        return {
            content
            for batch in batches_between(self._log, begins, ends, f"reading {topic}", self._environment)
            for record in batch.records
            for name, content in record.headers
            if name == f"{OURS}id"
        }
