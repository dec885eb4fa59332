"""A transaction of an owner: commands are decided, what they lead to is written, and what is known follows the log.

begin ─► decide ─► write, with the positions ─► keep ─► (answer)
           │          └ not written: undo what was decided; in doubt: lose what is known of the partitions
           └ cannot be decided: its partition stops before it; for a process, it is set aside, and the others go on
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from headwater.environment import Environment
from headwater.errors import BadData, Failed, Unavailable
from headwater.failures.parking import Parking, trouble_of
from headwater.log.port import Fence, Log, NewRecord, Positions, StoredRecord, TopicPartition, Transaction
from headwater.log.topology import commands_topic, events_topic
from headwater.owners.arriving import Arrived, NotMine, answer_all
from headwater.owners.envelopes import Moment
from headwater.owners.known import Knowledge
from headwater.owners.life import Signal, signal_of
from headwater.owners.restore import foreign_event
from headwater.owners.steps import Step, StepMaker
from headwater.owners.telling import Telling
from headwater.owners.writing import Outgoing, Writing
from headwater.readers.held_topic import HeldTopic

logger = logging.getLogger("headwater.owners")


class Transacting:
    """The owner's lock is held in all of it.

    Arguments: log; maker: what carries out a command; name: of the writer; known; telling; environment; held:
    where what cannot be decided is set aside (None: it stops its partition).
    """

    def __init__(
        self,
        log: Log,
        maker: StepMaker,
        name: str,
        known: Knowledge,
        telling: Telling,
        environment: Environment,
        held: HeldTopic | None,
    ) -> None:
        entity = maker.entity
        self._log, self._maker, self._entity, self._name, self._environment = log, maker, entity, name, environment
        self._commands, self._events = commands_topic(entity), events_topic(entity)
        self.writer, self._writing = log.writer(name), Writing(entity, name, maker.schema)
        self._known, self._telling, self._held = known, telling, held

    def carry_out(
        self,
        work: Sequence[Arrived],
        positions: dict[TopicPartition, int],
        fence: Fence,
        stopped: dict[int, str],
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Decides commands, commits the outcome, then answers.

        Arguments: stopped: why partitions stop behind these commands; those that stop before are added; meanwhile: see
        `Writer.transact`.
        Raises: Aborted, Fenced, Unavailable: nothing is answered.
        """
        held = self._held
        if held is None:
            steps, outgoing = self.commit(
                work, positions, fence, lambda: (self.decide(work, positions, stopped), ()), meanwhile
            )
        else:
            parking = held.parking()
            steps, outgoing = self.commit(
                work,
                positions,
                fence,
                lambda: (self.decide(work, positions, stopped, parking), held.records(parking)),
                meanwhile,
            )
            held.committed(parking)
        for partition, why in stopped.items():
            self._known.stop(partition, why)
        self._telling.answers(steps, outgoing.spans.values())
        self._answer(work, steps, stopped)
        self._verify(outgoing)

    def commit(
        self,
        work: Sequence[Arrived],
        positions: Positions,
        fence: Fence,
        decide: Callable[[], tuple[list[Step], Sequence[NewRecord]]],
        meanwhile: Callable[[], None] | None = None,
    ) -> tuple[list[Step], Outgoing]:
        """Decides, and writes what came of it. Arguments: decide: gives the steps, and more records to write.

        Raises: Aborted, Fenced, Unavailable: also of what is known then only as much is kept as is sure.
        """
        partitions = [tp.partition for tp in positions]
        try:
            self._known.begin(partitions)
            steps, more = decide()
            outgoing = self._write(steps, positions, fence, more, meanwhile)
            self._known.keep(outgoing, positions)
        except BaseException as error:
            self._telling.gives_up(error)
            if signal_of(error) is Signal.NOT_WRITTEN:
                self._known.undo(work, partitions)
            else:
                self._known.lose(partitions)
            raise
        return steps, outgoing

    def decide(
        self,
        work: Sequence[Arrived],
        positions: dict[TopicPartition, int],
        stopped: dict[int, str],
        parking: Parking | None = None,
    ) -> list[Step]:
        """The steps of the commands; what must not be skipped stops its partition before it, and the others go on.

        Arguments: positions, stopped: are changed where a partition stops; parking: takes what is set aside.
        """
        halted: set[int] = set()
        now = Moment.of(self._environment.now())
        carry_out, entry_of = self._telling.carry_out, self._known.entry
        holding = self._held is not None and self._held.shelves.holding(positions)
        stored = self._known.look_up(work)
        self._maker.read(work)
        steps: list[Step] = []
        for arrived in work:
            if arrived.partition in halted:
                continue
            if holding and parking is not None and parking.parks(self._record(arrived)):
                continue
            try:
                steps.append(carry_out(entry_of(arrived.partition, arrived.key, stored), arrived, now))
            except (BadData, Failed) as error:
                if parking is not None:
                    parking.fail(self._record(arrived), trouble_of(error))
                    holding = True
                    continue
                halted.add(arrived.partition)
                stopped[arrived.partition] = str(error)
                self._telling.stops("decide")
                if arrived.offset >= 0:
                    positions[TopicPartition(self._commands, arrived.partition)] = arrived.offset
        if parking is not None:
            positions.update({tp: pause.offset for tp, pause in parking.pauses.items()})
        return steps

    def _record(self, arrived: Arrived) -> StoredRecord:
        at = self._commands, arrived.partition, arrived.offset
        return StoredRecord(*at, arrived.key, arrived.value, arrived.headers, arrived.timestamp_ms)

    def _write(
        self,
        steps: Sequence[Step],
        positions: Positions,
        fence: Fence,
        more: Sequence[NewRecord],
        meanwhile: Callable[[], None] | None,
    ) -> Outgoing:
        outgoing = Outgoing()

        def fill(tx: Transaction) -> None:
            nonlocal outgoing
            outgoing = self._writing.fill(tx, steps, positions, fence, self._known.memories)
            if more:
                tx.write(more)

        outgoing.firsts = self.writer.transact(fill, meanwhile)
        return outgoing

    def _answer(self, work: Sequence[Arrived], steps: Sequence[Step], stopped: dict[int, str]) -> None:
        for step in steps:
            if step.arrived.answer is not None:
                step.arrived.answer(step.reply)
        if stopped:
            done = {id(step.arrived) for step in steps}
            for one in work:
                if one.partition in stopped and id(one) not in done:
                    answer_all([one], NotMine(self._entity, one.partition, stopped[one.partition]))

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
