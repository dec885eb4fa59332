"""The log in one SQLite file. `SqliteLog` is all that others need."""

from __future__ import annotations

from headwater.log.sqlite.log import SqliteLog

__all__ = ["SqliteLog"]
