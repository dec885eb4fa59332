"""The file: its tables, how it is made and recognised, and how a connection to it is opened.

- `records` holds every record, by place (see `records`); `records_by_key` finds the records of one entity.
- `latest` holds the records of compacted topics, one row per key: a newer record takes the older one's row. To
  delete and insert instead would change eight pages more for each command that an owner carries out.
- `counters` has a row per partition: the first kept offset and the next one.
- `positions`, `members` and `leases` belong to consumer groups. A lease says who owns a partition; its epoch grows
  with every change of owner, and a transaction that moves positions checks it.
- `log` is one row: the file's own id, and a number that grows with every change of a membership or a lease.
"""

from __future__ import annotations

import os
import sqlite3
import time

from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.log.sqlite import alive
from headwater.log.sqlite.faults import explain, is_busy

APPLICATION_ID = 0x68774C67  # "hwLg", as `file` and the SQLite shell show it
SCHEMA_VERSION = 1

# A single command changes about five pages, each written whole to the write-ahead log: with 8192 a caller who waits
# for every one gets 10 % less done, and many commands at a time go only 3 % faster.
_PAGE_BYTES = 4096
_CHECKPOINT_PAGES = 4000  # 16 MB: one commit in hundreds pays for it
_READERS_PATIENCE_MS = 10_000
_OLDEST_SQLITE = (3, 35, 0)  # RETURNING

_TABLES = f"""
CREATE TABLE log (id TEXT NOT NULL, group_changes INTEGER NOT NULL);
CREATE TABLE topics (
    name TEXT PRIMARY KEY, id TEXT NOT NULL, first_slot INTEGER NOT NULL, partitions INTEGER NOT NULL,
    retention_ms INTEGER, compacted INTEGER NOT NULL, log_time INTEGER NOT NULL);
CREATE TABLE counters (slot INTEGER PRIMARY KEY, first INTEGER NOT NULL, next INTEGER NOT NULL);
CREATE TABLE records (
    place INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, key BLOB, headers BLOB, value BLOB);
CREATE INDEX records_by_key ON records (key) WHERE key IS NOT NULL;
CREATE TABLE latest (
    slot INTEGER NOT NULL, key BLOB NOT NULL, place INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, headers BLOB,
    value BLOB, UNIQUE (slot, key));
CREATE UNIQUE INDEX latest_by_place ON latest (place);
CREATE TABLE positions (
    name TEXT, slot INTEGER, position INTEGER NOT NULL, PRIMARY KEY (name, slot)) WITHOUT ROWID;
CREATE TABLE members (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, topics TEXT NOT NULL, heartbeat_ms INTEGER NOT NULL,
    session_ms INTEGER NOT NULL);
CREATE TABLE leases (
    name TEXT, slot INTEGER, owner TEXT, epoch INTEGER NOT NULL, PRIMARY KEY (name, slot)) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


class File:
    """The database file of one log.

    Arguments: path; patience_s: how long to wait for another process's write lock before giving up.
    """

    def __init__(self, path: str, patience_s: float) -> None:
        if not path or path == ":memory:":
            raise Misuse("a log on SQLite needs the path of a file; for one in memory use memory://")
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise Misuse(
                f"this Python has SQLite {sqlite3.sqlite_version}; a log needs {_OLDEST_SQLITE[0]}."
                f"{_OLDEST_SQLITE[1]} or later: use a newer Python"
            )
        self.path, self.patience_s = path, patience_s
        self.place = os.path.realpath(path)  # by whatever name, wherever the process goes afterwards

    def open(self, environment: Environment) -> str:
        """Makes the file, or checks that it is one of ours. Returns the log's id.

        Raises: Misuse, Unavailable, naming the file.
        """
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                return self._open(environment)
            except sqlite3.Error as error:
                # Several processes may make the file at the same time; the change to WAL does not queue.
                if not is_busy(error) or time.monotonic() > deadline:
                    raise explain(error, self.path) from error
                time.sleep(0.01)

    def _open(self, environment: Environment) -> str:
        connection = self._connect()
        try:
            if not self._recognise(connection):
                connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            # Also where nothing is to be made: a file that cannot be written is refused now, not at the first
            # record.
            connection.execute("BEGIN IMMEDIATE")
            if not self._recognise(connection):
                for statement in _TABLES.strip().split(";\n"):
                    connection.execute(statement)
                connection.execute("INSERT INTO log VALUES (?, 0)", [environment.new_id()])
            connection.execute("COMMIT")
            (log_id,) = connection.execute("SELECT id FROM log").fetchone()
            return str(log_id)
        finally:
            connection.close()

    def _recognise(self, connection: sqlite3.Connection) -> bool:
        """Whether the file is a log of ours; False for an empty one."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application == APPLICATION_ID:
            if version > SCHEMA_VERSION:
                raise Misuse(
                    f"the log {self.path} was made by a newer headwater (schema {version}, this one knows "
                    f"{SCHEMA_VERSION}): upgrade headwater"
                )
            return True
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application or tables:
            raise Misuse(
                f"{self.path} is an SQLite database of another program, not a log: "
                "give the path of a log, or of a file that is not there"
            )
        return False

    def connect(self, *, writes: bool = False) -> sqlite3.Connection:
        """A connection, usable from any thread as long as only one uses it at a time."""
        try:
            connection = self._connect()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            if writes:
                # Waiting for the write lock is done where it is taken (see `commits`): SQLite's own waiting
                # doubles its pauses up to 100 ms, in which seven other processes pass by.
                connection.execute("PRAGMA busy_timeout = 0")
            return connection
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self.place, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"the log {self.path} cannot be opened: look at the path and its permissions ({error})"
            ) from error
        connection.execute(f"PRAGMA busy_timeout = {_READERS_PATIENCE_MS}")
        alive.teach(connection, self.place)
        return connection
