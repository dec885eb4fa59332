"""The outbox of a view in its file: which rows have changed since they were last sent, and what was sent how far.

    take ─► rows as of one moment, with the view's position ─► (they are sent) ─► done: their keys leave the outbox

Keys stay until the rows are in the store, so whatever ends in between, they are sent again. A key that changes again
meanwhile has a later number and stays. What was taken is kept aside in a temporary table, so however long sending takes
it holds up neither the view nor its file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb
import msgspec

from headwater.environment import Environment
from headwater.log.port import Positions, TopicPartition
from headwater.views.file import ViewFile, translated
from headwater.views.file_tables import stored_positions
from headwater.views.kept import table_of
from headwater.views.sinks import OUTBOX, STATE, SinkPlan

ROWS_AT_ONCE = 5000
"""So many rows are written to the store in one step."""


class Sent(NamedTuple):
    """Arguments: filling: names the time when the sink was begun to be filled with this version of the view from this
    file; positions: how far what was sent is; none: it is not full yet."""

    filling: str
    positions: Positions


class Taken:
    """Rows that are to be sent. Arguments: connection: with the table of them; positions: the view's; number: the
    latest of the outbox that is in it; count: of the rows, those that are gone included; everything: whether they are
    all rows of the view."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: str,
        positions: Positions,
        number: int,
        count: int,
        *,
        everything: bool,
    ) -> None:
        self._connection, self._path, self._next = connection, path, 0
        self.positions, self.number, self.count, self.everything = positions, number, count, everything

    @property
    def last(self) -> bool:
        """Whether the next rows are the last ones."""
        return self._next + ROWS_AT_ONCE >= self.count

    def rows(self) -> list[tuple[Any, ...]]:
        """The next rows: `row_key`, the columns of the view, and whether the row is there."""
        with translated(self._path):
            found = self._connection.execute(
                "SELECT * EXCLUDE nth FROM hw_taken WHERE nth > ? AND nth <= ?", [self._next, self._next + ROWS_AT_ONCE]
            ).fetchall()
        self._next += ROWS_AT_ONCE
        return found

    def close(self) -> None:
        self._connection.close()


class Outbox:
    """Arguments: plan; runner: the view's reader; file: that the view's reader writes to, for its turns."""

    def __init__(self, plan: SinkPlan, runner: str, file: ViewFile) -> None:
        self._plan, self._runner, self._file = plan, runner, file

    def begin(self, address: str, environment: Environment) -> Sent:
        """What was sent to a sink; where it is another one than before, or the first, nothing. Arguments: address: what
        tells it apart from others."""
        state = self._plan.state
        with self._file.writing() as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {state} (filling VARCHAR, address VARCHAR, sent VARCHAR)")
            found = connection.execute(f"SELECT filling, sent FROM {state} WHERE address = ?", [address]).fetchone()
            if found is None:
                found = environment.new_id(), "[]"
                connection.execute(f"DELETE FROM {state}")
                connection.execute(f"INSERT INTO {state} VALUES (?, ?, ?)", [found[0], address, found[1]])
        rows = msgspec.json.decode(found[1], type=list[tuple[str, int, int]])
        return Sent(found[0], {TopicPartition(topic, partition): position for topic, partition, position in rows})

    def waiting(self) -> tuple[Positions, bool]:
        """How far the view is, and whether the outbox has something."""
        with self._file.aside() as connection:
            connection.execute("BEGIN TRANSACTION READ ONLY")
            found = connection.execute(f"SELECT 1 FROM {self._plan.outbox} LIMIT 1").fetchone()
            return stored_positions(connection, self._runner), found is not None

    def take(self, *, everything: bool) -> Taken:
        """The rows whose keys are in the outbox. Arguments: everything: all rows of the view."""
        plan = self._plan
        connection = self._file.database.cursor()
        try:
            with translated(self._file.path):
                connection.execute("BEGIN")
                positions = stored_positions(connection, self._runner)
                [(number,)] = connection.execute(f"SELECT coalesce(max(seq), 0) FROM {plan.outbox}").fetchall()
                connection.execute(
                    "CREATE OR REPLACE TEMP TABLE hw_taken AS SELECT *, row_number() OVER () AS nth"
                    f" FROM ({plan.all if everything else plan.changed})"
                )
                [(count,)] = connection.execute("SELECT count(*) FROM hw_taken").fetchall()
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return Taken(connection, self._file.path, positions, number, count, everything=everything)

    def done(self, taken: Taken) -> None:
        """What was taken is in the store."""
        sent = msgspec.json.encode([(*tp, position) for tp, position in sorted(taken.positions.items())]).decode()
        with self._file.writing() as connection:
            connection.execute(f"DELETE FROM {self._plan.outbox} WHERE seq <= ?", [taken.number])
            connection.execute(f"UPDATE {self._plan.state} SET sent = ?", [sent])


def forget_outbox(file: ViewFile, runner: str) -> None:
    """A view has no sink any more: what it would have had to send is lost, and another sink begins anew."""
    with file.writing() as connection:
        for part in (OUTBOX, STATE):
            connection.execute(f"DROP TABLE IF EXISTS {table_of(runner, part)}")
