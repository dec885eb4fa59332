"""Where the state of views is kept, as an address: a file of DuckDB, or a store.

shop.views.duckdb          a file of DuckDB
sqlite:///state.db#shop    the state of the app shop in a file of SQLite
postgresql://host/db#shop  the same in PostgreSQL
"""

from __future__ import annotations

from headwater.errors import Misuse
from headwater.log.opening import sqlite_path
from headwater.views.elsewhere_port import StateStore


def is_store(place: str) -> bool:
    """Whether it is something else than a file of DuckDB."""
    return place.startswith(("sqlite://", "postgresql://", "postgres://"))


def store_at(place: str) -> StateStore | None:
    """Not reached yet; None: it is a file of DuckDB. Raises: Misuse: it is a wrong address, or psycopg is missing."""
    if not is_store(place):
        return None
    url, _, name = place.rpartition("#")
    if url.startswith("sqlite://"):
        from headwater.views.elsewhere_sqlite import SqliteState

        return SqliteState(sqlite_path(url), name)
    try:
        from headwater.views.elsewhere_postgres import PostgresState
    except ImportError as error:
        raise Misuse(f"PostgreSQL needs psycopg: pip install 'headwater[postgres]' ({error})") from error
    return PostgresState(url, name)


def shown(place: str) -> str:
    """What the place is called: without a password, and of SQLite the path alone."""
    if place.startswith("sqlite://"):
        return sqlite_path(place.rpartition("#")[0])
    if not is_store(place):
        return place
    from headwater.stores.postgres_connections import place_of

    url, _, name = place.rpartition("#")
    return f"{place_of(url)}#{name}"
