"""A log whose process dies at a step of a transaction of one writer, or of the restoring that goes before.

    before       the transaction is not begun
    begun        it is begun, and nothing is written
    appended     its first records are written: events, commands of a process, what is forwarded
    written      the next ones are written, too: states and replies (owners only)
    filled       all is written, the positions as well, and nothing is committed
    committed    it is committed, and nobody was told
    settling     a partition was assigned, and what its last owner left open is not ended yet (owners only)
    restoring    that is ended, and nothing is read yet (owners only)

Only transactions that write something count; "before" cannot know and counts all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.log.port import Fence, Log, NewRecord, Positions, TopicPartition, Transaction, Writer

STEPS = ("before", "begun", "appended", "filled", "committed")
"""Those of every writer."""
STEPS_OF_OWNERS = ("before", "begun", "appended", "written", "filled", "committed", "settling", "restoring")

WRITERS = {
    "forwarder": "billing-forward-",
    "process owner": "billing-owners-",
    "payment owner": "payment-owners-",
    "order owner": "order-owners-",
}
"""What the names of the writers begin with."""


class Death:
    """Comes at a step, when so many have come that far. Not before it was armed."""

    def __init__(self, step: str = "", count: int = 1) -> None:
        self.armed = False
        self.is_due(step, count)

    def is_due(self, step: str, count: int) -> None:
        """Another step, or the same once more."""
        self._step, self._left = step, count

    def at(self, step: str) -> None:
        if self.armed and step == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class MortalLog:
    """A log that hands out mortal writers; everything else is the log's own. Arguments: deaths: by what the names of
    writers begin with."""

    def __init__(self, log: Log, deaths: Mapping[str, Death]) -> None:
        self._log, self._deaths = log, deaths

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def writer(self, name: str) -> Writer:
        writer, death = self._log.writer(name), self._death(name)
        return writer if death is None else MortalWriter(writer, death)

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        death = self._death(f"{group}-")
        if death is not None:
            death.at("settling")
        self._log.settle(group, partitions)
        if death is not None:
            death.at("restoring")

    def _death(self, name: str) -> Death | None:
        return next((death for begin, death in self._deaths.items() if name.startswith(begin)), None)


class MortalWriter:
    def __init__(self, writer: Writer, death: Death) -> None:
        self._writer, self._death = writer, death
        self.close = writer.close

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        watched: list[Watched] = []

        def watch(tx: Transaction) -> None:
            watched.append(Watched(tx, self._death))
            fill(watched[0])
            if watched[0].wrote:
                self._death.at("filled")

        self._death.at("before")
        firsts = self._writer.transact(watch, meanwhile)
        if watched[0].wrote:
            self._death.at("committed")
        return firsts


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
        self._death.at("appended" if first else "written")

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        self._tx.positions(group, positions, fence)

    def _begin(self) -> None:
        if not self.wrote:
            self.wrote = True
            self._death.at("begun")
