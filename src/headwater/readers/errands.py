"""What operators ask for of dead letters that a reader without a store has set aside, carried out by their owner.

Each is a transaction of its own: a dead letter is tried again, or left, and what waits behind it follows; what fails
again stays set aside. The line in the audit and the end of the asking are part of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from headwater.errors import Unavailable
from headwater.failures.held import Asked, HeldRecord
from headwater.failures.outcome import outcome_of
from headwater.failures.parking import Parking
from headwater.log.port import Aborted, Fenced, NewRecord, TopicPartition, Torn
from headwater.readers.held_topic import HeldTopic

logger = logging.getLogger("headwater.failures")


@dataclass(frozen=True, slots=True)
class Errand:
    """What was asked for, with the records that it is about.

    Arguments: letter: the dead letter, as it was (None: there is none); rows: it and what waits behind it; tried: those
    of them that are tried again, in order.
    """

    asked: Asked
    letter: HeldRecord | None
    rows: Sequence[HeldRecord]
    tried: Sequence[HeldRecord]

    @classmethod
    def of(cls, held: HeldTopic, asked: Asked) -> Errand:
        letter = held.row(asked)
        if letter is None or not letter.failed:
            return cls(asked, None, (), ())
        behind = held.behind(letter)
        first = msgspec.structs.replace(letter, value=asked.value) if asked.edited else letter
        rows = [first, *behind]
        return cls(asked, letter, rows, rows if asked.action == "retry" else behind)

    def records(self, held: HeldTopic, parking: Parking, now: datetime) -> list[NewRecord]:
        """What its transaction writes, but for what came of the records."""
        line = outcome_of(self.asked, self.letter, self.rows, parking, now)
        return [*held.records(parking, self.rows), *held.settled(self.asked, line)]


def work_off(
    held: HeldTopic, ready: Callable[[TopicPartition], bool], carry_out: Callable[[Errand, Parking], None]
) -> None:
    """Carries out what is asked for. What cannot be written stays asked for.

    Arguments: ready: whether a partition can be written for; carry_out: one errand, in a transaction; is told what of
    it is set aside again.
    Raises: Unavailable: nothing was written, or perhaps all or a part: the partitions have to be read back.
    """
    for asked in held.asked():
        if not ready(TopicPartition(asked.topic, asked.partition)):
            continue
        errand = Errand.of(held, asked)
        parking = held.parking(errand.tried)
        try:
            carry_out(errand, parking)
        except Torn as error:
            raise Unavailable(f"{error}; the partition is read back") from error
        except (Aborted, Fenced) as error:  # the next round will do, or the next owner
            logger.debug("%s/%d: what is asked for is not done yet: %s", asked.topic, asked.partition, error)
            return
        held.committed(parking, errand.rows, asked)
