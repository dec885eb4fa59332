"""States folded anew before an owner joins its group, so that no partition waits while that takes.

Older processes go on deciding meanwhile. What they add until a partition moves is folded on top when it does, and the
states that an owner really starts from are checked against the records that it restores (`rebuilding`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from headwater.entities.schema import version_of
from headwater.environment import Environment
from headwater.errors import BadData, Failed
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import events_topic, owners_group, state_topic
from headwater.owners.state_record import decode_covered
from headwater.owners.steps import StepMaker
from headwater.readers.spans import batches_between

logger = logging.getLogger("headwater.owners")

LOOKED_AT = 200
"""So many positions at the end of a partition of states say by which code its owners are."""

KEPT_S = 1800.0
"""For how long states of partitions that others keep are held ready."""

TELL_S = 5.0


class Part(NamedTuple):
    """The states of a partition. Arguments: position: the events before it are in them; states: entity key -> version
    and JSON."""

    position: int
    states: dict[bytes, tuple[int, bytes]]


class Ahead:
    """Arguments: partitions: how many the entity type has. `folded`: how many events were folded, as a sign of life."""

    def __init__(self, log: Log, maker: StepMaker, partitions: int, environment: Environment) -> None:
        self._log, self._maker, self._partitions, self._environment = log, maker, partitions, environment
        self._parts: dict[int, Part] = {}
        self._until_s = 0.0
        self.folded = 0

    def prepare(self, stopped: Callable[[], bool]) -> None:
        """Folds all partitions anew, if the newest states are of other, not newer code.

        Arguments: stopped: whether to give up. Raises: Unavailable. BadData, Failed: this code cannot fold the events,
        and others are there to go on with theirs; where nobody is, the partition will be stopped.
        """
        self._parts = {}
        schemas = self._newest_schemas()
        mine = self._maker.schema
        if not schemas - {mine} or any(version_of(schema) > version_of(mine) for schema in schemas):
            return
        logger.info("%s: states of schema %s are folded anew as %s", self._maker.entity, ", ".join(schemas), mine)
        try:
            for partition in range(self._partitions):
                self._fold(TopicPartition(events_topic(self._maker.entity), partition), stopped)
        except (BadData, Failed) as error:
            self._parts = {}
            if any(group.members for group in self._log.groups([owners_group(self._maker.entity)])):
                raise
            logger.warning("%s: states cannot be folded anew by this code: %s", self._maker.entity, error)
        self._until_s = self._environment.monotonic_s() + KEPT_S

    def take(self, partition: int) -> Part | None:
        """What was folded of a partition; once."""
        if self._environment.monotonic_s() > self._until_s:
            self._parts = {}
        return self._parts.pop(partition, None)

    def _newest_schemas(self) -> set[str]:
        states = [TopicPartition(state_topic(self._maker.entity), number) for number in range(self._partitions)]
        begins, ends = self._log.begins(states), self._log.ends(states)
        start = {tp: max(begins[tp], ends[tp] - LOOKED_AT) for tp in states}
        found: set[str] = set()
        what = "looking at the newest states"
        for batch in batches_between(self._log, start, ends, what, self._environment, envelopes=False):
            for record in batch.records:
                try:
                    found.add(decode_covered(record.value or b"").schema)
                except msgspec.DecodeError:  # whoever restores the partition says so
                    continue
        return found

    def _fold(self, events: TopicPartition, stopped: Callable[[], bool]) -> None:
        begins, ends = self._log.begins([events]), self._log.ends([events])
        fold = self._maker.refold()
        begun_s = told_s = self._environment.monotonic_s()
        what = f"folding the events of {events} anew"
        for batch in batches_between(self._log, begins, ends, what, self._environment, envelopes=fold.wants_meta):
            if stopped():
                return
            fold.add([one for one in batch.records if one.key is not None])
            self.folded += len(batch.records)
            now_s, done = self._environment.monotonic_s(), batch.reached.get(events, 0) - begins[events]
            if now_s - told_s > TELL_S and done > 0:
                left_s = (now_s - begun_s) * (ends[events] - begins[events] - done) / done
                told_s = now_s
                logger.info("%s: %d of %d, %.0f s left", what, done, ends[events] - begins[events], left_s)
        self._parts[events.partition] = Part(ends[events], fold.all_encoded())
