"""The states of one partition in a file on this machine: a copy of the first part of `-state`.

The file holds what a reader of committed records has met up to a position, and that position, in one transaction: so
it is never ahead of the log, and never holds half of anything that the log holds whole. It is written without waiting
for the disk, but in order (`synchronous = NORMAL`): after a power cut it is an older copy, and the log has the rest.

It belongs to one log, one topic, one partition count and one state schema, which it names; what it holds for another
one, or what is damaged, is thrown away and read again. One process at a time uses a file.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headwater.errors import Unavailable

logger = logging.getLogger("headwater.owners")

FORMAT = 1

ROWS = 500
"""So many rows go into one statement: it runs without Python's lock, which is taken back once and not per row."""

LOOKED_UP = 256
"""So many keys are looked up at once: a third of the work of as many statements."""

CACHE_KB = 1024

# The table keeps its rows in the order in which they came, with an index beside them: that is a third of the work of a
# table in the order of its keys, of which each row of a batch changes another page.
_SCHEMA = """
PRAGMA synchronous = OFF;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE IF NOT EXISTS about (
    only INTEGER PRIMARY KEY CHECK (only = 0), binding TEXT NOT NULL, position INTEGER NOT NULL, marks TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS states (key BLOB PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL);
COMMIT;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 4000;
"""
# Each is prepared once; for a number of keys between two of them, the last key is asked for several times.
_SELECTS = {
    count: "SELECT key, value, sum FROM states WHERE key IN ({})".format(",".join("?" * count))
    for count in (16, 32, 64, 128, LOOKED_UP)
}
_SIZE = "page_count", "page_size"
_UPSERT = "INSERT INTO states VALUES {} ON CONFLICT DO UPDATE SET value = excluded.value, sum = excluded.sum"


class Marks(msgspec.Struct):
    """What state records say of their partition: the largest `commands`, `folded` and `begun`, and all schemas."""

    commands: int = 0
    folded: int = 0
    begun: int = -1
    schemas: set[str] = set()

    def with_(self, other: Marks) -> Marks:
        """What they say together."""
        return Marks(
            max(self.commands, other.commands),
            max(self.folded, other.folded),
            max(self.begun, other.begun),
            self.schemas | other.schemas,
        )


class Binding(msgspec.Struct, frozen=True):
    """What a file is a copy of.

    Arguments: log: its id; topic: the id of `-state`; partition; count: of partitions; schema: of the states.
    """

    log: str
    topic: str
    partition: int
    count: int
    schema: str
    format: int = FORMAT


class InUse(Exception):
    """Another process has the file."""


class Checkpoint:
    """A file, open. `get` and `get_all` may be called from another thread than the rest.

    Arguments: path; binding. `position`: every state record before it is here; `marks`: what they say.
    Raises: InUse. Unavailable: the file cannot be used. One that turns out to be damaged is removed when it is closed.
    """

    def __init__(self, path: Path, binding: Binding) -> None:
        self.path, self.position, self.marks = path.absolute(), 0, Marks()
        self._binding = msgspec.json.encode(binding).decode()
        self._damage: str | None = None
        self._connections: list[sqlite3.Connection] = []
        self._reading = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path.with_suffix(".lock"))
        except (OSError, sqlite3.OperationalError) as error:
            raise self._unusable(error) from error
        try:
            self._open()
        except BaseException:
            self._disconnect()
            self._lock.close()
            raise

    def get(self, key: bytes) -> bytes | None:
        """The newest record's value here. Raises: Unavailable: the file cannot be read."""
        with self._guarded(), self._reading:
            found = self._reader.execute("SELECT value, sum FROM states WHERE key = ?", (key,)).fetchone()
            return None if found is None else _checked(key, *found)

    def get_all(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """As `get`, for many keys; without those that are not here."""
        found: dict[bytes, bytes] = {}
        with self._guarded(), self._reading:
            for first in range(0, len(keys), LOOKED_UP):
                part = keys[first : first + LOOKED_UP]
                count = next(count for count in _SELECTS if count >= len(part))
                same = [part[-1]] * (count - len(part))
                for key, value, total in self._reader.execute(_SELECTS[count], [*part, *same]):
                    found[key] = _checked(key, value, total)
        return found

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values; for one who does not `take` meanwhile. Raises: Unavailable."""
        with self._guarded():
            for key, value, total in self._writer.execute("SELECT key, value, sum FROM states"):
                yield key, _checked(key, value, total)

    def all_within(self, limit_bytes: int) -> dict[bytes, bytes] | None:
        """All keys and values, if the file has at most so many bytes. Raises: Unavailable: it cannot be read."""
        with self._guarded(), self._reading:
            pages, page_bytes = (self._reader.execute(f"PRAGMA {one}").fetchone()[0] for one in _SIZE)
            if pages * page_bytes > limit_bytes:
                return None
            rows = self._reader.execute("SELECT key, value, sum FROM states").fetchall()
            return {key: _checked(key, value, total) for key, value, total in rows}

    def take(self, rows: Mapping[bytes, bytes], position: int, marks: Marks) -> None:
        """Adds what came before a position. Raises: Unavailable: nothing was added."""
        triples = [(key, value, _sum(key, value)) for key, value in sorted(rows.items())]
        about = self._binding, position, msgspec.json.encode(marks).decode()
        with self._guarded(), _transaction(self._writer) as writer:
            for first in range(0, len(triples), ROWS):
                part = triples[first : first + ROWS]
                places = ",".join(["(?,?,?)"] * len(part))
                writer.execute(_UPSERT.format(places), [one for triple in part for one in triple])
            writer.execute("REPLACE INTO about VALUES (0, ?, ?, ?)", about)
        self.position, self.marks = position, marks

    def wipe(self, why: str) -> None:
        """Begins anew, and says so in the log of the process."""
        self._disconnect()
        self._remove(why)
        self._connect()

    def close(self) -> None:
        """Leaves the file to others."""
        self._disconnect()
        if self._damage is not None:
            self._remove(self._damage)
        self._lock.close()

    def _open(self) -> None:
        try:
            self._connect()
            found = self._reader.execute("SELECT binding, position, marks FROM about").fetchone()
            if found is None:
                return
            if found[0] != self._binding:
                self.wipe(f"it belongs to {found[0]}, and {self._binding} is wanted")
                return
            self.position, self.marks = found[1], msgspec.json.decode(found[2], type=Marks)
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
            self.wipe(f"it is damaged: {error}")

    def _connect(self) -> None:
        self.position, self.marks = 0, Marks()
        writer = self._writer = _connected(self.path.as_uri())
        self._connections.append(writer)
        writer.executescript(_SCHEMA)
        reader = self._reader = _connected(f"{self.path.as_uri()}?mode=ro")
        self._connections.append(reader)

    def _disconnect(self) -> None:
        # The last one that closes may only read: else all that was written waited for the disk now.
        with self._reading:
            while self._connections:
                self._connections.pop(0).close()

    def _remove(self, why: str) -> None:
        logger.warning("%s is thrown away and read anew from the log: %s", self.path, why)
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        except sqlite3.DatabaseError as error:
            self._damage = f"it is damaged: {error}"
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the checkpoint {self.path} cannot be used: {error}; make room there, or choose another place with "
            "index_directory in the log's address, or with HEADWATER_CACHE"
        )


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=60)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    return connection


@contextmanager
def _transaction(rows: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    rows.execute("BEGIN IMMEDIATE")
    try:
        yield rows
        rows.execute("COMMIT")
    finally:
        if rows.in_transaction:
            rows.execute("ROLLBACK")


def _sum(key: bytes, value: bytes) -> int:
    """SQLite notices damage to its own pages only, not to what they hold."""
    return zlib.crc32(value, zlib.crc32(key))


def _checked(key: bytes, value: object, total: int) -> bytes:
    if not isinstance(value, bytes) or total != _sum(key, value):
        raise sqlite3.DatabaseError(f"the sum of {key!r} is wrong")
    return value


def _locked(path: Path) -> sqlite3.Connection:
    """A lock that is held until it is closed or the process ends; SQLite knows how on every platform. Raises: InUse."""
    lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise InUse(str(path)) from error
        raise
    return lock
