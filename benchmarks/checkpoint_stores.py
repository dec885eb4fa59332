"""Three embedded stores as a local checkpoint would use them: batches of rows with a position, reads by key.

What was committed must survive the death of its process, and a batch is there whole or not at all. After a power cut
there may be an older copy, since the log has the rest, but a whole one. So SQLite and RocksDB write in order without
waiting for the disk, and LMDB, which keeps no log of its writes, waits for it at each batch. `lmdb_unsafe` does not: a
power cut may ruin its file without anybody noticing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import lmdb
import rocksdict

BOUND_BYTES = 1 << 32
ROWS = 500
"""So many rows go into one SQLite statement: it runs without Python's lock, which is taken back once, not per row."""

_POSITION = b"\x00position"  # before every key


class Store(Protocol):
    def write(self, rows: Mapping[bytes, bytes], position: int) -> None:
        """All of it or nothing."""
        ...

    def get(self, key: bytes) -> bytes | None: ...

    def position(self) -> int:
        """That of the last batch; 0: there was none."""
        ...

    def close(self) -> None: ...


class Sqlite:
    """Arguments: directory: an existing one."""

    def __init__(self, directory: Path) -> None:
        self._rows = sqlite3.connect(directory / "states.db", isolation_level=None)
        self._rows.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000;"
            "CREATE TABLE IF NOT EXISTS stands (only INTEGER PRIMARY KEY, position INTEGER);"
            "CREATE TABLE IF NOT EXISTS states (key BLOB PRIMARY KEY, value BLOB);"
        )

    def write(self, rows: Mapping[bytes, bytes], position: int) -> None:
        pairs = sorted(rows.items())
        self._rows.execute("BEGIN IMMEDIATE")
        for first in range(0, len(pairs), ROWS):
            part = pairs[first : first + ROWS]
            places = ",".join(["(?,?)"] * len(part))
            self._rows.execute(
                f"INSERT INTO states VALUES {places} ON CONFLICT DO UPDATE SET value = excluded.value",
                [one for pair in part for one in pair],
            )
        self._rows.execute("REPLACE INTO stands VALUES (0, ?)", (position,))
        self._rows.execute("COMMIT")

    def get(self, key: bytes) -> bytes | None:
        found = self._rows.execute("SELECT value FROM states WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def position(self) -> int:
        found = self._rows.execute("SELECT position FROM stands").fetchone()
        return 0 if found is None else found[0]

    def close(self) -> None:
        self._rows.close()


class Lmdb:
    """Arguments: directory: an existing one; sync: whether it waits for the disk."""

    def __init__(self, directory: Path, sync: bool = True) -> None:
        self._rows = lmdb.open(str(directory), map_size=BOUND_BYTES, sync=sync, metasync=False)

    def write(self, rows: Mapping[bytes, bytes], position: int) -> None:
        with self._rows.begin(write=True) as transaction:
            transaction.cursor().putmulti(sorted(rows.items()))
            transaction.put(_POSITION, b"%d" % position)

    def get(self, key: bytes) -> bytes | None:
        with self._rows.begin() as transaction:
            found: bytes | None = transaction.get(key)
            return found

    def position(self) -> int:
        return int(self.get(_POSITION) or b"0")

    def close(self) -> None:
        self._rows.close()


class Rocksdb:
    """Arguments: directory: an existing one."""

    def __init__(self, directory: Path) -> None:
        settings = rocksdict.Options(raw_mode=True)
        settings.create_if_missing(True)
        self._rows = rocksdict.Rdict(str(directory / "states"), settings)

    def write(self, rows: Mapping[bytes, bytes], position: int) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows.items():
            batch.put(key, value)
        batch.put(_POSITION, b"%d" % position)
        self._rows.write(batch)

    def get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._rows.get(key)
        return found

    def position(self) -> int:
        return int(self.get(_POSITION) or b"0")

    def close(self) -> None:
        self._rows.close()


STORES: Mapping[str, Callable[[Path], Store]] = {
    "sqlite": Sqlite,
    "lmdb": Lmdb,
    "lmdb_unsafe": partial(Lmdb, sync=False),
    "rocksdb": Rocksdb,
}
