"""The cluster: topics, coordinators, and the requests that clients send, each to the broker that answers it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from confluent_kafka import KafkaError

from headwater.testing.simulation.cluster.groups import Group
from headwater.testing.simulation.cluster.partition import NewEntry, PartitionLog, Refused
from headwater.testing.simulation.cluster.positions import At
from headwater.testing.simulation.cluster.transactions import TransactionCoordinator, Where

POSITIONS_TOPIC = "__consumer_offsets"
NODES = 3


class World(Protocol):
    """What a cluster needs of the simulation around it."""

    def now_ms(self) -> int: ...
    def later(self, delay_s: float, what: Callable[[], None]) -> None: ...
    def mark_delay_s(self, node: int) -> float:
        """How long it takes until a broker has written the mark of a transaction."""
        ...

    def note(self, what: str) -> None: ...


class Topic:
    """Arguments: id; settings: as they were asked for."""

    def __init__(self, id: str, settings: Mapping[str, str], partitions: list[PartitionLog]) -> None:
        self.id, self.settings, self.partitions = id, dict(settings), partitions


class Cluster:
    """Arguments: world; id."""

    def __init__(self, world: World, id: str) -> None:
        self._world, self.id = world, id
        self.topics: dict[str, Topic] = {}
        self.groups: dict[str, Group] = {}
        self.transactions = TransactionCoordinator(
            world.later, self._mark, lambda where: world.mark_delay_s(self.leader(where)), world.note
        )

    # --- where things are

    def leader(self, partition: Where) -> int:
        return (zlib.crc32(partition[0].encode()) + partition[1]) % NODES

    def coordinator(self, name: str) -> int:
        """Of a group or a transactional id."""
        return zlib.crc32(name.encode()) % NODES

    # --- topics

    def create(self, name: str, partitions: int, settings: Mapping[str, str]) -> None:
        """Raises: Refused."""
        if name in self.topics:
            raise Refused(KafkaError.TOPIC_ALREADY_EXISTS)
        log_time = settings.get("message.timestamp.type") == "LogAppendTime"
        compacted = "compact" in settings.get("cleanup.policy", "delete")
        logs = [PartitionLog(log_time=log_time, compacted=compacted) for _ in range(partitions)]
        self.topics[name] = Topic(f"id-{len(self.topics) + 1}-{name}", settings, logs)

    def log(self, partition: Where) -> PartitionLog:
        """Raises: Refused: there is no such partition."""
        topic = self.topics.get(partition[0])
        if topic is None or not 0 <= partition[1] < len(topic.partitions):
            raise Refused(KafkaError.UNKNOWN_TOPIC_OR_PART)
        return topic.partitions[partition[1]]

    def partitions(self, topic: str) -> list[Where]:
        return [(topic, n) for n in range(len(self.topics[topic].partitions))] if topic in self.topics else []

    # --- what clients ask

    def produce(
        self,
        partition: Where,
        records: Sequence[NewEntry],
        pid: int,
        epoch: int,
        sequence: int,
        transactional: bool,
    ) -> int:
        """Produce, of one partition. Returns the first offset. Raises: Refused."""
        log = self.log(partition)
        if transactional and not log.is_open(pid):
            self.transactions.verify(pid, epoch, partition)
        return log.append(
            records, self._world.now_ms(), pid=pid, epoch=epoch, sequence=sequence, transactional=transactional
        )

    def commit_in(
        self, group: str, member: str, generation: int, pid: int, epoch: int, positions: Mapping[Where, At]
    ) -> None:
        """TxnOffsetCommit. Raises: Refused."""
        self.transactions.verify(pid, epoch, (POSITIONS_TOPIC, self._place(group)))
        self.group(group).commit_in(member, generation, pid, positions)

    def add_positions(self, id: str, pid: int, epoch: int, group: str) -> None:
        """AddOffsetsToTxn. Raises: Refused."""
        self.transactions.add(id, pid, epoch, [(POSITIONS_TOPIC, self._place(group))])

    def group(self, name: str) -> Group:
        """A group; it is made when somebody asks for it."""
        found = self.groups.get(name)
        if found is None:
            found = self.groups[name] = Group(name, self._world.later, self.partitions, self._world.note)
        return found

    # --- inside

    def _place(self, group: str) -> int:
        return zlib.crc32(group.encode()) % 50

    def _mark(self, partition: Where, pid: int, epoch: int, commit: bool) -> None:
        if partition[0] == POSITIONS_TOPIC:
            for name, group in self.groups.items():
                if self._place(name) == partition[1]:
                    group.positions.mark(pid, commit)
        elif partition[0] in self.topics:
            self.log(partition).mark(pid, epoch, commit)
