"""What follows from an address without being written in it."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit


def store_url_for(log_url: str, app: str, store: str | None) -> str:
    """Where the read models of an app live.

    `store`, if given. Else beside the log: in memory for `memory://`; in `shop.models.db` for
    `sqlite:///shop.db` (a file of its own: read models are derived, and can be deleted while the log's file
    stays the only truth); in `<app>.models.db` in the current directory for Kafka.
    """
    if store is not None:
        return store
    parts = urlsplit(log_url)
    if parts.scheme == "memory":
        return "memory://"
    if parts.scheme == "sqlite":
        path = PurePosixPath(parts.path[1:])
        return f"sqlite:///{path.with_suffix('.models.db')}"
    return f"sqlite:///{app}.models.db"
