"""What an entity's events say of commands that are older than what its owner remembers.

Asked for repetitions, which come in crowds (a process or an import that begins anew), so the answers for one entity are
kept until it has new events.
"""

from __future__ import annotations

from collections.abc import Iterable

from headwater.environment import Environment
from headwater.log.port import Log, Record, TopicPartition
from headwater.log.topology import events_topic
from headwater.owners.arriving import Arrived
from headwater.owners.deciding import Done
from headwater.readers.spans import wait_visible


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
            wait_visible(self._log, partition, end, self._environment)
            self._done = done_in(self._log.keyed(partition, arrived.key))
            self._place = place
        return self._done.get(arrived.id)


def done_in(history: Iterable[Record]) -> dict[str, Done]:
    """By command id, what an entity's events say of it."""
    done: dict[str, Done] = {}
    for version, record in enumerate(history, 1):
        for name, value in record.headers:
            if name == "ce_commandid":
                before = done.get(id := value.decode())
                done[id] = Done(version, 1 if before is None else before.events + 1)
    return done
