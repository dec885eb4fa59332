"""The store in PostgreSQL: tables of read models, filled by as many processes as there are partitions.

    apply: BEGIN -> lock positions, compare -> lock rows, work, save -> look after absent rows -> positions -> COMMIT
    row, rows, query: connections of their own; a query runs in a transaction that can only read

Positions and rows are locked (FOR UPDATE) from the first look to the commit, rows in the order of their keys: so what a
runner loads is not changed by another one before it commits, and runners of different partitions wait for each other
only where they change the same row. A row that is not there cannot be locked. So a row that was missing when it was
loaded is only ever inserted, and when the work is done the missing ones are looked for once more; where another runner
has put one there meanwhile, everything is rolled back and the work is done again. The same follows when the server ends
one of two transactions that wait for each other (rows that handlers look up are locked in the order of the events).

A table is kept per version as `<name>_v<version>`; a view `<name>` shows one of them (see `postgres_switching`). All of
it is in the first schema of the connection's search path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import psycopg
from msgspec import json
from psycopg import errors

from headwater.errors import Misuse, Unavailable
from headwater.log.port import Positions, TopicPartition
from headwater.stores.bound import OtherLog
from headwater.stores.port import (
    Answer,
    Key,
    RunnerNote,
    TableSchema,
    moves,
    refuse_another_runner,
    refuse_changed_shape,
    refuse_stale,
)
from headwater.stores.postgres_cells import without_nul
from headwater.stores.postgres_connections import Connection, Connections, cursors_watched, translated
from headwater.stores.postgres_loading import (
    Overtaken,
    PostgresLoading,
    locked_positions,
    write_positions,
)
from headwater.stores.postgres_notes import read_notes, write_note
from headwater.stores.postgres_queries import ask
from headwater.stores.postgres_switching import IN_THE_WAY, carry_out, check_switch, columns_of, show, shown_by
from headwater.stores.postgres_tables import SCHEMA, PostgresTable, match_indexes, quoted, table_name
from headwater.stores.switching import Shown, Switch

R = TypeVar("R")
FORMAT = "1"
OPENING = 0x68775354
"""The number of the lock under which tables are made and dropped, one process at a time."""

ATTEMPTS = 100
OVERTAKEN = (errors.DeadlockDetected, errors.SerializationFailure)
"""The server has ended one of two transactions that were in each other's way."""


class PostgresStore:
    """A `Store` in a database of PostgreSQL 14 or later.

    Arguments: url: `postgresql://user:password@host:5432/database`, with libpq's parameters; what it leaves out comes
    from libpq's environment (PGPASSFILE and others).
    Raises: Misuse: it is no such address, or the database cannot be used. Unavailable: it cannot be reached.
    """

    is_server: Literal[True] = True

    def __init__(self, url: str) -> None:
        self._connections = Connections(url)
        self._place = self._connections.place
        self._tables: dict[tuple[str, int], PostgresTable] = {}
        try:
            self._make_schema()
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        """See `PlacedStore`."""
        return self._place

    def bind(self, log_id: str) -> None:
        with self._transaction() as connection:
            stored = self._stored(connection, "log")
            if stored is None:
                connection.execute("INSERT INTO hw_store VALUES ('log', $1) ON CONFLICT DO NOTHING", [log_id])
                stored = self._stored(connection, "log")
        if stored != log_id:
            example = "postgresql://user@host:5432/other_database"
            raise OtherLog(self._place, stored, log_id, freed="drop the tables of this one", example=example)

    def open_tables(self, runner: str, schemas: Sequence[TableSchema[Any]], code: str = "") -> str:
        with self._defining() as connection:
            opened = [self._open(connection, runner, schema) for schema in schemas]
            begun = connection.execute("SELECT 1 FROM hw_positions WHERE runner = $1 LIMIT 1", [runner]).fetchone()
            action = "NOTHING" if begun else "UPDATE SET code = excluded.code"
            connection.execute(f"INSERT INTO hw_code VALUES ($1, $2) ON CONFLICT (runner) DO {action}", [runner, code])
            [(stored,)] = connection.execute("SELECT code FROM hw_code WHERE runner = $1", [runner]).fetchall()
        self._tables.update({(table.schema.name, table.schema.version): table for table in opened})
        return str(stored)

    def forget(self, runner: str) -> None:
        with self._defining() as connection:
            tables = connection.execute("SELECT name, version FROM hw_tables WHERE runner = $1", [runner]).fetchall()
            for name, version in tables:
                gone = "DELETE FROM hw_views WHERE name = $1 AND version = $2"
                if connection.execute(gone, [name, version]).rowcount:
                    connection.execute(f"DROP VIEW IF EXISTS {quoted(name)}")
                connection.execute(f"DROP TABLE IF EXISTS {table_name(name, version)}")
                self._tables.pop((name, version), None)
            for table in ("hw_tables", "hw_positions", "hw_code"):
                connection.execute(f"DELETE FROM {table} WHERE runner = $1", [runner])

    def shown(self, name: str) -> Shown | None:
        with self._reading() as connection:
            return shown_by(connection, name)

    def switch(self, switch: Switch, work: Callable[[PostgresLoading], None]) -> None:
        self._until_first(lambda: self._switch(switch, work), (*OVERTAKEN, *IN_THE_WAY))

    def scan(self, name: str, version: int) -> Answer:
        with self._reading() as connection:
            columns = columns_of(connection, name, version, self._place)[1]
        return self.query(f"SELECT {', '.join(map(quoted, columns))} FROM {table_name(name, version)}")

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        with self._reading() as connection:
            found = connection.execute("SELECT topic, part, next FROM hw_positions WHERE runner = $1", [runner])
            return {TopicPartition(topic, part): position for topic, part, position in found.fetchall()}

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[PostgresLoading], None]) -> None:
        """As the port says. `work` may run more than once; only the last time is kept."""
        self._until_first(lambda: self._apply(runner, start, to, work), OVERTAKEN)

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        found = self.table(table)
        with self._reading() as connection:
            row: R | None = found.look(connection, key)
            return row

    def rows(
        self,
        table: TableSchema[R],
        where: Mapping[str, object] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[R]:
        found = self.table(table)
        sql, args = found.selection(where or {}, order, limit)
        with self._reading() as connection:
            cells = connection.execute(sql, args).fetchall()
        return found.columns.decode(cells)

    def query(
        self, sql: str, args: Sequence[object] | Mapping[str, object] = (), *, timeout_s: float | None = None
    ) -> Answer:
        """As the port says. Values stand for `?` or `:name`, or for PostgreSQL's own `$1`."""
        return ask(self._connections, sql, args, timeout_s)

    def note(self, runner: str, note: RunnerNote) -> None:
        with self._reading() as connection:
            write_note(connection, runner, note)

    def notes(self, runner: str) -> list[RunnerNote]:
        with self._reading() as connection:
            return read_notes(connection, runner)

    def close(self) -> None:
        self._connections.close()

    def table(self, schema: TableSchema[Any]) -> PostgresTable:
        """The table of a schema that somebody has opened in this database. Raises: Unavailable: nobody has.
        Misuse: with another shape."""
        found = self._tables.get((schema.name, schema.version))
        if found is not None and found.schema.row is schema.row:
            return found
        with self._reading() as connection:
            stored = stored_shape(connection, schema)
        if stored is None:
            raise Unavailable(f"{self._place} has no table {schema.title} yet: start the process that runs it")
        refuse_changed_shape(schema, stored[1])
        table = self._tables[schema.name, schema.version] = PostgresTable(schema)
        return table

    def _apply(self, runner: str, start: Positions, to: Positions, work: Callable[[PostgresLoading], None]) -> None:
        with self._transaction() as connection:
            with translated(self._place):
                refuse_stale(runner, start, to, locked_positions(connection, runner, to))
            loading = PostgresLoading(connection, self.table, self._place)
            with cursors_watched(connection, self._place):
                work(loading)
            with translated(self._place):
                loading.refuse_overtaken()
                write_positions(connection, runner, start, to)
                if not moves(start, to):
                    connection.execute("SET LOCAL synchronous_commit = on")

    def _switch(self, switch: Switch, work: Callable[[PostgresLoading], None]) -> None:
        with self._defining() as connection:
            with translated(self._place):
                check_switch(connection, switch, self._place)
            loading = PostgresLoading(connection, self.table, self._place)
            work(loading)
            with translated(self._place):
                loading.refuse_overtaken()
                carry_out(connection, switch, self._place)

    def _until_first(self, attempt: Callable[[], None], again: tuple[type[psycopg.Error], ...]) -> None:
        """Makes attempts until no other transaction is in the way. Arguments: again: errors that say that one was."""
        cause: Exception = Overtaken()
        for _ in range(ATTEMPTS):
            try:
                attempt()
                return
            except Overtaken as error:
                cause = error
            except Unavailable as error:
                if not isinstance(error.__cause__, again):
                    raise
                cause = error
        raise Unavailable(f"{self._place}: others were first {ATTEMPTS} times; it is tried again") from cause

    def _make_schema(self) -> None:
        with self._reading() as connection:
            if connection.execute("SELECT to_regclass('hw_store')").fetchone() == (None,):
                with self._defining() as defining:
                    if defining.execute("SELECT to_regclass('hw_store')").fetchone() == (None,):
                        for statement in SCHEMA:
                            defining.execute(statement)
                        defining.execute("INSERT INTO hw_store VALUES ('format', $1)", [FORMAT])
            stored = self._stored(connection, "format")
        if stored != FORMAT:
            raise Misuse(
                f"{self._place} was written by another version of headwater (format {stored}, this one reads {FORMAT}):"
                " drop its tables, they are made again from the log"
            )

    def _stored(self, connection: Connection, name: str) -> str | None:
        found = connection.execute("SELECT value FROM hw_store WHERE name = $1", [name]).fetchone()
        return None if found is None else str(found[0])

    def _open(self, connection: Connection, runner: str, schema: TableSchema[Any]) -> PostgresTable:
        stored = stored_shape(connection, schema)
        table = PostgresTable(schema)
        try:
            if stored is None:
                shape = without_nul(json.encode(schema.shape).decode())
                connection.execute(table.definition)
                named = [schema.name, schema.version, runner, shape]
                connection.execute("INSERT INTO hw_tables VALUES ($1, $2, $3, $4)", named)
            else:
                refuse_another_runner(schema, self._place, runner, stored[0])
                refuse_changed_shape(schema, stored[1])
            match_indexes(connection, schema)
            shown = connection.execute("SELECT 1 FROM hw_views WHERE name = $1", [schema.name]).fetchone()
            if shown is None:
                show(connection, schema.name, schema.version, table.columns.names)
        except (errors.ProgrammingError, errors.NotSupportedError) as error:
            raise Misuse(f"{schema.title} cannot be made in {self._place}: {error.diag.message_primary}") from error
        return table

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Rolled back where an error ends it."""
        with self._taken() as connection, translated(self._place), connection.transaction():
            yield connection

    @contextmanager
    def _defining(self) -> Iterator[Connection]:
        """A transaction that makes or drops tables; one at a time in the database."""
        with self._transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock($1)", [OPENING])
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Single statements, each of them a transaction."""
        with self._taken() as connection, translated(self._place):
            yield connection

    @contextmanager
    def _taken(self) -> Iterator[Connection]:
        """A connection, which is closed after an error of the server's: it may be of the connection's own state."""
        connection = self._connections.take()
        doubtful = False
        try:
            yield connection
        except BaseException as error:
            doubtful = not isinstance(error, Exception) or isinstance(error.__cause__, psycopg.Error)
            raise
        finally:
            self._connections.give(connection, doubtful=doubtful)


def stored_shape(connection: Connection, schema: TableSchema[Any]) -> tuple[str, dict[str, str]] | None:
    found = connection.execute(
        "SELECT runner, shape FROM hw_tables WHERE name = $1 AND version = $2", [schema.name, schema.version]
    ).fetchone()
    return None if found is None else (found[0], json.decode(found[1], type=dict[str, str]))
