"""What an entity's events say of commands that are older than what its owner remembers.

Asked for repetitions, which come in crowds (a process or an import that begins anew), so the answers for one entity are
kept until it has new events.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.log.port import Log, Record, TopicPartition
from headwater.log.topology import events_topic
from headwater.owners.arriving import Arrived
from headwater.owners.deciding import Done

VISIBLE_S = 10.0


class LookingBack:
    """Arguments: log; entity: the entity type; environment: the clock. For one owner, whose lock protects it."""

    def __init__(self, log: Log, entity: str, environment: Environment) -> None:
        self._log, self._topic, self._environment = log, events_topic(entity), environment
        self._place: tuple[int, bytes, int] | None = None
        self._done: dict[str, Done] = {}

    def __call__(self, arrived: Arrived, end: int) -> Done | None:
        """What the events say of the command. Arguments: end: the position after the entity's last event, which
        was committed, but need not be visible yet. Raises: Unavailable."""
        place = arrived.partition, arrived.key, end
        if place != self._place:
            partition = TopicPartition(self._topic, arrived.partition)
            self._wait_visible(partition, end)
            self._done = done_in(self._log.keyed(partition, arrived.key))
            self._place = place
        return self._done.get(arrived.id)

    def _wait_visible(self, partition: TopicPartition, end: int) -> None:
        deadline = self._environment.monotonic_s() + VISIBLE_S
        pause = threading.Event()
        while self._log.ends([partition])[partition] < end:
            if self._environment.monotonic_s() > deadline:
                raise Unavailable(f"{partition} does not show offset {end - 1}, which was committed, within 10 s")
            pause.wait(0.002)


def done_in(history: Iterable[Record]) -> dict[str, Done]:
    """By command id, what an entity's events say of it."""
    done: dict[str, Done] = {}
    for version, record in enumerate(history, 1):
        for name, value in record.headers:
            if name == "ce_commandid":
                before = done.get(id := value.decode())
                done[id] = Done(version, 1 if before is None else before.events + 1)
    return done
