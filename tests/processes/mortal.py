"""A log whose process dies at a step of a transaction of one writer.

    before       the transaction is not begun
    begun        it is begun, and nothing is written
    appended     its first records are written: events, commands of a process, what is forwarded
    filled       all is written, the positions as well, and nothing is committed
    committed    it is committed, and nobody was told

Only transactions that write something count; "before" cannot know and counts all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from headwater.log.port import Fence, Log, NewRecord, Positions, Transaction, Writer

STEPS = ("before", "begun", "appended", "filled", "committed")

WRITERS = {
    "forwarder": "billing-forward-",
    "process owner": "billing-owners-",
    "payment owner": "payment-owners-",
    "order owner": "order-owners-",
}
"""What the names of the writers begin with."""


class Death:
    """Comes at a step, when so many transactions have come that far. Not before it was armed."""

    def __init__(self, step: str, count: int) -> None:
        self._step, self._left, self.armed = step, count, False

    def at(self, step: str) -> None:
        if self.armed and step == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class MortalLog:
    """A log that hands out a mortal writer under names that begin so; everything else is the log's own."""

    def __init__(self, log: Log, writer: str, death: Death) -> None:
        self._log, self._name, self._death = log, writer, death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def writer(self, name: str) -> Writer:
        writer = self._log.writer(name)
        return MortalWriter(writer, self._death) if name.startswith(self._name) else writer


class MortalWriter:
    def __init__(self, writer: Writer, death: Death) -> None:
        self._writer, self._death = writer, death
        self.close = writer.close

    def transact(self, fill: Callable[[Transaction], None]) -> None:
        watched: list[Watched] = []

        def watch(tx: Transaction) -> None:
            watched.append(Watched(tx, self._death))
            fill(watched[0])
            if watched[0].wrote:
                self._death.at("filled")

        self._death.at("before")
        self._writer.transact(watch)
        if watched[0].wrote:
            self._death.at("committed")


class Watched:
    """A transaction that tells when it is written to."""

    def __init__(self, tx: Transaction, death: Death) -> None:
        self._tx, self._death, self.wrote = tx, death, False

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        self._begin()
        offsets = self._tx.append(records)
        self._death.at("appended")
        return offsets

    def write(self, records: Sequence[NewRecord]) -> None:
        first = not self.wrote
        self._begin()
        self._tx.write(records)
        if first:
            self._death.at("appended")

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        self._tx.positions(group, positions, fence)

    def _begin(self) -> None:
        if not self.wrote:
            self.wrote = True
            self._death.at("begun")
