"""What an owner does, reduced to numbers: each transaction writes the numbers of the positions that it moves past.

Whatever goes wrong, the numbers that can be read must be 0, 1, 2 and so on up to the group's position: one that is
missing was lost, one that is there twice was done twice.
"""

from __future__ import annotations

from collections.abc import Callable

from headwater.errors import Unavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.transactions import KafkaWriter
from headwater.log.port import Aborted, Fenced, TopicPartition, Transaction
from headwater.testing import eventually
from headwater.testing.conformance.log.waiting import (
    Attendance,
    attempts,
    fresh,
    make_topic,
    numbered,
    numbers,
    read_topic,
)

PATIENCE_S = 30.0


def visible_numbers(log: KafkaLog, topic: str) -> list[int]:
    """All numbers in a topic's only partition, when no transaction over it is open or being ended."""
    partition = [TopicPartition(topic, 0)]
    eventually(lambda: log.ends(partition) == log.ends(partition, committed=False), PATIENCE_S)
    return numbers(read_topic(log, topic, PATIENCE_S))


class Work:
    """A member of a group that owns the only partition of `source`, and writes to `target`.

    Arguments: log; writer: None: a new one of the log; preparing: makes the topics, where the log has no patience;
    records: of `source`.
    """

    def __init__(
        self, log: KafkaLog, writer: KafkaWriter | None = None, preparing: KafkaLog | None = None, records: int = 40
    ) -> None:
        self.log = log
        preparing = preparing or log
        self.source, self.target = make_topic(preparing, records=records), make_topic(preparing)
        self.group = fresh("group")
        self.partition = TopicPartition(self.source, 0)
        self.writer = writer or log.writer(fresh("writer"))
        self.attendance = Attendance(log, self.group, PATIENCE_S)
        self.member = self.attendance.join(log, [self.source])
        self.attendance.owns(self.member, 1)

    @property
    def position(self) -> int:
        return self.log.committed(self.group, [self.partition]).get(self.partition, 0)

    @property
    def visible(self) -> list[int]:
        return visible_numbers(self.log, self.target)

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
        for _ in attempts(PATIENCE_S, f"the position is {end}", pause_s=0):
            try:
                position = self.position
                if position >= end:
                    return
                before(position)
                self.writer.transact(self.fill(position, 1))
            except (Aborted, Fenced, Unavailable) as error:
                print(f"not yet at {end}: {error}")
                self.attendance.turn(self.member)  # the group may have news
