"""A question to views that is asked again whenever one of them was committed, and answered with what has changed.

    commit of a view ─► the question again, in one transaction with the views' positions ─► the difference, both ways

The difference is taken by DuckDB, between the answer that was told last and the one of now, both in tables of this
connection. Nothing is computed before it is asked for, and nothing waits: a follower that takes its time is told next
what has changed since, in one step. So it costs one table of at most `FOLLOWED_ROWS` rows, however slow it is. One that
is quick rests after each step as long as the step took, so it has a half of a core at most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import duckdb

from headwater.errors import Misuse, Unavailable
from headwater.projections.waiting import Progress
from headwater.views.asking import fetched, limited
from headwater.views.changes import Step, Weighted
from headwater.views.file import translated
from headwater.views.file_tables import stored_positions

FOLLOWED_ROWS = 100_000
"""So many rows the answer to a question may have that is followed."""

MOST_FOLLOWERS = 32
"""So many questions may be followed at once in the process that has the file."""

LOOK_S = 0.05
"""How often is looked for a commit where no wake tells of it."""


class Steps(Protocol):
    """The changes of a question, in steps."""

    def next(self, wait_s: float) -> Step | None:
        """The next step: first the whole answer, then what has changed since the last one, which may be no row but the
        position. None: nothing was committed within `wait_s` seconds. Raises: Misuse, Unavailable."""
        ...

    def close(self) -> None: ...


class Maintained(Protocol):
    """The reader of a view that the question needs."""

    @property
    def progress(self) -> Progress: ...

    @property
    def commits(self) -> int:
        """How many transactions have changed the view in this process."""
        ...

    @property
    def runner(self) -> str: ...

    def refuse_shared(self) -> None:
        """Raises: Unavailable: other processes have a part of the view."""
        ...


class Places:
    """How many follow. Thread-safe. `closed`: is set when the views are, and who follows is to go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0
        self.closed = threading.Event()

    def take(self) -> None:
        """Raises: Unavailable: there are too many."""
        with self._lock:
            if self._taken >= MOST_FOLLOWERS:
                raise Unavailable(f"{MOST_FOLLOWERS} questions are followed here already, which is as many as may be")
            self._taken += 1

    def leave(self) -> None:
        with self._lock:
            self._taken -= 1


class Follower:
    """`Steps` in the process that has the file. Belongs to one thread at a time.

    Arguments: path: of the file; connection: of its own, closed with it; sql: what `asking.tables_in` has let pass;
    views: those that it reads, by name; places: where it takes one; timeout_s: for each answer. Raises: Unavailable:
    there is no place.
    """

    def __init__(
        self,
        path: str,
        connection: duckdb.DuckDBPyConnection,
        sql: str,
        arguments: Sequence[object],
        views: Mapping[str, Maintained],
        places: Places,
        timeout_s: float | None,
    ) -> None:
        places.take()
        self._path, self._places, self._open = path, places, True
        self._connection, self._arguments, self._views = connection, list(arguments), views
        self._now = f"CREATE TEMP TABLE hw_now AS FROM (\n{sql.rstrip().rstrip(';')}\n) LIMIT {FOLLOWED_ROWS + 1}"
        self._timeout_s = timeout_s
        self._commits: list[int] | None = None
        self._rested_s = 0.0

    def next(self, wait_s: float) -> Step | None:
        commits = self._wait(wait_s)
        if commits == self._commits:
            return None
        for view in self._views.values():
            view.refuse_shared()
        begun_s = time.monotonic()
        step = self._look(first=self._commits is None)
        self._commits, ended_s = commits, time.monotonic()
        self._rested_s = ended_s + (ended_s - begun_s)
        return step

    def close(self) -> None:
        if self._open:
            self._open = False
            self._places.leave()
            self._connection.close()

    def _wait(self, wait_s: float) -> list[int]:
        """Waits for a commit. Returns how many there were before the answer is looked at."""
        rest_s = self._rested_s - time.monotonic()
        if rest_s > 0 and self._commits is not None:
            self._places.closed.wait(min(rest_s, wait_s))
            wait_s -= rest_s
            if wait_s <= 0 and not self._places.closed.is_set():
                return self._commits  # it rests still
        progress = next(iter(self._views.values())).progress
        while True:
            if self._places.closed.is_set():
                raise Unavailable("the process that has the views is ending")
            rounds = progress.rounds
            commits = [view.commits for view in self._views.values()]
            if commits != self._commits or wait_s <= 0:
                return commits
            progress.wait(rounds, min(wait_s, LOOK_S))
            wait_s -= LOOK_S

    def _look(self, first: bool) -> Step:
        connection = self._connection
        with translated(self._path), limited(connection, self._timeout_s):
            positions = list(self._positions())
            connection.execute(self._now, self._arguments)
            [(rows,)] = connection.execute("SELECT count(*) FROM hw_now").fetchall()
            if rows > FOLLOWED_ROWS:
                raise too_many_rows()
            if first:
                found = connection.execute("SELECT 1, * FROM hw_now")
            else:
                found = connection.execute(
                    "SELECT -1, * FROM (FROM hw_told EXCEPT ALL FROM hw_now)"
                    " UNION ALL SELECT 1, * FROM (FROM hw_now EXCEPT ALL FROM hw_told)"
                )
            columns = tuple(str(column[0]) for column in (found.description or ())[1:])
            changes = [Weighted(weight, tuple(row)) for weight, *row in fetched(found, 2 * FOLLOWED_ROWS)]
            connection.execute("DROP TABLE IF EXISTS hw_told")
            connection.execute("ALTER TABLE hw_now RENAME TO hw_told")
        return Step(columns, positions, changes)

    def _positions(self) -> Iterable[tuple[str, str, int, int]]:
        for name, view in self._views.items():
            for tp, position in stored_positions(self._connection, view.runner).items():
                yield name, tp.topic, tp.partition, position


def too_many_rows() -> Misuse:
    """Of an answer that is followed."""
    return Misuse(
        f"the answer has more than {FOLLOWED_ROWS:,} rows, of which every change would be looked for: "
        "say which with WHERE, or gather them"
    )
