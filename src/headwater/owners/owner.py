"""The owner of some partitions of an entity type: it alone writes their events.

Commands come as records of `<entity>-commands`, or straight from a caller in the same process when the log is
embedded. Both are carried out under one lock, in batches; each batch is one transaction: events first (their
offsets are known then), then states and replies that carry those offsets, then the consumed positions. An
answer leaves after the commit, never before.

Callers in this process come through the `door`, which also says whose thread carries their commands out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headwater.environment import Environment
from headwater.errors import BadData, Failed, HeadwaterError
from headwater.log.partitioning import partition_of
from headwater.log.port import (
    Aborted,
    Batch,
    Fence,
    Log,
    NewRecord,
    Positions,
    Record,
    TopicPartition,
)
from headwater.log.topology import commands_topic, events_topic, owners_group
from headwater.owners.arriving import Arrived, from_record
from headwater.owners.deciding import Step, StepMaker
from headwater.owners.door import Door
from headwater.owners.envelopes import Moment
from headwater.owners.restore import PartitionMemory, restore
from headwater.owners.state_record import Entry, decode_value
from headwater.owners.writing import Writing

LIVE_ENTRIES = 50_000
"""How many entities are kept decoded; the others stay as the bytes of their state records."""

ATTEMPTS = 10
"""How often a batch of callers in this process is tried, if the log aborts it."""


class Owner:
    """A `BatchHandler` for `<entity>-commands`, with a door for callers in this process.

    Arguments: log; maker: what carries out a command; partitions: the recorded count; name: names its writer,
    unique per process; with_events: False for processes, which have no `-events` topic.
    """

    def __init__(
        self,
        log: Log,
        maker: StepMaker,
        partitions: int,
        *,
        name: str,
        environment: Environment,
        with_events: bool = True,
    ) -> None:
        self._log, self._maker, self._count, self._name = log, maker, partitions, name
        self._environment, self._with_events = environment, with_events
        self.entity, self.group = maker.entity, owners_group(maker.entity)
        self._commands, self._events = commands_topic(self.entity), events_topic(self.entity)
        self._writer, self._writing = log.writer(name), Writing(self.entity, name, maker.schema)
        self._door = Door(self._take, f"{name}-queue")
        self._memories: dict[int, PartitionMemory] = {}
        self._live: dict[tuple[int, bytes], Entry] = {}
        self._fence: Fence | None = None
        self.failures: dict[int, str] = {}

    # --- the loop's side

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        """Restores the partitions (`restore`). Raises: Unavailable."""
        numbers = [tp.partition for tp in partitions]
        memories = restore(self._log, self.entity, self.group, numbers, self._with_events, self._environment)
        with self._door:
            self._memories.update(memories)
            self.failures.update({p: memory.stopped for p, memory in memories.items() if memory.stopped is not None})
        return {tp: memories[tp.partition].next_command for tp in partitions}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        gone = {tp.partition for tp in partitions}
        with self._door:
            for partition in gone:
                self._memories.pop(partition, None)
                self.failures.pop(partition, None)
            self._live = {key: entry for key, entry in self._live.items() if key[0] not in gone}

    def idle(self, fence: Fence) -> None:
        with self._door:
            self._fence = fence

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Carries out a batch of command records. Raises: Aborted, Fenced, Unavailable."""
        with self._door:
            self._fence = fence
            work, positions = self._accept(batch)
            batch.records.clear()  # what is needed of them was taken: thousands of messages less to keep meanwhile
            if positions:
                self._carry_out(work, positions, fence)

    def _accept(self, batch: Batch) -> tuple[list[Arrived], dict[TopicPartition, int]]:
        """The commands of a batch, and how far each partition goes: a bad record stops its partition there."""
        positions = dict(batch.reached)
        work: list[Arrived] = []
        for record in batch.records:
            memory = self._memories.get(record.partition)
            if memory is None or memory.stopped is not None or record.offset < memory.next_command:
                continue
            try:
                work.append(self._read(record))
            except BadData as error:
                memory.stopped = self.failures[record.partition] = str(error)
                positions[TopicPartition(record.topic, record.partition)] = record.offset
        for tp in batch.reached:
            memory = self._memories.get(tp.partition)
            if memory is None or (memory.stopped is not None and positions[tp] == batch.reached[tp]):
                del positions[tp]
        return work, positions

    def _read(self, record: Record) -> Arrived:
        arrived = from_record(record)
        if partition_of(arrived.key, self._count) != arrived.partition:
            raise BadData(
                f"the command's key {arrived.key!r} belongs to partition {partition_of(arrived.key, self._count)}: its "
                "sender uses another partitioner than murmur2",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            )
        try:
            arrived.key.decode()
        except UnicodeDecodeError as error:
            raise BadData(
                f"the key is not UTF-8: {error}", topic=record.topic, partition=record.partition, offset=record.offset
            ) from error
        return arrived

    # --- the callers' side

    def owns(self, partition: int) -> bool:
        """Whether commands for this partition can be handed over here."""
        return partition in self._memories and self._fence is not None

    def submit(self, commands: Iterable[Arrived], *, lead: bool = True) -> None:
        """Takes commands of callers in this process; each one's `answer` is called when it is decided.

        Arguments: lead: carry them out in the calling thread if the owner is idle (False: an event loop calls).
        """
        self._door.submit(commands, lead=lead)

    def start(self) -> None:
        """Starts the thread that takes what callers leave in the queue."""
        self._door.start()

    def close(self) -> None:
        """Stops taking commands. What is still queued is answered with `Unavailable`."""
        self._door.close()
        with self._door:
            self._writer.close()

    def _take(self, work: list[Arrived]) -> None:
        """Commands of callers in this process, in one transaction. The lock is held."""
        ready = [one for one in work if self._can_take(one)]
        if not ready:
            return
        positions = {
            TopicPartition(self._commands, p): self._memories[p].next_command for p in {one.partition for one in ready}
        }
        failure: HeadwaterError
        for _ in range(ATTEMPTS):
            try:
                self._carry_out(ready, dict(positions), self._fence)
                return
            except Aborted as error:
                failure = error  # nothing of it is there: an embedded log tears nothing
            except HeadwaterError as error:
                failure = error
                break
        answer_all(ready, failure)

    def _can_take(self, arrived: Arrived) -> bool:
        memory = self._memories.get(arrived.partition)
        if memory is not None and memory.stopped is None and self._fence is not None:
            return True
        if arrived.answer is not None:
            arrived.answer(NotMine(self.entity, arrived.partition, memory.stopped if memory else None))
        return False

    # --- carrying out

    def _carry_out(self, work: Sequence[Arrived], positions: dict[TopicPartition, int], fence: Fence) -> None:
        """Decides the commands, commits the outcome, then answers. The lock is held."""
        now = Moment.of(self._environment.now())
        carry_out, entry_of = self._maker.carry_out, self._entry
        stopped: dict[int, str] = {}
        left: list[Arrived] = []
        steps: list[Step] = []
        states: list[NewRecord] = []
        try:
            for arrived in work:
                if arrived.partition in stopped:
                    left.append(arrived)
                    continue
                try:
                    steps.append(carry_out(entry_of(arrived.partition, arrived.key), arrived, now))
                except (BadData, Failed) as error:
                    # It must not be skipped: the partition stays before it, and the others go on.
                    stopped[arrived.partition] = str(error)
                    left.append(arrived)
                    if arrived.offset >= 0:
                        positions[TopicPartition(self._commands, arrived.partition)] = arrived.offset
            self._writer.transact(lambda tx: self._writing.fill(tx, steps, positions, fence, states))
        except BaseException:
            # Nothing was written: what was decided in memory must not outlive it.
            for arrived in work:
                self._live.pop((arrived.partition, arrived.key), None)
            raise
        for record in states:
            if record.key is not None and record.value is not None:
                self._memories[record.partition].keep(record.key, record.value)
        for tp, position in positions.items():
            self._memories[tp.partition].next_command = position
        for partition, why in stopped.items():
            self._memories[partition].stopped = self.failures[partition] = why
        for step in steps:
            if step.arrived.answer is not None:
                step.arrived.answer(step.reply)
        for partition, why in stopped.items():
            answer_all([one for one in left if one.partition == partition], NotMine(self.entity, partition, why))
        if len(self._live) > LIVE_ENTRIES:
            for stale in list(self._live)[: len(self._live) - LIVE_ENTRIES // 2]:
                del self._live[stale]

    def _entry(self, partition: int, key: bytes) -> Entry:
        found = self._live.get((partition, key))
        if found is not None:
            return found
        memory = self._memories[partition]
        value = memory.records.get(key)
        if value is None:
            entry = self._maker.new_entry(key.decode())
        else:
            events = TopicPartition(self._events, partition)
            entry = self._maker.entry_from(decode_value(value), lambda: self._log.keyed(events, key))
        tail = memory.tail.get(key)  # it stays until a state record covers it: the entry may be made again
        if tail is not None:
            self._maker.absorb(entry, tail)
        self._live[partition, key] = entry
        return entry


def answer_all(commands: Sequence[Arrived], error: HeadwaterError) -> None:
    for one in commands:
        if one.answer is not None:
            one.answer(error)


class NotMine(HeadwaterError):
    """The partition is not owned here (any more), or is stopped: the command must travel, or wait."""

    def __init__(self, entity: str, partition: int, stopped: str | None) -> None:
        super().__init__(
            f"partition {partition} of {entity!r} is not served here" + (f": {stopped}" if stopped else "")
        )
        self.stopped = stopped
