"""The runner's document while one attempt at a transaction lasts: its session is listed there, takes its turn, commits.

A session is listed under names that were looked up after the document was read, and before it is written on condition
that it is still as it was read. An exchange freezes the document first, so who is listed has not been exchanged, and it
closes whoever is listed: who commits has not been exchanged since.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from uuid import uuid4

from headwater.errors import Unavailable
from headwater.log.port import Positions
from headwater.stores.opensearch_finding import Finding, Names
from headwater.stores.opensearch_sessions import PATIENCE_S, Frozen, Own, Sessions
from headwater.stores.opensearch_state import RunnerDoc, Session, Version, runner_name
from headwater.stores.port import StaleRunner, refuse_stale

FIRST_LOOK_S, LAST_LOOK_S = 0.002, 0.1


class Registration:
    """Arguments: sessions; own: the session to use; finding; names: by which the attempt goes; place: under which its
    runner is found; start, to: see `Store.apply`."""

    def __init__(
        self,
        sessions: Sessions,
        own: Own,
        finding: Finding,
        names: Names,
        place: str,
        start: Positions,
        to: Positions,
    ) -> None:
        self._all, self._own, self._finding, self._names, self._place = sessions, own, finding, names, place
        self._start, self._to = start, to
        self._state, self._name = sessions.state, runner_name(place)
        self.found = RunnerDoc()
        self._version: Version | None = None

    def read(self) -> None:
        """Raises: StaleRunner."""
        self._read()
        self._refuse_stale(self.found)

    def ensure(self, indices: Collection[str]) -> None:
        """Lists the session, if it is not. Arguments: indices: that it is about to write to.

        Raises: StaleRunner. Moved. Unavailable.
        """
        if not self._listed(indices):
            self._list(indices)

    def commit(self, number: int, alter: Callable[[RunnerDoc], bool]) -> bool:
        """Commits a transaction by one write. Arguments: alter: changes the document with it; False: it must not be.

        Returns: False: that, or somebody has closed the session.
        Raises: StaleRunner; Unavailable: the answer is missing, it may be committed.
        """
        while True:
            session = self.found.sessions.get(self._own.id)
            if session is None or session.closed:
                return False
            self._refuse_stale(self.found)
            if not alter(self.found):
                return False
            session.committed = number
            if self.found.turn == self._own.id:
                self.found.turn = None
            if self._state.write(self._name, self.found, self._version) is not None:
                self._all.verdicts.learn(self.found)
                return True
            self._read()

    def wait_for_turn(self, wanted: bool) -> None:
        """Lets the session go first that others were in the way of. Arguments: wanted: this one wants to be it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            session = self.found.sessions.get(self.found.turn or "")
            mine = self.found.turn == self._own.id
            if mine or session is None or session.closed or time.monotonic() > deadline_s:
                if mine or not wanted:
                    return
                self.found.turn = self._own.id
                self._version = self._state.write(self._name, self.found, self._version)
                if self._version is not None:
                    return
            else:
                time.sleep(random.uniform(FIRST_LOOK_S, 10 * FIRST_LOOK_S))
            self._read()

    def give_turn_back(self) -> None:
        if self.found.turn != self._own.id:
            return

        def change(found: RunnerDoc | None) -> RunnerDoc | None:
            if found is None or found.turn != self._own.id:
                return None
            found.turn = None
            return found

        with suppress(Unavailable):  # what ended the work is to be told; others wait a while then
            self._state.change(self._name, RunnerDoc, change)

    def _listed(self, indices: Collection[str]) -> bool:
        """Whether the document lists the session with all that it is about, and nothing else is to be done."""
        session = self.found.sessions.get(self._own.id)
        return (
            session is not None
            and not session.closed
            and self._own.exchanges == self._names.exchanges
            and {(topic, partition) for topic, partition in self._to} <= set(session.partitions)
            and set(indices) <= set(self.found.indices)
            and not self._all.left(self._place)
            and all(other.settled for other in self.found.sessions.values() if other.closed)
        )

    def _list(self, indices: Collection[str]) -> None:
        """Lists the session, closes those that had to do with the same partitions, and takes back what they left.

        Raises: StaleRunner, Moved: then nobody is closed.
        """
        own, left = self._own, self._all.left(self._place)
        about = {(topic, partition) for topic, partition in self._to}

        def change(found: RunnerDoc | None) -> RunnerDoc:
            found = RunnerDoc() if found is None else found
            self._refuse_stale(found)
            if found.frozen is not None:
                raise Frozen(self._place, found.frozen)
            if found.forgetting:
                raise StaleRunner(f"the tables of {self._place} are being removed")
            self._finding.refuse_moved(self._names)
            for other in left:
                if other.ended:
                    found.sessions.pop(other.id, None)
            mine = found.sessions.get(own.id)
            if mine is not None and mine.closed:  # between two batches: it has left nothing
                del found.sessions[own.id]
                own.id, own.committed = uuid4().hex[:16], 0
            doubtful = {other.id for other in left if other.doubtful}
            for id, session in found.sessions.items():
                foreign = session.instance != self._all.instance and not about.isdisjoint(session.partitions)
                session.closed = session.closed or foreign or id in doubtful
            mine = found.sessions.setdefault(own.id, Session(self._all.instance, own.committed))
            mine.partitions = sorted(about.union(mine.partitions))
            found.indices = sorted({*found.indices, *indices})
            return found

        found, self._version = self._all.until_thawed(lambda: self._state.change(self._name, RunnerDoc, change))
        self.found = RunnerDoc() if found is None else found
        own.exchanges = self._names.exchanges
        self._all.verdicts.learn(self.found)
        self._all.forget_left(self._place, left)
        if not all(session.settled for session in self.found.sessions.values() if session.closed):
            self._all.settle(self._place, self.found)
            self._read()

    def _read(self) -> None:
        found, self._version = self._state.read(self._name, RunnerDoc)
        self.found = RunnerDoc() if found is None else found
        self._all.verdicts.learn(self.found)

    def _refuse_stale(self, found: RunnerDoc) -> None:
        refuse_stale(self._place, self._start, self._to, found.stored)
