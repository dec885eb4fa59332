"""What operators ask for of the dead letters of a process: commands are carried out that were set aside."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.environment import Environment
from headwater.failures.parking import Parking
from headwater.log.port import Fence, NewRecord, TopicPartition
from headwater.owners.arriving import from_record
from headwater.owners.known import Knowledge
from headwater.owners.life import State
from headwater.owners.steps import Step
from headwater.owners.telling import Telling
from headwater.owners.transacting import Transacting
from headwater.readers.errands import Errand, work_off
from headwater.readers.held_topic import HeldTopic


class Errands:
    """The owner's lock is held in all of it. Arguments: held; transacting; known; telling; environment."""

    def __init__(
        self, held: HeldTopic, transacting: Transacting, known: Knowledge, telling: Telling, environment: Environment
    ) -> None:
        self._held, self._transacting, self._known = held, transacting, known
        self._telling, self._environment = telling, environment

    def work_off(self, fence: Fence) -> None:
        """As `readers.errands.work_off`."""
        work_off(self._held, self._is_active, lambda errand, parking: self._carry_out(errand, parking, fence))

    def _is_active(self, tp: TopicPartition) -> bool:
        return self._known.lives.of(tp.partition) is State.ACTIVE

    def _carry_out(self, errand: Errand, parking: Parking, fence: Fence) -> None:
        tp = TopicPartition(errand.asked.topic, errand.asked.partition)
        positions = {tp: self._known.memories[tp.partition].next_command}
        work = [from_record(row.record()) for row in errand.tried]

        def decide() -> tuple[list[Step], Sequence[NewRecord]]:
            steps = self._transacting.decide(work, dict(positions), {}, parking)
            return steps, errand.records(self._held, parking, self._environment.now())

        steps, outgoing = self._transacting.commit(work, positions, fence, decide)
        self._telling.answers(steps, outgoing.spans.values())
