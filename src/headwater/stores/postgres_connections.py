"""Connections to PostgreSQL, kept while nobody uses them, and the server's errors in our words.

Each connection writes with `synchronous_commit=off`: a commit does not wait for the disk. After a crash of the server
the last commits may be gone, but whole and in order, so rows and positions fall back together and the events are
applied again from the log. (One that moves no position would be gone unnoticed, so it waits.) The server notices a
client that has vanished (TCP keep-alive) and lets go of its locks.
"""

from __future__ import annotations

import re
import select
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.stores.places import WrongPlaces
from headwater.stores.port import word_of_sql
from headwater.stores.postgres_cells import argument

OLDEST_SERVER = 140000
KEPT = 8
LOCK_S = 20
Connection = psycopg.Connection[tuple[Any, ...]]

DEFAULTS: Mapping[str, object] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "headwater",
}
SETTINGS = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "cursor_tuple_fraction": "1.0",
    "synchronous_commit": "off",
    "lock_timeout": f"{LOCK_S}s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
READING = ("SELECT", "WITH", "VALUES", "TABLE", "(")


class Connections:
    """Connections to one database, as many as are used at once. Thread-safe.

    Arguments: url: as libpq reads it, with a password or without.
    Raises: Misuse: it is no address, or the database cannot hold read models.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.place = place_of(url)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False
        self._checked = False

    def take(self) -> Connection:
        """Raises: Unavailable: the server cannot be reached, or refuses."""
        while True:
            with self._lock:
                if self._closed:
                    raise Misuse("the store is closed")
                if not self._idle:
                    break
                connection = self._idle.pop()
            if not _ended(connection):
                return connection
            connection.close()
        return self._connect()

    def give(self, connection: Connection, *, doubtful: bool = False) -> None:
        """Takes a connection back. Arguments: doubtful: whether something went wrong on it; it is closed then."""
        idle = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            if idle and not doubtful and not self._closed and len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> Connection:
        given = conninfo_to_dict(self._url)
        options: Any = {name: value for name, value in DEFAULTS.items() if name not in given}
        with translated(self.place):
            connection = psycopg.connect(self._url, autocommit=True, cursor_factory=psycopg.RawCursor, **options)
            try:
                settings = "; ".join(f"SET {name} = '{value}'" for name, value in SETTINGS.items())
                connection.execute(settings)
                for name in ("json", "jsonb"):
                    connection.adapters.register_loader(name, TextLoader)
                self._check(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _check(self, connection: Connection) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise Misuse(f"{self.place} is encoded in {encoding}: make a database WITH ENCODING 'UTF8'")
        version = connection.info.server_version
        if version < OLDEST_SERVER:
            raise Misuse(f"{self.place} is PostgreSQL {version // 10000}: read models need 14 or later")


def _ended(connection: Connection) -> bool:
    """Whether the server has ended an idle connection: there is something to read then."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def place_of(url: str) -> str:
    """An address without its password. Raises: Misuse: it is none."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        # libpq repeats what it does not understand, which may be a part of the password
        option = re.search(r'invalid (URI query parameter|connection option): "[^"]*"|invalid port number', str(error))
        words = option[0] if option else "write postgresql://user:password@host:5432/database, with %40 for an @ in it"
        raise Misuse(f"the store's address is none of PostgreSQL: {words}") from None
    user, host, database = (parts.get(name) for name in ("user", "host", "dbname"))
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql://{f'{user}@' if user else ''}{host or ''}{port}/{database or ''}"


@contextmanager
def translated(place: str, sql: str | None = None) -> Iterator[None]:
    """Turns PostgreSQL's errors into ours. Arguments: sql: the query of a user, if this is one."""
    try:
        yield
    except psycopg.Error as error:
        raise in_our_words(error, place, sql) from error


@contextmanager
def cursors_watched(connection: Connection, place: str) -> Iterator[None]:
    """Around handlers that may use a cursor of the transaction. Raises: Unavailable: what has failed was the server and
    not the handler. Misuse: the handler has ended the transaction."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, psycopg.OperationalError):
            cause = cause.__cause__
        if cause is None or isinstance(error, Unavailable):
            raise
        raise in_our_words(cause, place, None) from cause
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise Misuse(f"a handler has ended the transaction of {place}: leave COMMIT and ROLLBACK to headwater")


def in_our_words(error: psycopg.Error, place: str, sql: str | None) -> HeadwaterError:
    words = error.diag.message_primary or str(error).strip()
    if "password authentication failed" in words or "no password supplied" in words:
        return Unavailable(f"{place} does not accept the user or the password: {words}")
    match error:
        case errors.LockNotAvailable():
            return Unavailable(f"another transaction in {place} has kept rows locked for {LOCK_S} s; it is tried again")
        case errors.DiskFull():
            return Unavailable(f"{place} cannot grow: {words}; nothing of this write was kept")
        case errors.ReadOnlySqlTransaction() if sql is None:
            return Unavailable(f"{place} can only be read now (a standby?): {words}; it is tried again")
        case errors.ReadOnlySqlTransaction():
            return Misuse(f"a query can only read: {words}")
    if sql is None:
        if isinstance(error, (psycopg.DataError, errors.ProgramLimitExceeded)):
            return Misuse(f"a value cannot be kept in {place}: {words}")
        return Unavailable(f"{place}: {words}")
    if isinstance(error, psycopg.OperationalError) and not isinstance(error, errors.QueryCanceled):
        return Unavailable(f"{place}: {words}")
    if not re.sub(r"^(\s|--[^\n]*\n|/\*.*?\*/)+", "", sql, flags=re.S).upper().startswith(READING):
        return Misuse(f"a query is one SELECT statement and can only read: {words}")
    return Misuse(f"PostgreSQL does not understand the query: {words}{_hint(words)}")


def _hint(words: str) -> str:
    near = re.search(r'syntax error at or near "([A-Za-z_]+)"', words)
    return "" if near is None else word_of_sql(near[1])


_TOKEN = re.compile(
    r"""\b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/
      | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
      | :: | \?\? | (?P<place>\?) | (?<![\w:]):(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)


def with_places(sql: str, args: Sequence[object] | Mapping[str, object]) -> tuple[str, list[Any]]:
    """A query with PostgreSQL's own `$1` where it has `?` or `:name`, as for every store in SQL, and its values.

    Without arguments, and with `$1` in it, a query stays as it is. Beside arguments the operator `?` is written `??`.
    Raises: Misuse: other arguments than places.
    """
    if isinstance(args, Mapping):
        names: dict[str, int] = {}

        def numbered(found: re.Match[str]) -> str:
            name = found["name"]
            return found[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

        changed = _TOKEN.sub(numbered, sql)
        missing = [name for name in names if name not in args]
        if missing:
            raise Misuse(f"the query asks for :{missing[0]}, and there is no such argument")
        return changed, [argument(args[name]) for name in names]
    if not args:
        return sql, []
    count = 0

    def next_place(found: re.Match[str]) -> str:
        nonlocal count
        if found["place"] is None:
            return "?" if found[0] == "??" else found[0]
        count += 1
        return f"${count}"

    changed = _TOKEN.sub(next_place, sql)
    if count and count != len(args):
        raise WrongPlaces(count, len(args))
    return changed if count else sql, [argument(value) for value in args]
