"""What an owner knows of its partitions: the newest states as bytes, and the entities at work decoded.

It follows the log: what was committed is kept, what was not is forgotten, and where that is in doubt a whole partition
is lost, until it has been read back. The owner's lock protects it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from headwater.environment import logged
from headwater.errors import Failed, HeadwaterError
from headwater.log.port import Positions, TopicPartition
from headwater.owners.arriving import Arrived
from headwater.owners.life import Lives, Signal
from headwater.owners.partition import PartitionMemory
from headwater.owners.state_record import Entry, decode_value
from headwater.owners.steps import StepMaker
from headwater.owners.writing import Outgoing

logger = logging.getLogger("headwater.owners")

WEIGHT_BYTES, WEIGHT_FACTOR = 500, 3
"""A decoded entity takes so much, and so many times its state record (measured with 1 to 128 remembered answers)."""

FEW = 8
"""For fewer commands a batch, each entity is read by itself."""

Stored = dict[tuple[int, bytes], bytes | None]
"""State records by partition and key; None: there is none."""


class Knowledge:
    """Arguments: maker: makes entries of state records; live_bytes: how much decoded entities may take; the others stay
    as the bytes of their state records.

    `memories`: by partition. `failures`: why a partition is stopped. `lives`: where each stands; what is known of one
    changes only with it, so every method here that changes something is a signal to it.
    """

    def __init__(self, maker: StepMaker, live_bytes: int) -> None:
        self._maker, self._entity, self._live_bytes = maker, maker.entity, live_bytes
        self.memories: dict[int, PartitionMemory] = {}
        self.failures: dict[int, str] = {}
        self.lives = Lives(maker.entity)
        self._live: dict[tuple[int, bytes], Entry] = {}
        self._taken_bytes = 0

    def assigned(self, partitions: Iterable[int]) -> None:
        """Of partitions that are going to be read back: whatever is known of them may be old."""
        self._drop(partitions, Signal.ASSIGNED)

    def restored(self, memories: Mapping[int, PartitionMemory]) -> None:
        """Partitions as they were read back."""
        for partition, memory in memories.items():
            self.lives.on(partition, Signal.RESTORED)
            self.memories[partition] = memory
            if memory.stopped is not None:
                self.stop(partition, memory.stopped)

    def stop(self, partition: int, why: str) -> None:
        """Nothing is decided in the partition from now on; its commands wait, and the others go on."""
        self.lives.on(partition, Signal.BAD_DATA)
        extra = logged("partition_stopped", details=why, entity=self._entity, partition=partition)
        logger.error("%s: partition %d is stopped: %s", self._entity, partition, why, extra=extra)
        self.memories[partition].stopped = self.failures[partition] = why

    def forget(self, partitions: Iterable[int]) -> None:
        """Of partitions that are owned no longer."""
        self._drop(partitions, Signal.REVOKED)

    def begin(self, partitions: Iterable[int]) -> None:
        """Commands of these partitions are decided and written."""
        for partition in partitions:
            self.lives.on(partition, Signal.TAKEN)

    def lose(self, partitions: Iterable[int]) -> None:
        """Of partitions where something may have been written that is not known here."""
        self._drop(partitions, Signal.IN_DOUBT)

    def _drop(self, partitions: Iterable[int], signal: Signal) -> None:
        gone = set(partitions)
        for partition in gone:
            self.lives.on(partition, signal)
            self.memories.pop(partition, None)
            self.failures.pop(partition, None)
        self._live = {key: entry for key, entry in self._live.items() if key[0] not in gone}
        self._taken_bytes = sum(entry.weight_bytes for entry in self._live.values())

    def undo(self, work: Iterable[Arrived], partitions: Iterable[int]) -> None:
        """What was decided in memory for these commands and was not written."""
        for arrived in work:
            self._let_go((arrived.partition, arrived.key))
        for partition in partitions:
            self.lives.on(partition, Signal.NOT_WRITTEN)

    def keep(self, outgoing: Outgoing, positions: Positions) -> None:
        """What is known after a commit."""
        kept: dict[int, dict[bytes, bytes]] = {}
        live, taken_bytes = self._live, 0
        for record in outgoing.states:
            partition, key, value = record.partition, record.key, record.value
            if key is not None and value is not None:
                kept.setdefault(partition, {})[key] = value
                entry = live[partition, key]
                weight = WEIGHT_BYTES + WEIGHT_FACTOR * len(value)
                taken_bytes += weight - entry.weight_bytes
                entry.weight_bytes = weight
        self._taken_bytes += taken_bytes
        for partition, values in kept.items():
            self.memories[partition].keep(values)
        for tp, position in positions.items():
            self.lives.on(tp.partition, Signal.COMMITTED)
            memory = self.memories[tp.partition]
            memory.next_command = position
            if outgoing.states:
                first = outgoing.firsts.get(TopicPartition(outgoing.states[0].topic, tp.partition))
                memory.wrote_states(first, outgoing.covers[tp.partition], self._maker.schema)
        if self._taken_bytes > self._live_bytes:
            for stale in list(self._live):
                self._let_go(stale)
                if self._taken_bytes <= self._live_bytes * 3 // 4:
                    break

    def has(self, partition: int, key: bytes) -> bool:
        """Whether an entity is at hand, decoded."""
        return (partition, key) in self._live

    def look_up(self, work: Sequence[Arrived]) -> Stored:
        """Reads at once what is stored of the entities of these commands, as far as they are not at hand: for `entry`,
        before anything of them changes. Raises: Unavailable: it cannot be read."""
        stored: Stored = {}
        if len(work) < FEW:
            return stored
        live = self._live
        wanted: dict[int, dict[bytes, None]] = {}
        for arrived in work:
            if (arrived.partition, arrived.key) not in live:
                wanted.setdefault(arrived.partition, {})[arrived.key] = None
        for partition, keys in wanted.items():
            values = self.memories[partition].get_all(list(keys))
            for key in keys:
                stored[partition, key] = values.get(key)
        return stored

    def entry(self, partition: int, key: bytes, stored: Stored) -> Entry:
        """An entity, as it is after everything so far. Arguments: stored: what `look_up` found for this batch; it is
        taken out. Raises: BadData, Failed: what is stored of it cannot be read. Unavailable."""
        place = partition, key
        found = self._live.get(place)
        if found is not None:
            return found
        try:
            memory = self.memories[partition]
            entry = self._load(memory, key, stored.pop(place) if place in stored else memory.get(key))
        except HeadwaterError:
            raise
        except Exception as error:
            # The author's @evolves may raise anything, and so may records that others wrote under our names.
            where = f"{self._entity} {key.decode()!r}"
            raise Failed("reading its state and events", where, f"{type(error).__name__}: {error}") from error
        self._live[place] = entry
        return entry

    def _weigh(self, entry: Entry, value: bytes) -> None:
        weight = WEIGHT_BYTES + WEIGHT_FACTOR * len(value)
        self._taken_bytes += weight - entry.weight_bytes
        entry.weight_bytes = weight

    def _let_go(self, place: tuple[int, bytes]) -> None:
        entry = self._live.pop(place, None)
        if entry is not None:
            self._taken_bytes -= entry.weight_bytes

    def _load(self, memory: PartitionMemory, key: bytes, value: bytes | None) -> Entry:
        if value is None:
            entry = self._maker.new_entry(key.decode())
        else:
            entry = self._maker.entry_from(decode_value(value))
        tail = memory.tail.get(key)  # it stays until a state record covers it: the entry may be made again
        if tail is not None:
            self._maker.absorb(entry, tail)
        self._weigh(entry, value or b"")
        return entry
