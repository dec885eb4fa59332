"""A log that breaks its contract while an app runs on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headwater.log.memory import MemoryLog
from headwater.log.port import Fence, NewRecord, Positions, TopicPartition, Transaction, Writer


class BreakingLog:
    """A `Log` in memory whose transactions do what `breaks` makes of them, from when `broken` is set.

    Arguments: breaks: makes the transaction that an owner gets of the true one; lost: whether a transaction is answered
    with success and never written.
    """

    def __init__(self, breaks: Callable[[Transaction], Transaction] = lambda tx: tx, *, lost: bool = False) -> None:
        self.kind = MemoryLog()
        self.breaks, self.lost, self.broken = breaks, lost, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kind, name)

    def writer(self, name: str) -> Writer:
        return BreakingWriter(self, self.kind.writer(name))


class BreakingWriter:
    def __init__(self, log: BreakingLog, writer: Writer) -> None:
        self._log, self._writer = log, writer

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        if not self._log.broken:
            return self._writer.transact(fill, meanwhile)
        if self._log.lost:
            self._lose(fill)
            return {}
        return self._writer.transact(lambda tx: fill(self._log.breaks(tx)), meanwhile)

    def _lose(self, fill: Callable[[Transaction], None]) -> None:
        class Lost(Exception):
            pass

        def filled(tx: Transaction) -> None:
            fill(tx)
            raise Lost

        try:
            self._writer.transact(filled)
        except Lost:
            return

    def close(self) -> None:
        self._writer.close()


class Without:
    """A transaction that leaves out the records of some topics."""

    def __init__(self, tx: Transaction, topic: str) -> None:
        self._tx, self._topic = tx, topic

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return self._tx.append(records)

    def write(self, records: Sequence[NewRecord]) -> None:
        self._tx.write([record for record in records if record.topic != self._topic])

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        self._tx.positions(group, positions, fence)


class Standing(Without):
    """A transaction that moves no positions."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx, "")

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        """Forgets them."""


class Twice(Without):
    """A transaction that appends its last event once more."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx, "")

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return self._tx.append([*records, records[-1]])[:-1]


class Half(Without):
    """A transaction that forgets its last event, and says that it stands behind the others."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx, "")

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        offsets = self._tx.append(records[:-1])
        return [*offsets, offsets[-1] + 1]
