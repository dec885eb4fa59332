"""What an owner tells of its work: counts, whose thread is at it, and, where commands are followed, a span for each.

A span begins before its command is decided and ends after the commit; the events carry it in their `traceparent`
header, and so do the commands that a process sends. Where nothing is followed here, what came with the command goes
on in that header.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from threading import get_ident

from headwater.environment import Environment, Span
from headwater.log.topology import commands_topic, owners_group
from headwater.owners.arriving import Arrived
from headwater.owners.envelopes import Moment
from headwater.owners.partition import Span as EventSpan
from headwater.owners.state_record import Entry
from headwater.owners.steps import Step, StepMaker
from headwater.readers.loop import FAILURES

CarryOut = Callable[[Entry, Arrived, Moment], Step]

TYPE_FIELDS = (b'{"commandType":"', b'{"eventType":"')


class Telling:
    """All but reading belongs to who holds the owner's lock.

    `carry_out` is the maker's, followed where that is wanted; `outcomes` counts answered commands, `appended` the
    events that were written; `taking` has the thread that carries out commands of callers in this process, and since
    when (on the clock of `monotonic_s`).
    """

    def __init__(self, maker: StepMaker, environment: Environment) -> None:
        self.entity, self._environment = maker.entity, environment
        self._maker, self._tracing = maker, environment.tracing
        self.carry_out: CarryOut = maker.carry_out if self._tracing is None else self._followed
        self.outcomes: dict[str, int] = {}
        self.appended = 0
        self.taking: tuple[int, float] | None = None
        self._under_way: list[tuple[Arrived, bytes | None, Span]] = []

    def takes(self) -> None:
        """This thread begins to carry out commands of callers."""
        self.taking = get_ident(), self._environment.monotonic_s()

    def took(self) -> None:
        """And is done with it."""
        self.taking = None

    def answers(self, steps: Sequence[Step], spans: Collection[EventSpan]) -> None:
        """What was decided is committed. Arguments: spans: of the events."""
        outcomes = self.outcomes
        for step in steps:
            outcome = step.reply.outcome
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        for span in spans:
            self.appended += span.count
        if self._under_way:
            self._end({id(step.arrived): step.reply.outcome for step in steps}, "stopped")

    def stops(self, stage: str) -> None:
        """A partition is left at a record. Arguments: stage: "decode" or "decide"."""
        labels = {"group": owners_group(self.entity), "stage": stage}
        self._environment.telemetry.count(FAILURES, labels)

    def gives_up(self, error: BaseException) -> None:
        """Nothing of it may have been written; it is done again, or elsewhere."""
        if self._under_way:
            self._end({}, type(error).__name__)

    def _end(self, outcomes: dict[int, str], otherwise: str) -> None:
        for arrived, cause, span in self._under_way:
            arrived.traceparent = cause  # of the next attempt, too
            outcome = outcomes.get(id(arrived))
            span.end(outcome or otherwise, failed=outcome in (None, "failed"))
        self._under_way = []

    def _followed(self, entry: Entry, arrived: Arrived, now: Moment) -> Step:
        tracing = self._tracing
        assert tracing is not None, "only then is it followed"
        cause = arrived.traceparent
        attributes: dict[str, str | int] = {
            "messaging.operation.type": "process",
            "messaging.destination.name": commands_topic(self.entity),
            "messaging.destination.partition.id": str(arrived.partition),
            "messaging.message.id": arrived.id,
        }
        if arrived.offset >= 0:
            attributes["messaging.kafka.offset"] = arrived.offset
        name = f"decide {type_of(arrived.value) or self.entity}"
        span = tracing.begin(name, "consumer", [] if cause is None else [cause], attributes)
        self._under_way.append((arrived, cause, span))
        arrived.traceparent = span.traceparent
        return self._maker.carry_out(entry, arrived, now)


def type_of(value: bytes) -> str | None:
    """The wire name of a command or an event, if its value begins with it, as ours do."""
    for begin in TYPE_FIELDS:
        if value.startswith(begin):
            return value[len(begin) : value.index(b'"', len(begin))].decode(errors="replace")
    return None
