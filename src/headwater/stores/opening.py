"""From an address to a store: `memory://`, `sqlite:///shop.models.db`, `postgresql://user@host/database`,
`redis://host:6379/0?prefix=shop` or `opensearch://host:9200/shop`."""

from __future__ import annotations

import re
from collections.abc import Callable

from headwater.errors import Misuse
from headwater.log.opening import sqlite_path
from headwater.stores.port import Store

StoreAddress = str | Callable[[], Store]
"""Where read models live: a URL, or a function that opens a store of another kind."""


def open_store(url: StoreAddress) -> Store:
    """Opens a store of read models.

    Raises: Misuse: an address of no known form, or one whose package is not installed. Unavailable: the file cannot be
    used, or nothing answers there.
    """
    if not isinstance(url, str):
        return url()
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
    if scheme in ("redis", "rediss"):
        try:
            from headwater.stores.redis import RedisStore
        except ImportError as error:
            raise Misuse(f"a store in Redis needs its client: pip install 'headwater[redis]' ({error})") from error
        return RedisStore(url)
    if scheme in ("opensearch", "elasticsearch"):
        try:
            from headwater.stores.opensearch import OpenSearchStore
        except ImportError as error:
            raise Misuse(
                f"a store in a search server needs urllib3: pip install 'headwater[opensearch]' ({error})"
            ) from error
        return OpenSearchStore(url)
    hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    raise Misuse(
        f"{hidden!r} is no address of a store; write memory://, sqlite:///shop.models.db (a path), "
        "postgresql://user:password@host:5432/database, redis://user:password@host:6379/0?prefix=shop, "
        "or opensearch://user:password@host:9200/shop"
    )
