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
from headwater.errors import HeadwaterError, Unknown
from headwater.failures.held import HeldRecord
from headwater.log.port import Aborted, Batch, Fence, Log, Positions, TopicPartition
from headwater.log.topology import commands_topic, owners_group
from headwater.owners.accepting import Opening, accepted
from headwater.owners.ahead import Ahead
from headwater.owners.arriving import Arrived, NotMine, answer_all
from headwater.owners.door import Door
from headwater.owners.errands import Errands
from headwater.owners.giving_way import GivingWay
from headwater.owners.keeping import InMemory, Keeper
from headwater.owners.known import Knowledge
from headwater.owners.life import State
from headwater.owners.rebuilding import Rewriting, bring_up_to_date
from headwater.owners.restore import restore
from headwater.owners.steps import StepMaker
from headwater.owners.telling import Telling
from headwater.owners.transacting import Transacting
from headwater.readers.garbage import collection_waits
from headwater.readers.held_topic import HeldTopic

MANY = 100
"""For so many commands or more, the next batch is looked at while the log is at work on them."""

ATTEMPTS = 10
"""How often a batch of callers in this process is tried, if the log aborts it."""


class Owner:
    """A `BatchHandler` for `<entity>-commands`, with a door for callers in this process.

    Arguments: log; maker: what carries out a command; partitions: the recorded count; name: names its writer,
    unique per process; with_events: False for processes, which have no `-events` topic; keeper: has the states; held:
    where what fails is set aside (None: it stops its partition).
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
        held: HeldTopic | None = None,
    ) -> None:
        self._log, self._maker, self._count = log, maker, partitions
        self._environment, self._with_events, self._held = environment, with_events, held
        self.entity, self.group = maker.entity, owners_group(maker.entity)
        self._commands = commands_topic(self.entity)
        self._door = Door(self._take, f"{name}-queue")
        self._keeper = keeper or InMemory()
        self._known, self.telling = Knowledge(maker, self._keeper.live_bytes), Telling(maker, environment)
        self.ahead = Ahead(log, maker, partitions, environment)
        self._transacting = Transacting(log, maker, name, self._known, self.telling, environment, held)
        self._rewriting = Rewriting(self.entity, maker.schema, self._transacting.writer)
        self._errands = (
            None if held is None else Errands(held, self._transacting, self._known, self.telling, environment)
        )
        self._giving_way, self._opening = GivingWay(log, maker, environment), Opening()
        self._fence: Fence | None = None

    @property
    def failures(self) -> dict[int, str]:
        """Why nothing is decided in a partition, by partition."""
        if self._held is None or not self._held.pauses:
            return self._known.failures
        paused = {tp.partition: str(pause.cause) for tp, pause in self._held.pauses.items()}
        return {**self._known.failures, **paused}

    @property
    def dead_letters(self) -> list[HeldRecord]:
        """What failed in the partitions that are owned here, and was not worked off yet."""
        return [] if self._held is None else self._held.letters

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
            if self._held is not None:
                self._held.assigned(partitions)
        except BaseException:
            self._keeper.release(numbers)
            raise
        with self._door:
            self._known.restored(memories)
        return {tp: memories[tp.partition].next_command for tp in partitions}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        with self._door:
            self._known.forget(tp.partition for tp in partitions)
        self._keeper.release(tp.partition for tp in partitions)
        if self._held is not None:
            self._held.revoked(partitions)

    def idle(self, fence: Fence) -> None:
        """Raises: GaveWay, Unavailable."""
        self._giving_way.look(self._known.memories)
        with self._door:
            self._fence = fence
            self._go_on(fence)

    def resumed(self) -> Positions:
        """Paused partitions in which there is room again. What stopped is left until it is started again."""
        found = [] if self._held is None else self._held.resume()
        return {tp: self._known.memories[tp.partition].next_command for tp in found}

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Carries out a batch of command records. Raises: Aborted (also where a partition must be restored), Fenced,
        GaveWay, Unavailable."""
        self._giving_way.look(self._known.memories)
        self._keeper.make_room()
        with collection_waits(), self._door:
            self._handle(batch, fence)

    def _handle(self, batch: Batch, fence: Fence) -> None:
        """The lock is held."""
        self._fence = fence
        if any(self._state_of(tp.partition) is State.DOUBTFUL for tp in batch.reached):
            raise Aborted("what was known of a partition is in doubt; it is restored")
        paused = () if self._held is None else self._held.pauses
        commands = self._opening.all_of(batch.records)
        work, positions, stopped = accepted(batch, commands, self._known, self._count, paused)
        for _ in stopped:
            self.telling.stops("decode")
        batch.records.clear()  # what is needed of them was taken: thousands of messages less to keep meanwhile
        if positions:
            meanwhile = None if len(work) < MANY else lambda: self._opening.ahead(batch.look_ahead())
            self._transacting.carry_out(work, positions, fence, stopped, meanwhile)
        batch.reached = positions  # where something was left, what was read lies further on
        self._go_on(fence)

    def _go_on(self, fence: Fence) -> None:
        """With what nobody waits for. The lock is held. Raises: Unavailable."""
        if self._errands is not None:
            self._errands.work_off(fence)
        self._rewriting.go_on(self._known.memories, fence)

    def _state_of(self, partition: int) -> State:
        return self._known.lives.of(partition)

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
            self._transacting.writer.close()
        self._keeper.close()

    def _take(self, work: list[Arrived]) -> None:
        """Commands of callers in this process, in one transaction. The lock is held."""
        ready = [one for one in work if self._can_take(one)]
        if not ready:
            return
        self.telling.takes()
        try:
            self._carry_out_for_callers(ready)
        finally:
            self.telling.took()

    def _carry_out_for_callers(self, ready: Sequence[Arrived]) -> None:
        memories = self._known.memories
        owned = {one.partition for one in ready}
        positions = {TopicPartition(self._commands, p): memories[p].next_command for p in owned}
        failure: HeadwaterError
        for _ in range(ATTEMPTS):
            try:
                self._transacting.carry_out(ready, dict(positions), self._fence, {})
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
        partition, overtakes = arrived.partition, bool(arrived.turned_away)
        if self._state_of(partition) is State.ACTIVE and self._fence is not None and not overtakes:
            return True
        if arrived.answer is not None:
            arrived.answer(NotMine(self.entity, partition, None if overtakes else self.failures.get(partition)))
        return False
