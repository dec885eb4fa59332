"""Where the owner of an entity type has its states, and how the copies on this machine stay near the log's end.

A checkpoint is open while its partition is owned here; with `standby`, those of all other partitions are open, too. One
thread saves what the owner keeps, and reads on in `-state` for the partitions that others own, so many records at most.
An owner takes a partition's checkpoint over from that thread and reads the rest itself (`restore`).

Processes on one machine do not share a file: each takes the first that nobody has (`0-0.db`, `0-1.db`), and what a
dead one leaves is there for the next.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.port import Batch, Log, Reader, Record, TopicPartition
from headwater.log.topology import state_topic
from headwater.owners.checkpoint import Binding, Checkpoint, InUse
from headwater.owners.states import States, StatesInMemory, StatesOnDisk

logger = logging.getLogger("headwater.owners")

SAVE_S = 3.0
"""How often an owner's states are saved. An entity that changes often is written once each time, so more often costs
more; what is not saved, the next owner reads from the log: some ten thousand records."""

FOLLOW_S, FOLLOW_RECORDS = 0.5, 25_000
"""How often a standby reads on in `-state`, and how much of it at most: 50,000 records/s."""

PATIENCE_S = 5.0
"""How long an owner waits until its states were saved; and between two tries where a checkpoint cannot be written."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What an app may choose. Arguments: memory_mb: for the states of this process, all entity types together;
    standby: whether it follows the partitions that others own. Raises: Misuse."""

    memory_mb: int = 256
    standby: bool = False

    def __post_init__(self) -> None:
        if self.memory_mb < 1:
            raise Misuse(f"state_memory_mb={self.memory_mb}: states need at least 1 MB")


AS_USUAL = Keeping()


class Keeper(Protocol):
    """Has the states of an entity type's partitions. Thread-safe. `live_bytes`: how much its owner may take for decoded
    entities."""

    @property
    def live_bytes(self) -> int: ...

    def take(self, partitions: Iterable[int]) -> Mapping[int, States]:
        """The states of partitions that are owned from now on, as far as they are here. Raises: Unavailable."""
        ...

    def release(self, partitions: Iterable[int]) -> None:
        """Of partitions that are owned no longer."""
        ...

    def make_room(self) -> None:
        """Waits where too much is in memory that is not saved yet. Raises: Unavailable: it stays so."""
        ...

    def start(self) -> None: ...

    def close(self) -> None: ...


class InMemory:
    """All states are in memory, and read from the log by each new owner. Arguments: as in `Keeper`."""

    def __init__(self, live_bytes: int = AS_USUAL.memory_mb << 20) -> None:
        self.live_bytes = live_bytes

    def take(self, partitions: Iterable[int]) -> Mapping[int, States]:
        return {partition: StatesInMemory() for partition in partitions}

    def release(self, partitions: Iterable[int]) -> None: ...

    def make_room(self) -> None: ...

    def start(self) -> None: ...

    def close(self) -> None: ...


class Checkpoints:
    """Arguments: log; entity; count: of its partitions; schema: of its states; directory: where the log's local files
    are; memory_bytes: for the states in memory, a quarter of it for those that are not saved yet, and one for small
    checkpoints; standby: whether partitions that are not owned here are followed, too."""

    def __init__(
        self, log: Log, entity: str, count: int, schema: str, directory: Path, *, memory_bytes: int, standby: bool
    ) -> None:
        self._log, self._topic, self._count, self._schema = log, state_topic(entity), count, schema
        self._kept_bytes, self.live_bytes, self._standby = memory_bytes // 4, memory_bytes // 2, standby
        self._small_bytes = memory_bytes // 4 // count
        self._topic_id = log.topics([self._topic])[self._topic].id
        self._directory = directory / "states" / f"{self._topic}-{self._topic_id.replace('/', '_')}"
        self._open: dict[int, StatesOnDisk] = {}
        self._owned: set[int] = set()
        self._reader: Reader | None = None
        self._reading: frozenset[int] = frozenset()
        self._failure: str | None = None
        self._lock = threading.RLock()
        self._saved = threading.Condition()
        self._wanted = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def take(self, partitions: Iterable[int]) -> Mapping[int, States]:
        numbers = list(partitions)
        with self._lock:
            self._make_open(numbers)
            self._owned.update(numbers)
            self._reading = frozenset()  # their owner goes on alone: the reader is behind when they come back
            for partition in numbers:
                self._open[partition].forget()
                self._open[partition].hold()
            return {partition: self._open[partition] for partition in numbers}

    def release(self, partitions: Iterable[int]) -> None:
        with self._lock:
            for partition in partitions:
                self._owned.discard(partition)
                self._shut(partition)

    def make_room(self) -> None:
        if self._kept() <= self._kept_bytes:
            return
        self._wanted.set()
        with self._saved:
            if not self._saved.wait_for(lambda: self._kept() <= self._kept_bytes, PATIENCE_S):
                raise Unavailable(
                    f"{self._kept() >> 20} MB of new states of {self._topic} are in memory, and no checkpoint takes "
                    f"them: {self._failure or 'the disk is too slow'}"
                )

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"{self._topic}-checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for partition in list(self._open):
                self._shut(partition)
            self._forget_reader()

    def _kept(self) -> int:
        return sum(states.kept_bytes for states in list(self._open.values()))

    def _make_open(self, partitions: Iterable[int]) -> None:
        """Opens those that are not; one that is not a copy of the topic's first part is wiped. Raises: Unavailable."""
        tps = [TopicPartition(self._topic, partition) for partition in partitions if partition not in self._open]
        if not tps:
            return
        begins, ends = self._log.begins(tps), self._log.ends(tps, committed=False)
        for tp in tps:
            states = self._open[tp.partition] = StatesOnDisk(self._checkpoint(tp.partition), self._small_bytes)
            if states.position and not begins[tp] <= states.position <= ends[tp]:
                here = f"it covers {tp} to {states.position}, and that is {begins[tp]} to {ends[tp]}"
                states.wipe(f"{here}: the topic was made anew, or has lost records")

    def _checkpoint(self, partition: int) -> Checkpoint:
        binding = Binding(self._log.id, self._topic_id, partition, self._count, self._schema)
        for number in itertools.count():
            try:
                return Checkpoint(self._directory / f"{partition}-{number}.db", binding)
            except InUse:
                continue
        raise AssertionError("numbers do not end")

    def _shut(self, partition: int) -> None:
        states = self._open.pop(partition, None)
        if states is not None:
            try:
                states.save()
            except Unavailable as error:  # the log has it, too
                logger.warning("%s/%d: the last states are not saved: %s", self._topic, partition, error)
            states.close()

    def _run(self) -> None:
        pause_s = usual_s = FOLLOW_S if self._standby else SAVE_S
        while True:
            self._wanted.wait(pause_s)
            if self._stopping:
                return
            self._wanted.clear()
            try:
                with self._lock:
                    self._save()
                    if self._standby:
                        self._read_on()
                self._failure, pause_s = None, usual_s
            except HeadwaterError as error:
                if self._failure != str(error):
                    logger.warning("%s: checkpoints stay behind: %s", self._topic, error)
                self._failure, pause_s = str(error), min(PATIENCE_S, pause_s * 2)
                self._forget_reader()  # it may be ahead of what was written
            except Exception as error:
                self._failure = f"{type(error).__name__}: {error}"
                logger.exception("%s: nothing is saved any more", self._topic)
                return
            with self._saved:
                self._saved.notify_all()

    def _save(self) -> None:
        """The lock is held."""
        for partition, states in self._open.items():
            if partition in self._owned:
                states.save()

    def _read_on(self) -> None:
        """One round. The lock is held."""
        others = set(range(self._count)) - self._owned
        self._make_open(others)
        followed = {p: self._open[p] for p in others if self._open[p].bad is None}
        if self._reader is None:
            self._reader, self._reading = self._log.reader(envelopes=False, patient=True), frozenset()
        if followed.keys() != self._reading:
            self._reader.assign({TopicPartition(self._topic, p): states.position for p, states in followed.items()})
            self._reading = frozenset(followed)
        if followed:
            take_states(self._reader.read(FOLLOW_RECORDS, 0), followed)

    def _forget_reader(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None


def take_states(batch: Batch, into: Mapping[int, States]) -> None:
    """Gives what was read of `-state` to its partitions. Raises: Unavailable: not all of it was taken."""
    records: dict[int, list[Record]] = {}
    for record in batch.records:
        records.setdefault(record.partition, []).append(record)
    for tp, position in batch.reached.items():
        into[tp.partition].take(records.get(tp.partition, ()), position)
