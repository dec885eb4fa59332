"""A reader whose effects are records: what it makes of a batch and the position behind it are one transaction.

It has no store. What cannot go on is set aside in its held topic, in the same transactions, or stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from headwater.environment import Environment
from headwater.failures.held import HeldRecord, Shelves
from headwater.failures.parking import Parking
from headwater.failures.policy import stop
from headwater.log.port import Batch, Fence, Log, NewRecord, Positions, Record, TopicPartition, Transaction
from headwater.messages.envelope import EPOCH
from headwater.readers.errands import Errand, work_off
from headwater.readers.foreign import group_now, notices
from headwater.readers.held_topic import HeldTopic


class Maker(Protocol):
    """Makes records of records."""

    def made(self, records: Sequence[Record], parking: Parking, late: bool) -> list[NewRecord]:
        """What records become, in order; those that `parking` takes, or is told of, become nothing.

        Arguments: late: they were set aside, and others went on. Raises: Unavailable.
        """
        ...

    def goes_on(self, partition: TopicPartition, position: int) -> str:
        """What follows where another program has set a position."""
        ...


class Following(Protocol):
    """What keeps something of the partitions that are owned."""

    def taken(self, start: Positions) -> None:
        """They are given to this process, which goes on from there. Raises: Unavailable."""
        ...

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """They are taken away."""
        ...


class Relaying:
    """A `BatchHandler`.

    Arguments: log; group: its own; maker; name: of its writer; held: where what cannot go on is set aside (None: it
    stops there); environment; marks: records that say how far was read, which each transaction ends with; following:
    what is told which partitions are owned, and from where on they are read.
    """

    def __init__(
        self,
        log: Log,
        group: str,
        maker: Maker,
        *,
        name: str,
        held: HeldTopic | None,
        environment: Environment,
        marks: Callable[[Positions], Sequence[NewRecord]] = lambda positions: (),
        following: Following | None = None,
    ) -> None:
        self._following = following
        self._log, self.group, self._maker, self._marks = log, group, maker, marks
        self._writer = log.writer(name)
        self.notices: list[str] = []
        self._held, self._environment = held, environment
        self._next: dict[TopicPartition, int] = {}

    @property
    def failures(self) -> Mapping[int, str]:
        """Partitions that are paused, and why. What is not set aside stops all of it."""
        return {} if self._held is None else {tp.partition: str(p.cause) for tp, p in self._held.pauses.items()}

    @property
    def dead_letters(self) -> list[HeldRecord]:
        """What failed in the partitions that are owned here, and was not worked off yet."""
        return [] if self._held is None else self._held.letters

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        self._log.settle(self.group, partitions)
        said = notices(group_now(self._log, self.group), partitions, self._maker.goes_on)
        self.notices = list(dict.fromkeys([*self.notices, *said]))
        committed = self._log.committed(self.group, partitions)
        missing = [tp for tp in partitions if tp not in committed]
        start = {**committed, **(self._log.begins(missing) if missing else {})}
        if self._following is not None:
            self._following.taken(start)
        if self._held is not None:
            self._held.assigned(partitions)
            self._next.update(start)
        return start

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Between batches only what is set aside is kept, and what follows from what was read."""
        if self._following is not None:
            self._following.lost(partitions)
        if self._held is not None:
            self._held.revoked(partitions)
            for tp in partitions:
                self._next.pop(tp, None)

    def idle(self, fence: Fence) -> None:
        """A pause is for what operators ask for. Raises: Unavailable."""
        self._work_off(fence)

    def resumed(self) -> Positions:
        """Paused partitions in which there is room again."""
        found = [] if self._held is None else self._held.resume()
        return {tp: self._next[tp] for tp in found}

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Writes what a batch becomes. Raises: BadData, Failed: at the first record that cannot go on and is not set
        aside; what those before it become is written first. Aborted, Fenced, Unavailable: nothing was written."""
        paused = {} if self._held is None else self._held.pauses
        parking = self._parking()
        positions = {tp: at for tp, at in batch.reached.items() if tp not in paused}
        records = [one for one in batch.records if TopicPartition(one.topic, one.partition) in positions]
        made = self._maker.made(records, parking, False)
        positions.update({tp: pause.offset for tp, pause in parking.pauses.items()})
        if positions:
            more = [] if self._held is None else self._held.records(parking)
            self._write([*made, *more], positions, fence)
        if self._held is not None:
            self._held.committed(parking)
            batch.reached = positions
            self._next.update(positions)
            self._work_off(fence)
        elif parking.pauses:
            raise min(parking.pauses.items())[1].cause

    def close(self) -> None:
        self._writer.close()

    def _parking(self) -> Parking:
        if self._held is not None:
            return self._held.parking()
        return Parking(stop(), Shelves(), EPOCH)

    def _write(self, records: Sequence[NewRecord], positions: Positions, fence: Fence) -> None:
        written = [*records, *self._marks(positions)]

        def fill(tx: Transaction) -> None:
            if written:
                tx.write(written)
            tx.positions(self.group, positions, fence)

        self._writer.transact(fill)

    def _work_off(self, fence: Fence) -> None:
        held = self._held
        if held is None:
            return

        def carry_out(errand: Errand, parking: Parking) -> None:
            made = self._maker.made([row.record() for row in errand.tried], parking, True)
            more = errand.records(held, parking, self._environment.now())
            tp = TopicPartition(errand.asked.topic, errand.asked.partition)
            self._write([*made, *more], {tp: self._next[tp]}, fence)

        work_off(held, self._next.__contains__, carry_out)
