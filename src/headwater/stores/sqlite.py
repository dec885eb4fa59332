"""The store in a file of SQLite: read models, beside the log's file and never in it.

    apply: BEGIN IMMEDIATE -> compare positions -> load, work, save -> positions -> COMMIT
    row, rows, query: connections that can only read

BEGIN IMMEDIATE takes the file's write lock before the first look, so what a runner loads cannot be changed by
another process before it commits. WAL lets readers go on meanwhile. `synchronous=NORMAL`: a commit costs no
fsync; after a power cut the last commits may be gone, but whole and in order, so rows and positions fall back
together and the events are applied again from the log, which is what keeps the data (and is written with
FULL). The file needs no backup.

A table is kept per version as `<name>_v<version>`; a view `<name>` shows one of them (see `sqlite_switching`).
Other programs (sqlite3, Datasette) can read `<name>_v<version>`; what compares or sorts decimals, the view
included, needs the collation that only headwater's connections have, and says so there.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from msgspec import json

from headwater.errors import Unavailable
from headwater.log.port import Positions, TopicPartition
from headwater.stores.bound import OtherLog, another_file
from headwater.stores.cells import utc_text
from headwater.stores.port import (
    Answer,
    Key,
    RunnerNote,
    TableSchema,
    refuse_another_runner,
    refuse_changed_shape,
    refuse_stale,
)
from headwater.stores.sqlite_files import (
    FileReaders,
    OneConnection,
    Readers,
    connect,
    cursors_watched,
    translated,
)
from headwater.stores.sqlite_loading import SqliteLoading
from headwater.stores.sqlite_queries import ask
from headwater.stores.sqlite_switching import carry_out, check_switch, columns_of, show, shown_by
from headwater.stores.sqlite_tables import (
    SCHEMA,
    SqliteTable,
    match_indexes,
    quoted,
    stored_positions,
    stored_shape,
    stored_view,
    table_name,
)
from headwater.stores.switching import Shown, Switch

R = TypeVar("R")
MEMORY = ":memory:"


class SqliteStore:
    """A `Store` in one file.

    Arguments: path: of the file, made when missing; busy_s: how long, in seconds, a write waits for other
    processes.
    Raises: Misuse: the file is something else. Unavailable: it cannot be opened or locked.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_s: float = 20.0) -> None:
        self._path = os.fspath(path)
        self._lock = threading.RLock()
        self._tables: dict[tuple[str, int], SqliteTable] = {}
        self._writer = connect(self._path, busy_s)
        with self._writing():
            for statement in SCHEMA:
                self._writer.execute(statement)
        self._variables = min(32768, self._writer.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))
        self._readers: Readers = (
            OneConnection(self._writer, self._lock) if self._path == MEMORY else FileReaders(self._path, busy_s)
        )

    @property
    def place(self) -> str:
        """See `PlacedStore`."""
        return self._path

    def bind(self, log_id: str) -> None:
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO hw_store VALUES ('log', ?)", (log_id,))
            [(stored,)] = connection.execute("SELECT value FROM hw_store WHERE name = 'log'").fetchall()
        if stored != log_id:
            raise OtherLog(self._path, stored, log_id, freed="delete this file", example=another_file(self._path))

    def open_tables(self, runner: str, schemas: Sequence[TableSchema[Any]], code: str = "") -> str:
        with self._writing() as connection:
            opened = [self._open(connection, runner, schema) for schema in schemas]
            begun = connection.execute("SELECT 1 FROM hw_positions WHERE runner = ? LIMIT 1", (runner,)).fetchone()
            if begun is None:
                connection.execute("INSERT OR REPLACE INTO hw_code VALUES (?, ?)", (runner, code))
            else:
                connection.execute("INSERT OR IGNORE INTO hw_code VALUES (?, ?)", (runner, code))
            [(stored,)] = connection.execute("SELECT code FROM hw_code WHERE runner = ?", (runner,)).fetchall()
        self._tables.update({(table.schema.name, table.schema.version): table for table in opened})
        return str(stored)

    def forget(self, runner: str) -> None:
        with self._writing() as connection:
            tables = connection.execute("SELECT name, version FROM hw_tables WHERE runner = ?", (runner,)).fetchall()
            for name, version in tables:
                connection.execute(f"DROP TABLE {table_name(name, version)}")
                view = stored_view(connection, name)
                if view is not None and view.endswith(f" FROM {table_name(name, version)}"):
                    connection.execute(f"DROP VIEW {quoted(name)}")
                self._tables.pop((name, version), None)
            for table in ("hw_tables", "hw_positions", "hw_code"):
                connection.execute(f"DELETE FROM {table} WHERE runner = ?", (runner,))

    def shown(self, name: str) -> Shown | None:
        with self._reading() as connection:
            return shown_by(connection, name)

    def switch(self, switch: Switch, work: Callable[[SqliteLoading], None]) -> None:
        with self._transaction() as connection:
            with translated(self._path):
                check_switch(connection, switch, self._path)
            work(SqliteLoading(connection, self.table, self._path))
            with translated(self._path):
                carry_out(connection, switch, self._path)

    def scan(self, name: str, version: int) -> Answer:
        with self._reading() as connection:
            columns = columns_of(connection, name, version, self._path)[1]
        return self.query(f"SELECT {', '.join(map(quoted, columns))} FROM {table_name(name, version)}")

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        with self._reading() as connection:
            return stored_positions(connection, runner)

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[SqliteLoading], None]) -> None:
        with self._transaction() as connection:
            with translated(self._path):
                stored = stored_positions(connection, runner)
            refuse_stale(runner, start, to, stored)
            with cursors_watched(connection, self._path):
                work(SqliteLoading(connection, self.table, self._path))
            with translated(self._path):
                connection.executemany(
                    "INSERT INTO hw_positions VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
                    [(runner, *partition, position) for partition, position in to.items()],
                )

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        found = self.table(table)
        with self._reading() as connection:
            return found.load(connection, [key]).get(key)

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
        return ask(self._readers, self._path, sql, args, timeout_s)

    def note(self, runner: str, note: RunnerNote) -> None:
        partitions = json.encode(sorted(note.partitions)).decode()
        with self._writing() as connection:
            if note.state == "stopped" and note.failure is None:
                connection.execute("DELETE FROM hw_workers WHERE runner = ? AND worker = ?", (runner, note.worker))
                return
            connection.execute(
                "INSERT OR REPLACE INTO hw_workers VALUES (?, ?, ?, ?, ?, ?)",
                (runner, note.worker, note.state, note.failure, utc_text(note.heartbeat), partitions),
            )

    def notes(self, runner: str) -> list[RunnerNote]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT worker, state, failure, heartbeat, partitions FROM hw_workers WHERE runner = ?"
                " ORDER BY heartbeat DESC",
                (runner,),
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

    def close(self) -> None:
        with self._lock:
            self._readers.close()
            self._writer.close()

    def table(self, schema: TableSchema[Any]) -> SqliteTable:
        """The table of a schema that somebody has opened in this file. Raises: Unavailable: nobody has.
        Misuse: with another shape."""
        found = self._tables.get((schema.name, schema.version))
        if found is not None and found.schema.row is schema.row:
            return found
        with self._reading() as connection:
            stored = stored_shape(connection, schema)
        if stored is None:
            raise Unavailable(f"{self._path} has no table {schema.title} yet: start the process that runs it")
        refuse_changed_shape(schema, stored[1])
        table = self._tables[schema.name, schema.version] = SqliteTable(schema, self._variables)
        return table

    def _open(self, connection: sqlite3.Connection, runner: str, schema: TableSchema[Any]) -> SqliteTable:
        stored = stored_shape(connection, schema)
        table = SqliteTable(schema, self._variables)
        if stored is None:
            shape = json.encode(schema.shape).decode()
            connection.execute(
                "INSERT INTO hw_tables VALUES (?, ?, ?, ?)", (schema.name, schema.version, runner, shape)
            )
            connection.execute(table.definition)
        else:
            refuse_another_runner(schema, self._path, runner, stored[0])
            refuse_changed_shape(schema, stored[1])
        match_indexes(connection, schema)
        if stored_view(connection, schema.name) is None:
            show(connection, schema.name, schema.version, table.columns.names)
        return table

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._writer
            with translated(self._path):
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                with translated(self._path):
                    connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # not committed; SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction with nothing but the store's own statements in it."""
        with self._transaction() as connection, translated(self._path):
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = self._readers.take()
        try:
            with translated(self._path):
                yield connection
        finally:
            self._readers.give(connection)
