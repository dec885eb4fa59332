"""What an entity's events say of commands that are older than what its owner remembers.

Asked for repetitions, which come in crowds: a process or an import that begins anew repeats all that it ever sent, in
its order, in which entities take turns. So what was found of an entity is kept until it has new events, as much as
`MOST_IDS` allows; of the others, what the commands of the batch at hand need is found together. However many
entities take turns, and however long their histories are: in a batch, each history is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headwater.environment import Environment
from headwater.log.port import Log, Record, TopicPartition
from headwater.log.topology import events_topic
from headwater.owners.arriving import Arrived
from headwater.owners.deciding import Done
from headwater.readers.spans import wait_visible

MOST_IDS = 100_000
"""How many command ids are kept: some 25 MB."""

Place = tuple[int, bytes]
"""An entity: its partition and key."""


class Found(NamedTuple):
    """What was found of an entity. Arguments: end: the position after its last event then; done: by command id."""

    end: int
    done: dict[str, Done]


class LookingBack:
    """Arguments: log; entity: the entity type; environment: the clock. For one owner, whose lock protects it."""

    def __init__(self, log: Log, entity: str, environment: Environment) -> None:
        self._log, self._topic, self._environment = log, events_topic(entity), environment
        self._work: Sequence[Arrived] = ()
        self._asked: dict[Place, set[str]] | None = None
        self._of_batch: dict[Place, Found] = {}
        self._kept: dict[Place, Found] = {}
        """The one that was asked for last is the last."""
        self._ids = 0

    def begin(self, work: Sequence[Arrived]) -> None:
        """See `DoneBefore`."""
        self._work, self._asked, self._of_batch = work, None, {}

    def __call__(self, arrived: Arrived, end: int) -> Done | None:
        """See `DoneBefore`. Raises: Unavailable."""
        place, id = (arrived.partition, arrived.key), arrived.id
        kept = self._kept.pop(place, None)
        if kept is not None and kept.end == end:
            self._kept[place] = kept
            return kept.done.get(id)
        if kept is not None:
            self._ids -= len(kept.done)
        found = self._of_batch.get(place)
        if found is None or found.end != end or id not in self._asked_together(place):
            found = self._read(place, end)
        return found.done.get(id)

    def _read(self, place: Place, end: int) -> Found:
        partition = TopicPartition(self._topic, place[0])
        wait_visible(self._log, partition, end, self._environment)
        found = Found(end, done_in(self._log.keyed(partition, place[1])))
        asked = {id: found.done[id] for id in self._asked_together(place) if id in found.done}
        self._of_batch[place] = Found(end, asked)
        self._kept[place] = found
        self._ids += len(found.done)
        while self._ids > MOST_IDS:
            self._ids -= len(self._kept.pop(next(iter(self._kept))).done)
        return found

    def _asked_together(self, place: Place) -> set[str]:
        """The ids of an entity's commands in the batch."""
        if self._asked is None:
            self._asked = {}
            for one in self._work:
                self._asked.setdefault((one.partition, one.key), set()).add(one.id)
        return self._asked.get(place, set())


def done_in(history: Iterable[Record]) -> dict[str, Done]:
    """By command id, what an entity's events say of it."""
    done: dict[str, Done] = {}
    for version, record in enumerate(history, 1):
        for name, value in record.headers:
            if name == "ce_commandid":
                before = done.get(id := value.decode())
                done[id] = Done(version, 1 if before is None else before.events + 1)
    return done
