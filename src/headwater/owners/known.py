"""What an owner knows of its partitions: the newest states as bytes, and the entities at work decoded.

It follows the log: what was committed is kept, what was not is forgotten, and where that is in doubt a whole partition
is lost, until it has been read back. The owner's lock protects it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from headwater.errors import Failed, HeadwaterError
from headwater.log.port import Positions
from headwater.owners.arriving import Arrived
from headwater.owners.life import Lives, Signal
from headwater.owners.partition import PartitionMemory
from headwater.owners.state_record import Entry, decode_value
from headwater.owners.steps import StepMaker
from headwater.owners.writing import Outgoing

logger = logging.getLogger("headwater.owners")

WEIGHT_BYTES, WEIGHT_FACTOR = 500, 3
"""A decoded entity takes so much, and so many times its state record (measured with 1 to 128 remembered answers)."""


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
        logger.error("%s: partition %d is stopped: %s", self._entity, partition, why)
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
        for record in outgoing.states:
            if record.key is not None and record.value is not None:
                self.memories[record.partition].keep(record.key, record.value)
                self._weigh(self._live[record.partition, record.key], record.value)
        for tp, position in positions.items():
            self.lives.on(tp.partition, Signal.COMMITTED)
            self.memories[tp.partition].next_command = position
        if self._taken_bytes > self._live_bytes:
            for stale in list(self._live):
                self._let_go(stale)
                if self._taken_bytes <= self._live_bytes * 3 // 4:
                    break

    def has(self, partition: int, key: bytes) -> bool:
        """Whether an entity is at hand, decoded."""
        return (partition, key) in self._live

    def entry(self, partition: int, key: bytes) -> Entry:
        """An entity, as it is after everything so far. Raises: BadData, Failed: what is stored of it cannot be read."""
        found = self._live.get((partition, key))
        if found is not None:
            return found
        try:
            entry = self._load(self.memories[partition], key)
        except HeadwaterError:
            raise
        except Exception as error:
            # The author's @evolves may raise anything, and so may records that others wrote under our names.
            where = f"{self._entity} {key.decode()!r}"
            raise Failed("reading its state and events", where, f"{type(error).__name__}: {error}") from error
        self._live[partition, key] = entry
        return entry

    def _weigh(self, entry: Entry, value: bytes) -> None:
        weight = WEIGHT_BYTES + WEIGHT_FACTOR * len(value)
        self._taken_bytes += weight - entry.weight_bytes
        entry.weight_bytes = weight

    def _let_go(self, place: tuple[int, bytes]) -> None:
        entry = self._live.pop(place, None)
        if entry is not None:
            self._taken_bytes -= entry.weight_bytes

    def _load(self, memory: PartitionMemory, key: bytes) -> Entry:
        value = memory.get(key)
        if value is None:
            entry = self._maker.new_entry(key.decode())
        else:
            entry = self._maker.entry_from(decode_value(value))
        tail = memory.tail.get(key)  # it stays until a state record covers it: the entry may be made again
        if tail is not None:
            self._maker.absorb(entry, tail)
        self._weigh(entry, value or b"")
        return entry
