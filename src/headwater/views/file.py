"""The file that holds views: their state, the positions that it belongs to, and the bookkeeping of their readers.

    apply: BEGIN -> positions, if they are as before -> work -> COMMIT, all on one connection
    queries: connections of their own, which see what is committed (see `asking`)

It is a file of DuckDB, which belongs to one process: a second one that opens it is told so, and tries again until the
first is gone. A commit is written to the file's log and synced; after a power cut the file is what it was after one of
the last commits, whole, and the events since are applied again. The file needs no backup: it is made from the log.

Where the state is kept in a store instead, DuckDB has it in memory, and a commit is the store's (see `elsewhere`).

Only a reader's bookkeeping goes through the rows of a `Store` (see `file_tables`); a view's own tables are written with
SQL in `work`, on `ViewLoading.connection`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb
from msgspec import json

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.port import Positions, TopicPartition
from headwater.stores.cells import utc_text
from headwater.stores.port import (
    Answer,
    Key,
    RunnerNote,
    TableSchema,
    refuse_another_runner,
    refuse_changed_shape,
)
from headwater.views.elsewhere import Elsewhere
from headwater.views.file_tables import BookkeepingTable, move_positions, state_prefix, stored_positions
from headwater.views.gate import Gate
from headwater.views.parts import ALL_PARTS
from headwater.views.places import shown, store_at
from headwater.views.snapshots import copy_of
from headwater.views.types import quoted

R = TypeVar("R")

MEMORY = ":memory:"
FORMAT = "2"
MOST_FILES = 64
"""So many processes of a machine may have a part of shared views."""

SETTINGS = {
    "threads": "1",
    "TimeZone": "'UTC'",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "preserve_insertion_order": "false",
    "arrow_lossless_conversion": "true",
    "checkpoint_threshold": "'2MB'",
    "lock_configuration": "true",
}
"""One thread: a batch is small, and there is a thread for each view. Now and then a commit waits while what the last
ones wrote is put in its place: that is not much (DuckDB lets 16 MB come together), so it is soon done. The rest keeps
SQL inside the file."""

SCHEMA = (
    "CREATE SCHEMA IF NOT EXISTS hw",
    "CREATE TABLE IF NOT EXISTS hw.store (name VARCHAR, value VARCHAR)",
    "CREATE TABLE IF NOT EXISTS hw.positions (runner VARCHAR, topic VARCHAR, part INTEGER, next BIGINT)",
    "CREATE TABLE IF NOT EXISTS hw.marks (runner VARCHAR, place INTEGER, topic VARCHAR, part INTEGER, next BIGINT)",
    "CREATE TABLE IF NOT EXISTS hw.tables (name VARCHAR, version INTEGER, runner VARCHAR, shape VARCHAR)",
    "CREATE TABLE IF NOT EXISTS hw.code (runner VARCHAR, code VARCHAR)",
    "CREATE TABLE IF NOT EXISTS hw.versions (view VARCHAR, runner VARCHAR, code VARCHAR, sources VARCHAR, rows VARCHAR,"
    " state VARCHAR, at_word BOOLEAN, nth BIGINT)",
    ALL_PARTS,
    "CREATE TABLE IF NOT EXISTS hw.workers (runner VARCHAR, worker VARCHAR, state VARCHAR, failure VARCHAR,"
    " heartbeat VARCHAR, partitions VARCHAR)",
)


OF_DAMAGE = ("Could not read enough bytes", "Corrupt database file", "Failure while replaying WAL")
"""What is in DuckDB's words where a file is not what was written."""


class Taken(Unavailable):
    """The file has a process already."""


class ViewFile:
    """A `Store` in one file of DuckDB. Thread-safe: writers take turns. `commits`: how many batches this
    one has applied.

    Arguments: path: made when missing; `:memory:` is gone with the process; or a store (see `places`); opened: the same
    file, where it is open already. `gate`: of the transactions of all that have the same file open.
    Raises: Unavailable: another process has it, or it cannot be opened. Misuse: it is something else.
    """

    def __init__(self, path: str, opened: ViewFile | None = None) -> None:
        self.path = shown(path)
        self.gate: Gate = Gate() if opened is None else opened.gate
        store = store_at(path) if opened is None else None
        self._elsewhere: Elsewhere | None = None if store is None else Elsewhere(store)
        if opened is not None:
            self._elsewhere = opened._elsewhere
        self._lock = threading.RLock()
        self.commits = 0
        self._tables: dict[tuple[str, int], BookkeepingTable] = {}
        with translated(self.path):
            at = path if store is None else MEMORY
            self.database: duckdb.DuckDBPyConnection = connected(at) if opened is None else opened.database
        self._writer = self.database.cursor()
        if opened is not None:
            return
        try:
            with self.working() as connection:
                connection.execute("LOAD json")
                for name, value in SETTINGS.items():
                    connection.execute(f"SET GLOBAL {name} = {value}")
                if self._elsewhere is not None:
                    self._elsewhere.open(connection)
            with self.writing() as connection:
                self._claim(connection)
        except BaseException:
            self.close()
            raise

    def _claim(self, connection: duckdb.DuckDBPyConnection) -> None:
        [(tables,)] = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
        for statement in SCHEMA:
            connection.execute(statement)
        found = connection.execute("SELECT value FROM hw.store WHERE name = 'format'").fetchone()
        if found is None and tables:
            raise Misuse(f"{self.path} is a file of DuckDB that holds no views of headwater: give views their own file")
        if found is None:
            connection.execute("INSERT INTO hw.store VALUES ('format', ?)", [FORMAT])
        elif found[0] != FORMAT:
            raise Misuse(
                f"{self.path} was written by another version of headwater (format {found[0]}, this one reads "
                f"{FORMAT}): delete it, it is made again from the log"
            )

    def bind(self, log_id: str) -> None:
        with self.writing() as connection:
            found = connection.execute("SELECT value FROM hw.store WHERE name = 'log'").fetchone()
            if found is None:
                connection.execute("INSERT INTO hw.store VALUES ('log', ?)", [log_id])
            elif found[0] != log_id:
                raise Misuse(
                    f"the views in {self.path} were made from the log {found[0]}, this is log {log_id}: "
                    "use another file, or delete this one; it is made again from the log"
                )

    def open_tables(self, runner: str, schemas: Sequence[TableSchema[Any]], code: str = "") -> str:
        with self.writing() as connection:
            for schema in schemas:
                self._open(connection, runner, schema)
            begun = connection.execute("SELECT 1 FROM hw.positions WHERE runner = ?", [runner]).fetchone()
            stored = connection.execute("SELECT code FROM hw.code WHERE runner = ?", [runner]).fetchone()
            if begun is not None and stored is not None:
                return str(stored[0])
            connection.execute("DELETE FROM hw.code WHERE runner = ?", [runner])
            connection.execute("INSERT INTO hw.code VALUES (?, ?)", [runner, code])
        return code

    def forget(self, runner: str) -> None:
        """As of `Store`; what a view keeps is in tables whose names begin with its runner's."""
        with self.writing() as connection:
            names = connection.execute("SELECT name, version FROM hw.tables WHERE runner = ?", [runner]).fetchall()
            for name, version in names:
                connection.execute(f"DROP TABLE hw.{quoted(f'{name}_v{version}')}")
                self._tables.pop((name, version), None)
            for (name,) in connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'hw' AND starts_with(table_name, ?)",
                [state_prefix(runner)],
            ).fetchall():
                connection.execute(f"DROP TABLE hw.{quoted(name)}")
            for (name,) in connection.execute(
                "SELECT view_name FROM duckdb_views() WHERE schema_name = 'hw' AND starts_with(view_name, ?)",
                [state_prefix(runner)],
            ).fetchall():
                connection.execute(f"DROP VIEW hw.{quoted(name)}")
            connection.execute("DELETE FROM hw.parts WHERE starts_with(name, ?)", [f'hw."{state_prefix(runner)}'])
            for table in ("tables", "positions", "marks", "code"):
                connection.execute(f"DELETE FROM hw.{table} WHERE runner = ?", [runner])

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        with self.aside() as connection:
            return stored_positions(connection, runner)

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[ViewLoading], None]) -> None:
        with self._transaction() as connection:
            with translated(self.path):
                move_positions(connection, runner, start, to)
            work(ViewLoading(connection, self.table, self.path))
        self.commits += 1

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        found = self.table(table)
        with self.aside() as connection:
            return found.load(connection, [key]).get(key)

    def rows(
        self,
        table: TableSchema[R],
        where: Mapping[str, object] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[R]:
        found = self.table(table)
        with self.aside() as connection:
            return found.select(connection, where or {}, order, limit)

    def query(
        self, sql: str, args: Sequence[object] | Mapping[str, object] = (), *, timeout_s: float | None = None
    ) -> Answer:
        """Raises: Misuse: always; views are asked by `asking`, which knows what a question may say."""
        raise Misuse(f"{self.path} holds views: ask them by shop.query or hw query")

    def note(self, runner: str, note: RunnerNote) -> None:
        partitions = json.encode(sorted(note.partitions)).decode()
        with self.writing() as connection:
            connection.execute("DELETE FROM hw.workers WHERE runner = ? AND worker = ?", [runner, note.worker])
            if note.state != "stopped" or note.failure is not None:
                connection.execute(
                    "INSERT INTO hw.workers VALUES (?, ?, ?, ?, ?, ?)",
                    [runner, note.worker, note.state, note.failure, utc_text(note.heartbeat), partitions],
                )

    def notes(self, runner: str) -> list[RunnerNote]:
        with self.aside() as connection:
            rows = connection.execute(
                "SELECT worker, state, failure, heartbeat, partitions FROM hw.workers WHERE runner = ?"
                " ORDER BY heartbeat DESC",
                [runner],
            ).fetchall()
        return [
            RunnerNote(
                worker,
                state,
                failure,
                datetime.fromisoformat(heartbeat),
                frozenset(json.decode(partitions, type=list[TopicPartition])),
            )
            for worker, state, failure, heartbeat, partitions in rows
        ]

    @contextmanager
    def working(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The writing connection, outside a transaction: for what a batch becomes before it is applied."""
        with self._lock, translated(self.path):
            yield self._writer

    @contextmanager
    def aside(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that sees what is committed. Raises: Lost: another process has it by now."""
        if self._elsewhere is not None:
            self._elsewhere.refuse_lost()
        with translated(self.path):
            connection = self.database.cursor()
            try:
                yield connection
            finally:
                connection.close()

    def beside(self) -> ViewFile:
        """The same file for another thread, which writes on a connection of its own."""
        return ViewFile(self.path, self)

    def on_reading_anew(self, tell: Callable[[], None]) -> None:
        """Arguments: tell: called when all of it was read anew from its store, which knew more than this process."""
        if self._elsewhere is not None:
            self._elsewhere.on_reading_anew(tell)

    def snapshot(self, target: str) -> None:
        """Copies the file as it is between two commits; these wait meanwhile. The copy is whole, or not there.

        Arguments: target: where to; nothing may be there. Raises: Misuse: something is, or the views are in memory.
        """
        if self.path == MEMORY:
            raise Misuse("views in memory have no file to be copied")
        if self._elsewhere is not None:
            raise Misuse(f"the state of views is in {self.path}, which is copied by its own means of backup")
        copy_of(self.path, target, self.gate.closed)

    def close(self) -> None:
        """Closes the file, with all that were made by `beside`."""
        with self._lock:
            self._writer.close()
            self.database.close()
            if self._elsewhere is not None:
                self._elsewhere.close()

    def table(self, schema: TableSchema[Any]) -> BookkeepingTable:
        """Raises: Unavailable: nobody has opened it yet."""
        found = self._tables.get((schema.name, schema.version))
        if found is None:
            raise Unavailable(f"{self.path} has no table {schema.title} yet: start the process that runs it")
        return found

    def _open(self, connection: duckdb.DuckDBPyConnection, runner: str, schema: TableSchema[Any]) -> None:
        table = BookkeepingTable(schema)
        stored = connection.execute(
            "SELECT runner, shape FROM hw.tables WHERE name = ? AND version = ?", [schema.name, schema.version]
        ).fetchone()
        if stored is None:
            shape = json.encode(schema.shape).decode()
            connection.execute(
                "INSERT INTO hw.tables VALUES (?, ?, ?, ?)", [schema.name, schema.version, runner, shape]
            )
            connection.execute(table.definition)
        else:
            refuse_another_runner(schema, self.path, runner, stored[0])
            refuse_changed_shape(schema, json.decode(stored[1], type=dict[str, str]))
        self._tables[schema.name, schema.version] = table

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        elsewhere = self._elsewhere
        turn = nullcontext() if elsewhere is None else elsewhere.turn(self.database)
        with self._lock, self.gate.entered(), turn:
            connection = self._writer
            with translated(self.path):
                connection.execute("BEGIN")
            done = False
            try:
                if elsewhere is None:
                    yield connection
                else:
                    recorder = elsewhere.recorder(connection)
                    yield cast("duckdb.DuckDBPyConnection", recorder)  # of which it has what is used in a transaction
                    elsewhere.write_down(recorder)
                with translated(self.path):
                    connection.execute("COMMIT")
                done = True
            finally:
                if not done:
                    connection.execute("ROLLBACK")
            if elsewhere is not None:
                elsewhere.committed()

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A transaction of bookkeeping."""
        with self._transaction() as connection, translated(self.path):
            yield connection


class ViewLoading:
    """`Loading` on the writing connection. `connection`: for a view's own statements, in the transaction."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: Callable[[TableSchema[Any]], BookkeepingTable],
        path: str,
    ) -> None:
        self.connection, self._table, self._path = connection, table, path

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        with translated(self._path):
            return self._table(table).load(self.connection, keys)

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        with translated(self._path):
            self._table(table).save(self.connection, rows)

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        with translated(self._path):
            self._table(table).delete(self.connection, keys)


def connected(path: str) -> duckdb.DuckDBPyConnection:
    """Raises: duckdb.Error."""
    return duckdb.connect(path, config={"autoinstall_known_extensions": "false"})


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turns DuckDB's errors into ours."""
    try:
        yield
    except duckdb.Error as error:
        raise in_our_words(error, path) from error


def in_our_words(error: duckdb.Error, path: str) -> HeadwaterError:
    if isinstance(error, duckdb.IOException) and "lock" in str(error):
        return Taken(
            f"another process maintains the views in {Path(path).name}, which belongs to one process at a time: {error}"
        )
    if isinstance(error, duckdb.InvalidInputException) and "has been locked" in str(error):
        return Taken(f"{path} is open in this process already: {error}")
    if isinstance(error, duckdb.IOException) and "not a valid DuckDB" in str(error):
        return Misuse(
            f"{path} is no file of DuckDB, or it is damaged: if views were in it, delete it, it is made again from the "
            "log; else give views a file of their own"
        )
    if any(text in str(error) for text in OF_DAMAGE):
        return Unavailable(f"{path} is damaged: delete it, and {path}.wal, they are made again from the log ({error})")
    return Unavailable(f"{path}: {error}")
