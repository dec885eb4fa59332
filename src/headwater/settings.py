"""What follows from an address without being written in it."""

from __future__ import annotations

from pathlib import PurePosixPath

from headwater.errors import Misuse
from headwater.log.opening import sqlite_path


def store_url_for(log_url: str, app: str, store: str | None) -> str:
    """Where the read models of an app live.

    `store`, if given. Else beside the log: in memory for `memory://`; in `shop.models.db` for
    `sqlite:///shop.db` (a file of its own: read models are derived, and can be deleted while the log's file
    stays the only truth); in `<app>.kafka.models.db` in the current directory for Kafka, since rows are of one log: an
    app that began on SQLite goes on there, beside its file of then. Raises: Misuse: a wrong address.
    """
    if store is not None:
        return store
    scheme = log_url.partition("://")[0]
    if scheme == "memory":
        return "memory://"
    if scheme == "sqlite":
        path = PurePosixPath(sqlite_path(log_url))
        return f"sqlite:///{path.with_suffix('.models.db')}"
    return f"sqlite:///{app}.kafka.models.db"


def views_place_for(log_url: str, app: str, store: str | None, views_store: str | None) -> str:
    """Where the state of an app's views is kept: a file of DuckDB, or a store with the app's name behind a `#`.

    `views_store`, if given. Else a file of this machine, whatever keeps the read models: in memory for `memory://`;
    beside the read models where they are a file, as `shop.views.duckdb` beside `shop.models.db`; `<app>.views.duckdb`
    in the current directory where they are not (`<app>.kafka.views.duckdb` for Kafka). Raises: Misuse: a wrong address.
    """
    if views_store is not None:
        return _views_place(views_store, app)
    if store is None and log_url.startswith("memory:"):
        return ":memory:"
    url = store_url_for(log_url, app, store)
    if not url.startswith("sqlite:"):
        return f"{app}{'' if log_url.startswith(('memory:', 'sqlite:')) else '.kafka'}.views.duckdb"
    path = PurePosixPath(sqlite_path(url))
    return str(path.with_name(f"{path.name.removesuffix('.db').removesuffix('.models')}.views.duckdb"))


def _views_place(url: str, app: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme == "duckdb" and rest.startswith("/") and len(rest) > 1:
        return rest[1:]
    if scheme == "sqlite":
        return f"sqlite:///{sqlite_path(url)}#{app}"
    if scheme in ("postgresql", "postgres"):
        return f"{url}#{app}"
    raise Misuse(
        "views are kept in duckdb:///shop.views.duckdb, sqlite:///shop.views.db or postgresql://user@host:5432/database"
        f", and {scheme}:// is none of them"
    )
