"""The state of views in a file of SQLite, which belongs to one process as long as that has it open."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from uuid import uuid4

from headwater.errors import Misuse, Unavailable
from headwater.stores.sqlite_files import translated
from headwater.views.elsewhere_port import FORMAT, Changes, Lost, Piece

APPLICATION = 0x68775653  # "hwVS" in the file's header
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS hw_view_states (name TEXT PRIMARY KEY, owner TEXT, commits INTEGER)",
    "CREATE TABLE IF NOT EXISTS hw_view_objects (state TEXT, name TEXT, definition TEXT, PRIMARY KEY (state, name))"
    " WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS hw_view_pieces (state TEXT, object TEXT, weight INTEGER, content BLOB)",
    "CREATE INDEX IF NOT EXISTS hw_view_pieces_object ON hw_view_pieces (state, object)",
)


class SqliteState:
    """A `StateStore`. Arguments: path; name: of the app, whose state it is."""

    def __init__(self, path: str, name: str) -> None:
        self.place, self._name, self._owner = path, name, str(uuid4())
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def claim(self) -> int:
        try:
            with translated(self.place), ExitStack() as failing:
                connection = sqlite3.connect(self.place, timeout=0, isolation_level=None, check_same_thread=False)
                failing.callback(connection.close)
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                self._mark(connection)
                connection.execute(
                    "INSERT INTO hw_view_states VALUES (?, ?, 0)"
                    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner",
                    [self._name, self._owner],
                )
                [(commits,)] = connection.execute(
                    "SELECT commits FROM hw_view_states WHERE name = ?", [self._name]
                ).fetchall()
                connection.execute("COMMIT")
                failing.pop_all()
        except Unavailable as error:
            if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise Unavailable(
                    f"another process maintains the views in {self.place}, which belongs to one process at a time"
                ) from error
            raise
        self._connection, self._inode = connection, os.stat(self.place).st_ino
        return int(commits)

    def _mark(self, connection: sqlite3.Connection) -> None:
        """Marks a new file as state of views, and refuses one that is something else."""
        [(application,)] = connection.execute("PRAGMA application_id").fetchall()
        [(version,)] = connection.execute("PRAGMA user_version").fetchall()
        [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if application != APPLICATION and (application or tables):
            raise Misuse(f"{self.place} is a SQLite file that holds no views: give views a file of their own")
        if application == APPLICATION and version != FORMAT:
            raise Misuse(
                f"{self.place} was written by another version of headwater (format {version}, this one reads {FORMAT})"
                ": delete it, it is made again from the log"
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        for statement in SCHEMA:
            connection.execute(statement)

    def commits(self) -> int:
        with self._lock, translated(self.place), closing(self._open().cursor()) as cursor:
            self._refuse_lost()
            [(commits,)] = cursor.execute("SELECT commits FROM hw_view_states WHERE name = ?", [self._name]).fetchall()
            return int(commits)

    def definitions(self) -> dict[str, str]:
        with self._lock, translated(self.place):
            sql = "SELECT name, definition FROM hw_view_objects WHERE state = ?"
            return dict(self._open().execute(sql, [self._name]).fetchall())

    def pieces(self, table: str) -> Iterator[Piece]:
        with self._lock, translated(self.place):
            sql = "SELECT weight, content FROM hw_view_pieces WHERE state = ? AND object = ?"
            for weight, content in self._open().execute(sql, [self._name, table]):
                yield Piece(table, weight, content)

    def commit(self, number: int, changes: Changes) -> None:
        with self._lock, translated(self.place):
            connection = self._open()
            self._refuse_lost()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(connection, changes)
                moved = connection.execute(
                    "UPDATE hw_view_states SET commits = ? WHERE name = ? AND owner = ? AND commits = ?",
                    [number + 1, self._name, self._owner, number],
                ).rowcount
                assert moved == 1, "nobody else can write to the file"
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _write(self, connection: sqlite3.Connection, changes: Changes) -> None:
        names = [(self._name, name) for name in changes.gone]
        connection.executemany("DELETE FROM hw_view_objects WHERE state = ? AND name = ?", names)
        names += [(self._name, name) for name in changes.emptied]
        connection.executemany("DELETE FROM hw_view_pieces WHERE state = ? AND object = ?", names)
        connection.executemany(
            "INSERT OR REPLACE INTO hw_view_objects VALUES (?, ?, ?)",
            [(self._name, *one) for one in changes.defined.items()],
        )
        connection.executemany(
            "INSERT INTO hw_view_pieces VALUES (?, ?, ?, ?)", [(self._name, *piece) for piece in changes.pieces]
        )

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable(f"the views in {self.place} are closed")
        return self._connection

    def _refuse_lost(self) -> None:
        """Raises: Lost: the file is gone, or another one is in its place."""
        try:
            there = os.stat(self.place).st_ino == self._inode
        except FileNotFoundError:
            there = False
        if not there:
            raise Lost(f"{self.place} was removed or exchanged: start this process again, it is made from the log")
