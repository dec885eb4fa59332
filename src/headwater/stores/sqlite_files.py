"""Connections to a store's file: one that writes, a few that only read, and SQLite's errors in our words.

A reading connection may do nothing but SELECT: it is opened read-only, and an authorizer refuses everything
that would leave the file (ATTACH) or change the connection (PRAGMA).
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Protocol, TypeVar
from urllib.parse import quote

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.stores.decimals import teach
from headwater.stores.places import told_by_sqlite
from headwater.stores.port import word_of_sql

E = TypeVar("E", bound=BaseException)
APPLICATION = 0x68775354  # "hwST" in the file's header: this file is a store of headwater
FORMAT = 1
KEPT_READERS = 8
STEPS = 20_000
"""Of SQLite's machine, after which a statement is asked whether it goes on: some hundred microseconds."""
REFUSALS = ("not authorized", "cannot modify")  # the latter: a read model is a view
OF_THE_FILE = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT}
)
"""Codes of errors that are nobody's mistake."""

READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
DESCRIBING = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info"})


def connect(path: str, busy_s: float) -> Connection:
    """The writing connection; makes the file when it is missing. Raises: Misuse, Unavailable."""
    with translated(path), ExitStack() as failing:
        connection = _open(path, busy_s)
        failing.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA legacy_alter_table = ON")  # renaming a table leaves views as they are
        _claim(connection, path)
        failing.pop_all()
        return connection


class Connection(sqlite3.Connection):
    """`refused`: whether its authorizer has refused something since that was last forgotten."""

    refused = False


def _open(name: str, busy_s: float, *, uri: bool = False) -> Connection:
    connection: Connection = sqlite3.connect(
        name,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=uri,
        factory=Connection,
    )
    teach(connection)
    return connection


def _claim(connection: sqlite3.Connection, path: str) -> None:
    """Marks a new file as a store, and refuses one that is something else."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        [(application,)] = connection.execute("PRAGMA application_id").fetchall()
        [(version,)] = connection.execute("PRAGMA user_version").fetchall()
        [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if application != APPLICATION and (application or tables):
            raise Misuse(f"{path} is a SQLite file that is no store of headwater: give read models a file of their own")
        if application == APPLICATION and version != FORMAT:
            raise Misuse(
                f"{path} was written by another version of headwater (format {version}, this one reads {FORMAT}): "
                "delete it, it is made again from the log"
            )
        if application != APPLICATION:  # to open a file must not change it
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class Readers(Protocol):
    """Connections that read."""

    streams: bool
    """Whether a connection may be kept while its caller reads on; if not, answers are fetched whole."""

    def take(self) -> Connection: ...

    def give(self, connection: Connection) -> None: ...

    def close(self) -> None: ...


class FileReaders:
    """Read-only connections to a file, as many as there are readers at once."""

    streams = True

    def __init__(self, path: str, busy_s: float) -> None:
        self._path, self._busy_s = path, busy_s
        self._place = os.path.realpath(path)  # wherever the process goes afterwards, as the connection that writes
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> Connection:
        with self._lock:
            if self._closed:
                raise Misuse("the store is closed")
            if self._idle:
                return self._idle.pop()
        with translated(self._path):
            connection = _open(f"file:{quote(self._place)}?mode=ro", self._busy_s, uri=True)
            connection.execute("PRAGMA query_only = ON")
            connection.set_authorizer(only_reading(connection, lambda: True))
            return connection

    def give(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < KEPT_READERS:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()


class OneConnection:
    """A database in memory is its only connection: reading takes turns with writing, on the writer's lock."""

    streams = False

    def __init__(self, connection: Connection, lock: threading.RLock) -> None:
        self._connection, self._lock = connection, lock
        self._reading = False
        connection.set_authorizer(only_reading(connection, lambda: self._reading))

    def take(self) -> Connection:
        self._lock.acquire()
        self._reading = True
        self._connection.execute("PRAGMA query_only = ON")
        return self._connection

    def give(self, connection: Connection) -> None:
        self._reading = False
        connection.execute("PRAGMA query_only = OFF")
        self._lock.release()

    def close(self) -> None:
        """Nothing of its own to close."""


class TimeLimit:
    """How long statements of a connection may take, from now until it is lifted; meanwhile Ctrl-C stops them too.

    Without it Python cannot act on a signal before SQLite is done. As a context it says what stopped a statement.
    Arguments: timeout_s: None for as long as they like.
    """

    def __init__(self, connection: Connection, timeout_s: float | None) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        connection.refused = False
        self._end = None if timeout_s is None else time.monotonic() + timeout_s
        connection.set_progress_handler(self._over, STEPS)

    def _over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def lift(self) -> None:
        self._connection.set_progress_handler(None, 0)

    def __enter__(self) -> None:
        """Begins to look."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_INTERRUPT and self._over():
            raise Unavailable(f"the query did not end within {self._timeout_s:g} s and was stopped") from error
        # What a signal raises while SQLite asks Python is lost there, and looks like a refusal of ours (whose code
        # is another one where a function was asked about).
        if code == sqlite3.SQLITE_INTERRUPT or ("not authorized" in str(error) and not self._connection.refused):
            raise KeyboardInterrupt from error


Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]


def only_reading(connection: Connection, reading: Callable[[], bool]) -> Authorizer:
    """Refuses to the connection, while `reading` says so, whatever is not a look at the tables."""

    def decide(action: int, first: str | None, second: str | None, _database: str | None, _by: str | None) -> int:
        if action in READING or not reading():
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA and first in DESCRIBING:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA and first == "query_only" and second == "ON":
            return sqlite3.SQLITE_OK
        connection.refused = True
        return sqlite3.SQLITE_DENY

    return decide


@contextmanager
def translated(path: str, sql: str | None = None) -> Iterator[None]:
    """Turns SQLite's errors into ours. Arguments: sql: the query of a user, if this is one."""
    try:
        yield
    except sqlite3.Error as error:
        raise in_our_words(error, path, sql) from error
    except (OverflowError, UnicodeEncodeError) as error:  # while values are bound
        raise Misuse(f"a value cannot be kept in {path}: {error}") from error


@contextmanager
def cursors_watched(connection: sqlite3.Connection, path: str) -> Iterator[None]:
    """Around handlers that may use a cursor of the transaction. Raises: Unavailable: what has failed was the file and
    not the handler. Misuse: the handler has ended the transaction."""
    try:
        yield
    except Exception as error:
        cause = first_cause(error, sqlite3.OperationalError)
        if cause is not None and getattr(cause, "sqlite_errorcode", 0) & 0xFF in OF_THE_FILE:
            raise in_our_words(cause, path, None) from cause
        raise
    if not connection.in_transaction:
        raise Misuse(f"a handler has ended the transaction of {path}: leave COMMIT and ROLLBACK to headwater")


def first_cause(error: BaseException, kind: type[E]) -> E | None:
    """The error of this kind that another one comes from, if any."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__cause__
    return found


def in_our_words(error: sqlite3.Error, path: str, sql: str | None) -> HeadwaterError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(f"another process keeps {path} locked: {error}; it is tried again")
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(f"{path} cannot grow, the disk is full: {error}; nothing of this write was kept")
    if code == sqlite3.SQLITE_NOTADB:
        return Misuse(f"{path} is not a SQLite database: give read models a file of their own")
    if code == sqlite3.SQLITE_CORRUPT:
        return Unavailable(f"{path} is damaged ({error}): delete it, it is made again from the log")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM):
        return Unavailable(f"{path} cannot be opened or written: {error}")
    if sql is None:
        return Unavailable(f"{path}: {error}")
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY) or any(w in str(error) for w in REFUSALS):
        return Misuse(f"a query can only read: {error}")
    if (wrong := told_by_sqlite(str(error))) is not None:
        return wrong
    return Misuse(f"SQLite does not understand the query: {error}{_hint(str(error))}")


def _hint(words: str) -> str:
    near = re.search(r'near "([A-Za-z_]+)": syntax error', words)
    return "" if near is None else word_of_sql(near[1])
