"""From an address to a store: `memory://` or `sqlite:///shop.models.db`."""

from __future__ import annotations

from headwater.errors import Misuse
from headwater.log.opening import sqlite_path
from headwater.stores.port import Store


def open_store(url: str) -> Store:
    """Opens a store of read models. Raises: Misuse: an address of no known form. Unavailable: the file cannot
    be used."""
    scheme = url.partition("://")[0]
    if scheme == "memory":
        from headwater.stores.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite":
        path = sqlite_path(url)
        from headwater.stores.sqlite import SqliteStore

        return SqliteStore(path)
    raise Misuse(f"{url!r} is no address of a store; write memory:// or sqlite:///shop.models.db (a path)")
