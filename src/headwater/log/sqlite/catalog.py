"""The topics of the file, remembered by every handle: a topic that was made once never changes or goes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headwater.environment import Environment
from headwater.log.limits import check_specs, unknown_partition, unknown_topic
from headwater.log.port import TopicDescription, TopicPartition, TopicSpec
from headwater.log.sqlite.faults import explain
from headwater.log.sqlite.schema import File


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and where its partitions are: partition n has the slot `first_slot + n`."""

    name: str
    id: str
    first_slot: int
    partitions: int
    retention_ms: int | None
    compacted: bool
    log_time: bool

    @property
    def table(self) -> str:
        """The table that holds its records."""
        return "latest" if self.compacted else "records"

    def describe(self) -> TopicDescription:
        return TopicDescription(self.name, self.id, self.partitions, self.retention_ms, self.compacted, self.log_time)


class Catalog:
    """Finds topics and slots; reads the file again only for names that it does not know.

    Arguments: file: a connection of its own to it is for reading.
    """

    def __init__(self, file: File) -> None:
        self._path, self._connection, self._lock = file.path, file.connect(), threading.Lock()
        self.known: dict[str, Topic] = {}
        self._partitions: dict[int, TopicPartition] = {}
        self.load()

    def load(self) -> dict[str, Topic]:
        """Every topic that is in the file now."""
        try:
            with self._lock:
                rows = self._connection.execute(
                    "SELECT name, id, first_slot, partitions, retention_ms, compacted, log_time FROM topics"
                ).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        topics = [
            Topic(name, topic_id, first_slot, partitions, retention_ms, bool(compacted), bool(log_time))
            for name, topic_id, first_slot, partitions, retention_ms, compacted, log_time in rows
        ]
        for topic in topics:
            for partition in range(topic.partitions):
                self._partitions[topic.first_slot + partition] = TopicPartition(topic.name, partition)
        self.known = {topic.name: topic for topic in topics}
        return self.known

    def find(self, name: str) -> Topic:
        """Raises `Misuse` when there is no such topic."""
        topic = self.known.get(name) or self.load().get(name)
        if topic is None:
            raise unknown_topic(name)
        return topic

    def slot(self, partition: TopicPartition) -> int:
        """Raises `Misuse` when there is no such partition."""
        topic = self.find(partition.topic)
        if not 0 <= partition.partition < topic.partitions:
            raise unknown_partition(topic.name, partition.partition, topic.partitions)
        return topic.first_slot + partition.partition

    def slots(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: self.slot(partition) for partition in partitions}

    def partition(self, slot: int) -> TopicPartition:
        """The partition in a slot."""
        if slot not in self._partitions:
            self.load()
        return self._partitions[slot]

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def create(connection: sqlite3.Connection, specs: Sequence[TopicSpec], environment: Environment) -> None:
    """Makes the topics that are not there, inside a write transaction."""
    check_specs(specs)
    known = {name for (name,) in connection.execute("SELECT name FROM topics")}
    (next_slot,) = connection.execute("SELECT coalesce(max(slot), 0) + 1 FROM counters").fetchone()
    for spec in specs:
        if spec.name in known:
            continue
        known.add(spec.name)
        connection.execute(
            "INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                spec.name,
                environment.new_id(),
                next_slot,
                spec.partitions,
                spec.retention_ms,
                spec.compacted,
                spec.log_time,
            ],
        )
        slots = range(next_slot, next_slot + spec.partitions)
        connection.executemany("INSERT INTO counters VALUES (?, 0, 0)", [(slot,) for slot in slots])
        next_slot += spec.partitions
