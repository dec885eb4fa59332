"""The store in memory: for tests and for trying things out. Gone with the process.

It is the SQLite store on a database in memory, so SQL, types and refusals are the same ones; readers take
turns with the writer instead of reading beside it.
"""

from __future__ import annotations

from headwater.stores.sqlite import MEMORY, SqliteStore


class MemoryStore(SqliteStore):
    """A `Store` that keeps nothing after `close`."""

    def __init__(self) -> None:
        super().__init__(MEMORY)
