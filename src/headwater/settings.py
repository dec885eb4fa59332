"""What follows from an address without being written in it."""

from __future__ import annotations

from pathlib import PurePosixPath

from headwater.log.opening import sqlite_path


def store_url_for(log_url: str, app: str, store: str | None) -> str:
    """Where the read models of an app live.

    `store`, if given. Else beside the log: in memory for `memory://`; in `shop.models.db` for
    `sqlite:///shop.db` (a file of its own: read models are derived, and can be deleted while the log's file
    stays the only truth); in `<app>.models.db` in the current directory for Kafka. Raises: Misuse: a wrong address.
    """
    if store is not None:
        return store
    scheme = log_url.partition("://")[0]
    if scheme == "memory":
        return "memory://"
    if scheme == "sqlite":
        path = PurePosixPath(sqlite_path(log_url))
        return f"sqlite:///{path.with_suffix('.models.db')}"
    return f"sqlite:///{app}.models.db"
