"""An app at work on a real log, for one scenario: `App.run` with its threads, groups and transactions, and a
second client whose commands travel through the topics.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from headwater.app import App
from headwater.environment import Environment
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology
from headwater.readers.loop import ReadingLoop
from headwater.services import Part
from headwater.testing.stage import Stopped, dead_letter_in
from headwater.testing.waiting import eventually

PATIENCE_S = 60.0


class OnALog:
    """See `stage.Performance`. A context manager.

    Arguments: log: a fresh one, which stays open; store: address of a fresh store.
    """

    def __init__(self, app: App, part: Part, log: Log, store: str, environment: Environment) -> None:
        self.log, self._reads = log, part == "projections"
        self._running = app.run(log, only=[part], store=store, environment=environment)
        self._open = ExitStack()
        self.shop = self._open.enter_context(self._running)
        try:
            self.sender = self._open.enter_context(app.connect(log, store="memory://", environment=environment))
            self.topology = Topology.read(log)
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> OnALog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def catch_up(self) -> None:
        """See `stage.Performance`."""
        services = self._running.services
        assert services is not None, "the app runs until the scenario is closed"
        topics = sorted({topic for loop in services.loops for topic in loop.topics})
        eventually(
            lambda: self._stopped() or self._done(services.loops, topics),
            PATIENCE_S,
            saying=f"the app did all there is to do ({services.statuses})",
        )
        if why := self._stopped():
            raise Stopped(why)

    def _done(self, loops: Sequence[ReadingLoop], topics: Sequence[str]) -> bool:
        """Whether all loops are at all ends. Some write what others read, so the ends must not have moved since."""
        ends = self._ends(topics)
        for loop in loops:
            reached = loop.status.reached
            if any(reached.get(tp, 0) < end for tp, end in ends.items() if tp.topic in loop.topics):
                return False
        return self._ends(topics) == ends

    def _ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        there = self.log.topics(topics)
        return self.log.ends(
            [TopicPartition(t, p) for t in topics for p in range(there[t].partitions)], committed=False
        )

    def _stopped(self) -> str | None:
        services = self._running.services
        assert services is not None, "the app runs until the scenario is closed"
        for status in services.statuses:
            if not status.alive:
                return status.last_failure or f"{status.name} is {status.state}"
        owners = (why for owner in services.owners.values() for why in owner.failures.values())
        return next(owners, None) or dead_letter_in(services, self._running.models if self._reads else None)
