"""What an entity's events say of commands that are older than what its owner remembers.

Asked for repetitions, which come in crowds: a process or an import that begins anew repeats all that it ever sent, in
its order, in which entities take turns. So what was found of an entity is kept until it has new events, as much as
`MOST_IDS` allows; of the others, what the commands of the batch at hand need is found together. However many
entities take turns, and however long their histories are: in a batch, each history is read once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from headwater.environment import Environment
from headwater.log.port import Log, Record, TopicPartition
from headwater.log.topology import events_topic
from headwater.owners.arriving import Arrived
from headwater.owners.deciding import Done
from headwater.readers.spans import wait_visible

MOST_IDS = 200_000
"""How many command ids are kept while repetitions come: some 50 MB."""

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
        self._ids = 0

    def begin(self, work: Sequence[Arrived]) -> None:
        """See `DoneBefore`."""
        if self._asked is None:  # none of the batch before was a repetition: the crowd has passed
            self._kept, self._ids = {}, 0
        self._work, self._asked, self._of_batch = work, None, {}

    def __call__(self, arrived: Arrived, end: int) -> Done | None:
        """See `DoneBefore`. Raises: Unavailable."""
        place, id = (arrived.partition, arrived.key), arrived.id
        asked = self._asked_together(place)
        found = self._kept.get(place)
        if found is None or found.end != end:
            found = self._of_batch.get(place)
            if found is None or found.end != end or id not in asked:
                found = self._read(place, end, asked)
        return found.done.get(id)

    def _read(self, place: Place, end: int, asked: Collection[str]) -> Found:
        partition = TopicPartition(self._topic, place[0])
        wait_visible(self._log, partition, end, self._environment)
        found = Found(end, done_in(self._log.keyed(partition, place[1])))
        old = self._kept.pop(place, None)
        self._ids += len(found.done) - (0 if old is None else len(old.done))
        # What is full stays as it is: where entities take turns, the one that was asked for longest ago comes next.
        if self._ids <= MOST_IDS:
            self._kept[place] = found
        else:
            self._ids -= len(found.done)
            self._of_batch[place] = Found(end, {id: found.done[id] for id in asked if id in found.done})
        return found

    def _asked_together(self, place: Place) -> Collection[str]:
        """The ids of an entity's commands in the batch."""
        if self._asked is None:
            self._asked = {}
            for one in self._work:
                self._asked.setdefault((one.partition, one.key), set()).add(one.id)
        return self._asked.get(place, ())


def done_in(history: Iterable[Record]) -> dict[str, Done]:
    """By command id, what an entity's events say of it."""
    done: dict[str, Done] = {}
    for version, record in enumerate(history, 1):
        for name, value in record.headers:
            if name == "ce_commandid":
                before = done.get(id := value.decode())
                done[id] = Done(version, 1 if before is None else before.events + 1)
    return done
