"""Group commit: all writers of a process share one connection and, when several come at once, one commit.

A commit waits for the disk; what it costs is hardly more for a hundred transactions than for one (see `turns`
for who does it for whom). Work of two kinds comes here:

- *shared*: fills a draft (see `draft`); what fails is dropped, what is left is written by one commit.
- *alone*: statements on the connection (memberships, topics), in a transaction of their own.

The write lock is asked for by `BEGIN IMMEDIATE` only, with short pauses, up to the file's patience; nothing after
it can find the file locked. Nothing of any work is done before the lock is held.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from headwater.environment import Environment
from headwater.log.sqlite.catalog import Catalog
from headwater.log.sqlite.draft import Draft
from headwater.log.sqlite.faults import explain, is_busy
from headwater.log.sqlite.membership import Leases
from headwater.log.sqlite.news import News
from headwater.log.sqlite.retention import Retention
from headwater.log.sqlite.schema import File
from headwater.log.sqlite.turns import Turns, Work
from headwater.log.sqlite.wal import WriteAheadLog
from headwater.log.sqlite.writing import write_drafts

T = TypeVar("T")

_PAUSE_S = (0.0001, 0.001)


class Commits:
    """The one way by which this process writes to the file. Thread-safe.

    Arguments: file; catalog, news: of the same handle; environment: the clock for record times and retention.
    """

    def __init__(self, file: File, catalog: Catalog, news: News, environment: Environment) -> None:
        self._file, self._catalog, self._news, self._environment = file, catalog, news, environment
        self._connection = file.connect(writes=True)
        self._turns = Turns(self._carry_out, f"the log {file.path}")
        self._leases = Leases(self._connection)
        self._retention = Retention(catalog, environment)
        self._wal = WriteAheadLog(file.place, environment)
        self._nexts: dict[int, int] = {}
        self._positions: dict[tuple[str, int], int] = {}
        self._version = -1

    def share(self, fill: Callable[[Draft], T], *, marker: bool) -> T:
        """Fills a draft and commits it, perhaps together with others'. Returns what `fill` returned.

        Arguments: marker: whether it uses up an offset in each partition that it wrote to, as Kafka's
        transactions do.
        """

        def act(draft: Draft) -> T:
            result = fill(draft)
            if marker:
                for slot in draft.ends:
                    draft.ends[slot] += 1
            return result

        result: T = self._run(Work(act, shared=True))
        return result

    def alone(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Runs statements in a write transaction of their own and returns what `act` returned."""
        result: T = self._run(Work(act, shared=False))
        return result

    def now_ms(self) -> int:
        """The time that records get."""
        return int(self._environment.now().timestamp() * 1000)

    def alive_ms(self) -> int:
        """The time for heartbeats: a clock that all processes of a machine share and that nobody sets. It begins
        anew with the machine; a member from before then counts as alive for one session time-out at most."""
        return int(self._environment.monotonic_s() * 1000)

    def close(self) -> None:
        """Closes the connection after what is queued was written."""
        self._turns.close(self._connection.close)

    def _run(self, work: Work) -> Any:
        try:
            return self._turns.run(work)
        except sqlite3.Error as error:
            raise explain(error, self._file.path, self._file.patience_s) from error

    def _carry_out(self, works: Sequence[Work]) -> None:
        shared = [work for work in works if work.shared]
        if shared:
            self._transaction(shared, self._share)
        for work in works:
            if not work.shared:
                self._transaction([work], self._alone)

    def _transaction(self, works: Sequence[Work], write: Callable[[Sequence[Work]], Callable[[], None] | None]) -> None:
        """One transaction of SQLite. `write` returns what to do after the commit; None: there is nothing to commit.

        The answer of COMMIT is final: after an error SQLite has undone all of it, or leaves that to us.
        """
        complete = False
        try:
            self._wal.keep_short(self._connection)
            self._begin()
            afterwards = write(works)
            complete = True
            self._connection.execute("ROLLBACK" if afterwards is None else "COMMIT")
            if afterwards is not None:
                afterwards()
        except sqlite3.Error as error:
            complete = False
            for work in works:
                work.error = work.error or error
                work.done = True
        finally:
            undone = self._connection.in_transaction
            if undone:
                self._connection.execute("ROLLBACK")
            if complete and not undone:
                for work in works:
                    work.done = True
            else:
                self._forget()

    def _begin(self) -> None:
        deadline = 0.0
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                now_s = time.monotonic()
                deadline = deadline or now_s + self._file.patience_s
                if not is_busy(error) or now_s > deadline:
                    raise
                time.sleep(random.uniform(*_PAUSE_S))
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:  # another process has written since
            self._forget()
            self._version = version

    def _forget(self) -> None:
        self._nexts.clear()
        self._positions.clear()
        self._leases.forget()

    def _next_offset(self, slot: int) -> int:
        found = self._nexts.get(slot)
        if found is None:
            row = self._connection.execute("SELECT next FROM counters WHERE slot = ?", (slot,)).fetchone()
            found = self._nexts[slot] = int(row[0])
        return found

    def _share(self, works: Sequence[Work]) -> Callable[[], None] | None:
        drafts: list[Draft] = []
        for work in works:
            draft = Draft(self._catalog, self._next_offset, self._leases, self)
            with work:
                work.result = work.act(draft)
            if work.error is None:
                self._nexts.update(draft.ends)
                self._leave_out_what_stands(draft)
                drafts.append(draft)
        if not any(draft.ends or draft.moved or draft.lively for draft in drafts):
            return None
        ends = write_drafts(self._connection, drafts)
        firsts = self._retention.trim(self._connection)
        return lambda: self._news.publish(ends, firsts)

    def _leave_out_what_stands(self, draft: Draft) -> None:
        """Positions that a draft names only to have its fence checked are not written again: an owner's, for each
        command that is handed to it in its own process."""
        stands = self._positions
        draft.moved = {key: position for key, position in draft.moved.items() if stands.get(key) != position}
        stands.update(draft.moved)

    def _alone(self, works: Sequence[Work]) -> Callable[[], None] | None:
        (work,) = works
        before = self._connection.total_changes
        with work:
            work.result = work.act(self._connection)
        self._leases.forget()
        self._positions.clear()
        if work.error is not None or self._connection.total_changes == before:
            return None
        return lambda: None
