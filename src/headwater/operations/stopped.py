"""Partitions in which nothing is decided: seen from any process, by the command that waits first in line there.

An owner that meets a record which it must not skip leaves the partition where it is and serves the others. Why is
known in its process; from outside it is a position that stays, and what lies at it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headwater.client.stopped import first_in_line
from headwater.environment import SYSTEM, Environment
from headwater.errors import BadData
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import commands_topic, owners_group
from headwater.messages.envelope import record_time
from headwater.operations.groups import GroupLag
from headwater.owners.arriving import from_record

LONG_S = 5.0
"""An owner that works carries a command out sooner."""


class FirstInLine(NamedTuple):
    """A command that should have been carried out by now.

    Arguments: offset: of the command; waits_s: since it was written; why: why no owner can carry it out, if the
    record itself says so.
    """

    group: str
    topic: str
    partition: int
    offset: int
    waits_s: float
    why: str | None

    @property
    def text(self) -> str:
        where = f"{self.topic}, partition {self.partition}"
        if self.why is not None:
            return f"{where} is stopped: {self.why}"
        return f"{where} does not go on: its owner has not carried out offset {self.offset} for {self.waits_s:,.0f} s"


def waiting(log: Log, lags: Iterable[GroupLag], environment: Environment = SYSTEM) -> list[FirstInLine]:
    """What waits for too long in the partitions that somebody owns. Raises: Unavailable."""
    found = []
    for lag in lags:
        entity = lag.topic.removesuffix(commands_topic(""))
        owners = (lag.group, lag.topic) == (owners_group(entity), commands_topic(entity))
        if owners and lag.lag and lag.member is not None:
            found.append(_look_at(log, entity, TopicPartition(lag.topic, lag.partition), lag.current, environment))
    return [one for one in found if one is not None]


def in_front_of(log: Log, entity: str, entity_id: str, environment: Environment = SYSTEM) -> FirstInLine | None:
    """What keeps the commands of an entity waiting. Raises: Unavailable."""
    topic = log.topics([commands_topic(entity)]).get(commands_topic(entity))
    if topic is None:
        return None
    tp = TopicPartition(topic.name, partition_of(entity_id.encode(), topic.partitions))
    return _look_at(log, entity, tp, log.committed(owners_group(entity), [tp]).get(tp), environment)


def _look_at(
    log: Log, entity: str, tp: TopicPartition, committed: int | None, environment: Environment
) -> FirstInLine | None:
    record = first_in_line(log, tp, committed)
    if record is None:
        return None
    waits_s = (environment.now() - record_time(record.timestamp_ms)).total_seconds()
    try:
        from_record(record)
    except BadData as error:
        return FirstInLine(owners_group(entity), *tp, record.offset, waits_s, str(error))
    return FirstInLine(owners_group(entity), *tp, record.offset, waits_s, None) if waits_s >= LONG_S else None
