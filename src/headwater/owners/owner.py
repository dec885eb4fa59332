"""The owner of some partitions of an entity type: it alone writes their events.

Commands come as records of `<entity>-commands`, or straight from a caller in the same process when the log is
embedded. Both are carried out under one lock, in batches; each batch is one transaction: events first (their
offsets are known then), then states and replies that carry those offsets, then the consumed positions. An
answer leaves after the commit, never before.

Callers in this process come through the `door`, which also says whose thread carries their commands out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from headwater.environment import Environment
from headwater.errors import BadData, Failed, HeadwaterError, Unavailable, Unknown
from headwater.log.partitioning import partition_of
from headwater.log.port import (
    Aborted,
    Batch,
    Fence,
    Log,
    Positions,
    Record,
    TopicPartition,
    Transaction,
)
from headwater.log.topology import commands_topic, events_topic, owners_group
from headwater.owners.ahead import Ahead
from headwater.owners.arriving import Arrived, from_record
from headwater.owners.door import Door
from headwater.owners.envelopes import Moment
from headwater.owners.giving_way import GivingWay
from headwater.owners.keeping import InMemory, Keeper
from headwater.owners.known import Knowledge
from headwater.owners.life import Signal, State, signal_of
from headwater.owners.rebuilding import Rewriting, bring_up_to_date
from headwater.owners.restore import foreign_event, restore
from headwater.owners.steps import Step, StepMaker
from headwater.owners.writing import Outgoing, Writing

logger = logging.getLogger("headwater.owners")

ATTEMPTS = 10
"""How often a batch of callers in this process is tried, if the log aborts it."""


class Owner:
    """A `BatchHandler` for `<entity>-commands`, with a door for callers in this process.

    Arguments: log; maker: what carries out a command; partitions: the recorded count; name: names its writer,
    unique per process; with_events: False for processes, which have no `-events` topic; keeper: has the states.
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
        keeper: Keeper | None = None,
    ) -> None:
        self._log, self._maker, self._count, self._name = log, maker, partitions, name
        self._environment, self._with_events = environment, with_events
        self.entity, self.group = maker.entity, owners_group(maker.entity)
        self._commands, self._events = commands_topic(self.entity), events_topic(self.entity)
        self._writer, self._writing = log.writer(name), Writing(self.entity, name, maker.schema)
        self._door = Door(self._take, f"{name}-queue")
        self._keeper = keeper or InMemory()
        self._known = Knowledge(maker, self._keeper.live_bytes)
        self.ahead, self._rewriting = Ahead(log, maker, partitions, environment), Rewriting(self.entity, self._writer)
        self._giving_way = GivingWay(log, maker, environment)
        self._fence: Fence | None = None

    @property
    def failures(self) -> dict[int, str]:
        """Why nothing is decided in a partition, by partition."""
        return self._known.failures

    # --- the loop's side

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        """Restores the partitions, and folds states of other code anew. Raises: Unavailable. Misuse: nothing can."""
        numbers = [tp.partition for tp in partitions]
        with self._door:
            self._known.assigned(numbers)
        states = self._keeper.take(numbers)
        try:
            memories = restore(
                self._log, self.entity, self.group, states, self._count, self._with_events, self._environment
            )
            bring_up_to_date(self._log, self._maker, memories, self.ahead, self._environment)
        except BaseException:
            self._keeper.release(numbers)
            raise
        self._keeper.follow(numbers)
        with self._door:
            self._known.restored(memories)
        return {tp: memories[tp.partition].next_command for tp in partitions}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        with self._door:
            self._known.forget(tp.partition for tp in partitions)
        self._keeper.release(tp.partition for tp in partitions)

    def idle(self, fence: Fence) -> None:
        """Raises: GaveWay, Unavailable."""
        self._giving_way.look(self._known.memories)
        with self._door:
            self._fence = fence
            self._rewriting.go_on(self._known.memories, fence)

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Carries out a batch of command records. Raises: Aborted (also where a partition must be restored), Fenced,
        GaveWay, Unavailable."""
        self._giving_way.look(self._known.memories)
        self._keeper.make_room()
        with self._door:
            self._fence = fence
            if any(self._state_of(tp.partition) is State.DOUBTFUL for tp in batch.reached):
                raise Aborted("what was known of a partition is in doubt; it is restored")
            work, positions, stopped = self._accept(batch)
            batch.records.clear()  # what is needed of them was taken: thousands of messages less to keep meanwhile
            if positions:
                self._carry_out(work, positions, fence, stopped)
            self._rewriting.go_on(self._known.memories, fence)

    def _accept(self, batch: Batch) -> tuple[list[Arrived], dict[TopicPartition, int], dict[int, str]]:
        """The commands of a batch, how far each partition goes, and which of them stop there, since a bad record
        comes next, and why."""
        positions = {tp: at for tp, at in batch.reached.items() if self._state_of(tp.partition) is State.ACTIVE}
        begins = {tp.partition: self._known.memories[tp.partition].next_command for tp in positions}
        work: list[Arrived] = []
        stopped: dict[int, str] = {}
        for record in batch.records:
            begin = begins.get(record.partition)
            if begin is None or record.offset < begin:
                continue
            try:
                work.append(self._read(record))
            except BadData as error:
                del begins[record.partition]
                stopped[record.partition] = str(error)
                positions[TopicPartition(record.topic, record.partition)] = record.offset
        return work, positions, stopped

    def _state_of(self, partition: int) -> State:
        return self._known.lives.of(partition)

    def _read(self, record: Record) -> Arrived:
        arrived = from_record(record)
        if not self._known.has(arrived.partition, arrived.key):  # else an earlier command had the same key
            self._check_key(arrived.key, record)
        return arrived

    def _check_key(self, key: bytes, record: Record) -> None:
        home = partition_of(key, self._count)
        why = f"the command's key {key!r} belongs to partition {home}: its sender uses another partitioner than murmur2"
        if home == record.partition:
            try:
                key.decode()
                return
            except UnicodeDecodeError as error:
                why = f"the key is not UTF-8: {error}"
        raise BadData(why, topic=record.topic, partition=record.partition, offset=record.offset)

    # --- the callers' side

    def owns(self, partition: int) -> bool:
        """Whether commands for this partition can be handed over here."""
        return partition in self._known.memories and self._fence is not None

    def submit(self, commands: Iterable[Arrived]) -> None:
        """Takes commands of callers in this process, and carries them out in the calling thread if the owner is idle;
        each one's `answer` is called when it is decided."""
        self._door.submit(commands)

    def start(self) -> None:
        """Starts the thread that takes what callers leave in the queue."""
        self._keeper.start()
        self._door.start()

    def close(self) -> None:
        """Stops taking commands. What is still queued is answered with `Unavailable`."""
        self._door.close()
        with self._door:
            self._writer.close()
        self._keeper.close()

    def _take(self, work: list[Arrived]) -> None:
        """Commands of callers in this process, in one transaction. The lock is held."""
        ready = [one for one in work if self._can_take(one)]
        if not ready:
            return
        memories = self._known.memories
        owned = {one.partition for one in ready}
        positions = {TopicPartition(self._commands, p): memories[p].next_command for p in owned}
        failure: HeadwaterError
        for _ in range(ATTEMPTS):
            try:
                self._carry_out(ready, dict(positions), self._fence, {})
                return
            except Aborted as error:
                failure = error  # nothing of it is there: an embedded log tears nothing
            except HeadwaterError as error:
                failure = error
                break
            except BaseException:
                # Somebody interrupts this thread, maybe after the commit: the other callers must not wait for it.
                for one in ready:
                    answer_all([one], Unknown(one.id, 0))
                raise
        answer_all(ready, failure)

    def _can_take(self, arrived: Arrived) -> bool:
        if self._state_of(arrived.partition) is State.ACTIVE and self._fence is not None:
            return True
        if arrived.answer is not None:
            arrived.answer(NotMine(self.entity, arrived.partition, self.failures.get(arrived.partition)))
        return False

    # --- carrying out

    def _carry_out(
        self, work: Sequence[Arrived], positions: dict[TopicPartition, int], fence: Fence, stopped: dict[int, str]
    ) -> None:
        """Decides the commands, commits the outcome, then answers. The lock is held.

        Arguments: stopped: why partitions stop behind these commands; those that stop before are added.
        """
        partitions = [tp.partition for tp in positions]
        try:
            self._known.begin(partitions)
            steps = self._decide(work, positions, stopped)
            outgoing = self._write(steps, positions, fence)
            self._known.keep(outgoing, positions)
        except BaseException as error:
            if signal_of(error) is Signal.NOT_WRITTEN:
                self._known.undo(work, partitions)
            else:
                self._known.lose(partitions)
            raise
        for partition, why in stopped.items():
            self._known.stop(partition, why)
        for step in steps:
            if step.arrived.answer is not None:
                step.arrived.answer(step.reply)
        if stopped:
            done = {id(step.arrived) for step in steps}
            for one in work:
                if one.partition in stopped and id(one) not in done:
                    answer_all([one], NotMine(self.entity, one.partition, stopped[one.partition]))
        self._verify(outgoing)

    def _decide(
        self, work: Sequence[Arrived], positions: dict[TopicPartition, int], stopped: dict[int, str]
    ) -> list[Step]:
        """The steps of the commands; what must not be skipped stops its partition before it, and the others go on."""
        halted: dict[int, str] = {}
        now = Moment.of(self._environment.now())
        carry_out, entry_of = self._maker.carry_out, self._known.entry
        steps: list[Step] = []
        for arrived in work:
            if arrived.partition in halted:
                continue
            try:
                steps.append(carry_out(entry_of(arrived.partition, arrived.key), arrived, now))
            except (BadData, Failed) as error:
                halted[arrived.partition] = str(error)
                if arrived.offset >= 0:
                    positions[TopicPartition(self._commands, arrived.partition)] = arrived.offset
        stopped.update(halted)
        return steps

    def _write(self, steps: Sequence[Step], positions: Positions, fence: Fence) -> Outgoing:
        outgoing = Outgoing()

        def fill(tx: Transaction) -> None:
            nonlocal outgoing
            outgoing = self._writing.fill(tx, steps, positions, fence, self._known.memories)

        self._writer.transact(fill)
        return outgoing

    def _verify(self, outgoing: Outgoing) -> None:
        """Looks at what else was written where the transaction wrote its events: only owners may."""
        for partition, span in outgoing.spans.items():
            memory = self._known.memories[partition]
            if memory.wrote(span):
                continue
            events = TopicPartition(self._events, partition)
            try:
                foreign = foreign_event(
                    self._log, events, memory.verified, span.last + 1, self._name, self._environment
                )
            except Unavailable as error:
                logger.warning("%s: not verified yet, the next transaction will try again: %s", events, error)
                continue
            if foreign is None:
                memory.verify(span.last + 1)
            else:
                self._known.stop(partition, str(foreign))


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
