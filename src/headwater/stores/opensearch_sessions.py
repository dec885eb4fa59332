"""Sessions: within one, the transactions of a runner are numbered, so that whether one is committed is a single number.

What they are for stands in `opensearch_transactions`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from headwater.errors import Unavailable
from headwater.stores.opensearch_bulk import Write
from headwater.stores.opensearch_connection import Connection
from headwater.stores.opensearch_documents import Documents, Transaction, Verdicts
from headwater.stores.opensearch_remembered import Remembered
from headwater.stores.opensearch_settling import settle
from headwater.stores.opensearch_state import RunnerDoc, State, runner_name

T = TypeVar("T")
PATIENCE_S = 20.0


class Frozen(Exception):
    """A runner's tables are being exchanged. Arguments: runner; by: the transaction."""

    def __init__(self, runner: str, by: str) -> None:
        super().__init__(f"the tables of {runner} are being exchanged")
        self.runner, self.by = runner, by


@dataclass(slots=True)
class Own:
    """A session of this process, used by one thread at a time.

    Arguments: id; committed: number of the last transaction; buried: documents of deleted rows, to be removed with the
    next batch; doubtful: whether nobody knows what became of a request; ended: closed by others, nothing is left of it;
    exchanges: see `Names`, when it was listed.
    """

    id: str = field(default_factory=lambda: uuid4().hex[:16])
    committed: int = 0
    buried: list[Write] = field(default_factory=list)
    doubtful: bool = False
    ended: bool = False
    exchanges: int = -1


class Sessions:
    """The sessions of one store, and what it knows of those of others. Arguments: connection; state."""

    def __init__(self, connection: Connection, state: State) -> None:
        self.connection, self.state = connection, state
        self.instance = uuid4().hex[:8]
        self.verdicts = Verdicts(state)
        self.documents = Documents(connection, self.verdicts)
        self.remembered = Remembered()
        self._lock = threading.Lock()
        self._at_work: dict[str, threading.RLock] = {}
        self._free: dict[str, list[Own]] = {}
        self._left: dict[str, list[Own]] = {}

    def of_this_process(self, runner: str) -> threading.RLock:
        """Held by the thread that is at work for a runner."""
        with self._lock:
            return self._at_work.setdefault(runner, threading.RLock())

    def left(self, runner: str) -> list[Own]:
        """Sessions of this process that are of no more use: those that are in doubt have to be closed."""
        with self._lock:
            return list(self._left.get(runner, ()))

    def forget_left(self, runner: str, sessions: Sequence[Own]) -> None:
        """They are closed, or off the list."""
        with self._lock:
            self._left[runner] = [own for own in self._left.get(runner, ()) if own not in sessions]

    def end(self, transaction: Transaction) -> None:
        """Closes the session of a transaction: it will not be committed. Raises: Unavailable."""

        def close(found: RunnerDoc | None) -> RunnerDoc | None:
            session = None if found is None else found.sessions.get(transaction.session)
            if session is None or session.closed or session.committed >= transaction.number:
                return None
            session.closed = True
            return found

        runner = transaction.runner
        found, _ = self.state.change(runner_name(runner), RunnerDoc, close)
        self.verdicts.learn(found, [transaction.session])
        if found is not None:
            self.settle(runner, found)

    def until_thawed(self, change: Callable[[], T]) -> T:
        """Makes a change that waits while tables are exchanged. Arguments: change: raises `Frozen` meanwhile."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return change()
            except Frozen as frozen:
                self.verdicts.look([frozen.by])
                if self.verdicts.committed(frozen.by) is not None or time.monotonic() > deadline_s:
                    self.thaw(frozen.runner, frozen.by)
            time.sleep(random.uniform(0.002, 0.02))

    def thaw(self, runner: str, by: str) -> None:
        """Lets others commit again. Arguments: by: the transaction that froze it, which comes too late from now on."""
        self.end(Transaction.named(by))

        def change(found: RunnerDoc | None) -> RunnerDoc | None:
            if found is None or found.frozen != by:
                return None
            found.frozen = None
            return found

        self.state.change(runner_name(runner), RunnerDoc, change)

    def settle(self, runner: str, found: RunnerDoc) -> None:
        """Takes back what closed sessions have left. Arguments: found: the runner's document. Raises: Unavailable."""
        sessions = found.sessions
        closed = {id for id, session in sessions.items() if session.closed and not session.settled}
        if not closed:
            return
        names = [Transaction(sessions[id].committed + 1, id, runner).name for id in closed]
        settle(self.connection, found.indices, names)

        def note(found: RunnerDoc | None) -> RunnerDoc | None:
            if found is None or not closed & found.sessions.keys():
                return None
            for id in closed & found.sessions.keys():
                found.sessions[id].settled = True
            return found

        self.state.change(runner_name(runner), RunnerDoc, note)

    def close(self) -> None:
        """Takes the sessions that have left nothing off their lists."""
        with self._lock:
            free, self._free = self._free, {}
        for runner, sessions in free.items():
            ended = {own.id for own in sessions}

            def take_off(found: RunnerDoc | None, ended: set[str] = ended) -> RunnerDoc | None:
                if found is None or not ended & found.sessions.keys():
                    return None
                found.sessions = {id: session for id, session in found.sessions.items() if id not in ended}
                return found

            with suppress(Unavailable):  # they stay on the list then, as after a crash
                self.state.change(runner_name(runner), RunnerDoc, take_off)

    @contextmanager
    def take(self, runner: str) -> Iterator[Own]:
        """A session that no other thread uses now."""
        with self._lock:
            free = self._free.setdefault(runner, [])
            own = free.pop() if free else Own()
        try:
            yield own
        finally:
            with self._lock:
                kept = self._left if own.doubtful or own.ended else self._free
                kept.setdefault(runner, []).append(own)
