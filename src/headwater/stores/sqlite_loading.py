"""What a batch does inside its transaction in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from headwater.stores.port import Key, TableSchema
from headwater.stores.sqlite_files import translated
from headwater.stores.sqlite_tables import SqliteTable

R = TypeVar("R")


class SqliteLoading:
    """`Loading` on the writing connection."""

    def __init__(
        self, connection: sqlite3.Connection, table: Callable[[TableSchema[Any]], SqliteTable], path: str
    ) -> None:
        self._connection, self._table, self._path = connection, table, path

    def own_cursor(self) -> sqlite3.Cursor:
        """For statements of a handler's own, in the transaction."""
        return self._connection.cursor()

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        with translated(self._path):
            return self._table(table).load(self._connection, keys)

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        with translated(self._path):
            self._table(table).save(self._connection, rows)

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        with translated(self._path):
            self._table(table).delete(self._connection, keys)
