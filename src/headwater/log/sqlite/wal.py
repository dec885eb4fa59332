"""Keeping the write-ahead log short when it never gets a pause.

SQLite moves its content into the database by itself, after a commit, and begins it anew when a writer finds all of
it moved. While several processes write without a break, that moment never comes and the file grows and grows. So,
past a length, one writer holds the others back until it is done.
"""

from __future__ import annotations

import os
import sqlite3

from headwater.environment import Environment

_LOOK_EVERY_S = 1.0
_TOO_LONG_BYTES = 64_000_000
_WAIT_MS = 100


class WriteAheadLog:
    """Looks at the length now and then. Used by one thread at a time.

    Arguments: path: of the database; environment: the clock.
    """

    def __init__(self, path: str, environment: Environment) -> None:
        self._path, self._environment = f"{path}-wal", environment
        self._next_look_s = 0.0

    def keep_short(self, connection: sqlite3.Connection) -> None:
        """Moves all of a log that grew too long; called before a transaction. Where readers or another writer are in
        the way for longer than a moment, a later call does it."""
        now_s = self._environment.monotonic_s()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + _LOOK_EVERY_S
        if os.path.exists(self._path) and os.path.getsize(self._path) > _TOO_LONG_BYTES:
            connection.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute("PRAGMA busy_timeout = 0")
