"""From an address to a store: `memory://`, `sqlite:///shop.models.db` or `postgresql://user@host/database`."""

from __future__ import annotations

import re

from headwater.errors import Misuse
from headwater.log.opening import sqlite_path
from headwater.stores.port import Store


def open_store(url: str) -> Store:
    """Opens a store of read models.

    Raises: Misuse: an address of no known form, or one whose package is not installed. Unavailable: the file cannot be
    used, or nothing answers there.
    """
    scheme = url.partition("://")[0]
    if scheme == "memory":
        from headwater.stores.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite":
        path = sqlite_path(url)
        from headwater.stores.sqlite import SqliteStore

        return SqliteStore(path)
    if scheme in ("postgresql", "postgres"):
        try:
            from headwater.stores.postgres import PostgresStore
        except ImportError as error:
            raise Misuse(f"a store in PostgreSQL needs psycopg: pip install 'headwater[postgres]' ({error})") from error
        return PostgresStore(url)
    hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    raise Misuse(
        f"{hidden!r} is no address of a store; write memory://, sqlite:///shop.models.db (a path), or "
        "postgresql://user:password@host:5432/database"
    )
