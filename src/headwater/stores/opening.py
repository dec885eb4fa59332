"""From an address to a store: `memory://` or `sqlite:///shop.models.db`."""

from __future__ import annotations

from urllib.parse import urlsplit

from headwater.errors import Misuse
from headwater.stores.port import Store


def open_store(url: str) -> Store:
    """Opens a store of read models. Raises: Misuse: an address of no known form. Unavailable: the file cannot
    be used."""
    parts = urlsplit(url)
    if parts.scheme == "memory":
        from headwater.stores.memory import MemoryStore

        return MemoryStore()
    if parts.scheme == "sqlite" and not parts.netloc and parts.path[1:]:
        from headwater.stores.sqlite import SqliteStore

        return SqliteStore(parts.path[1:])
    raise Misuse(f"{url!r} is no address of a store; write memory:// or sqlite:///shop.models.db (a path)")
