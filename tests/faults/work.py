"""What an owner does, reduced to numbers: each transaction writes the numbers of the positions that it moves past.

Whatever goes wrong, the numbers that can be read must be 0, 1, 2 and so on up to the group's position: one that is
missing was lost, one that is there twice was done twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from headwater.errors import Unavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.transactions import KafkaWriter
from headwater.log.port import Aborted, Fenced, TopicPartition, Transaction
from headwater.testing import eventually
from headwater.testing.conformance.log.attendance import Attendance
from headwater.testing.conformance.log.waiting import (
    attempts,
    fresh,
    make_topic,
    numbered,
    numbers,
    read_topic,
)

T = TypeVar("T")

PATIENCE_S = 60.0


def comes_about(make: Callable[[], T | None]) -> T:
    """The first setting that `make` brings about. A log with little patience may give up before the fault is reached,
    where the machine stood still for a moment: that says nothing, and all begins anew."""
    for _ in attempts(PATIENCE_S, "the fault is reached", pause_s=0):
        if (made := make()) is not None:
            return made
    raise AssertionError  # `attempts` has said so


def visible_numbers(log: KafkaLog, topic: str) -> list[int]:
    """All numbers in a topic's only partition, when no transaction over it is open or being ended."""
    partition = [TopicPartition(topic, 0)]
    eventually(lambda: log.ends(partition) == log.ends(partition, committed=False), PATIENCE_S)
    return numbers(read_topic(log, topic, PATIENCE_S))


class Work:
    """A member of a group that owns the only partition of `source`, and writes to `target`.

    Arguments: log; writer: None: a new one of the log; preparing: makes the topics and looks at them and at positions,
    where the log has no patience; records: of `source`.
    """

    def __init__(
        self, log: KafkaLog, writer: KafkaWriter | None = None, preparing: KafkaLog | None = None, records: int = 40
    ) -> None:
        self.log = log
        self.patient = preparing = preparing or log
        self.source, self.target = make_topic(preparing, records=records), make_topic(preparing)
        self.group = fresh("group")
        self.partition = TopicPartition(self.source, 0)
        self.writer = writer or log.writer(fresh("writer"))
        self.attendance = Attendance(preparing, self.group, PATIENCE_S)
        self.member = self.attendance.join(log, [self.source])
        self.attendance.owns(self.member, 1)

    @property
    def position(self) -> int:
        return self.patient.committed(self.group, [self.partition]).get(self.partition, 0)

    @property
    def visible(self) -> list[int]:
        return visible_numbers(self.patient, self.target)

    def fill(self, first: int, count: int) -> Callable[[Transaction], None]:
        """A transaction over so many numbers."""
        fence = self.member.fence()

        def fill(transaction: Transaction) -> None:
            transaction.append(numbered(self.target, 0, range(first, first + count)))
            transaction.positions(self.group, {self.partition: first + count}, fence)

        return fill

    def until(self, end: int, before: Callable[[int], None] = lambda position: None) -> None:
        """Works until the position is `end`. What fails is done again, from the committed position. Arguments:
        before: called with the position before each transaction."""
        failed = False
        for _ in attempts(PATIENCE_S, f"the position is {end}", pause_s=0):
            try:
                if failed:
                    self.attendance.turn(self.member)  # the group may have news
                failed = False
                position = self.position
                if position >= end:
                    return
                before(position)
                self.writer.transact(self.fill(position, 1))
            except (Aborted, Fenced, Unavailable) as error:
                print(f"not yet at {end}: {error}")
                failed = True
