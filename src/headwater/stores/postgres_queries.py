"""A user's question to PostgreSQL: one statement behind a cursor, in a transaction that can only read.

The cursor lets a long answer be read in parts, and the server takes nothing but a SELECT for one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg import Cursor, errors

from headwater.errors import Unavailable
from headwater.stores.port import Answer
from headwater.stores.postgres_cells import with_json_nul, with_nul
from headwater.stores.postgres_connections import Connection, Connections, translated, with_places

FIRST_ROWS = 500
"""So many are fetched at once; an answer of fewer does not keep a connection."""

TEXT, JSON, JSONB = 25, 114, 3802
"""Types of columns, as PostgreSQL numbers them."""


def ask(
    connections: Connections, sql: str, args: Sequence[object] | Mapping[str, object], timeout_s: float | None
) -> Answer:
    """See `Store.query`."""
    text, values = with_places(sql, args)
    asking = Asking(connections, sql, timeout_s)
    kept = False
    try:
        columns, first = asking.begin(text, values)
        kept = len(first) == FIRST_ROWS
    finally:
        if not kept:
            asking.end()
    return Answer(columns, asking.rest(first) if kept else iter(first))


class Asking:
    """One question while it is answered. Arguments: sql: as its author wrote it; timeout_s: None: as long as it likes.
    It takes a connection, and `end` gives it back."""

    def __init__(self, connections: Connections, sql: str, timeout_s: float | None) -> None:
        self._connections, self._sql, self._timeout_s = connections, sql, timeout_s
        self._end_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._connection: Connection = connections.take()

    def begin(self, text: str, values: Sequence[object]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """The names of the columns and the first rows. Raises: Misuse, Unavailable."""
        with translated(self._connections.place, self._sql):
            self._connection.execute("BEGIN READ ONLY")
            # binary: the server is given one statement then, not a text that may hold several
            self._connection.execute(f"DECLARE hw_answer NO SCROLL CURSOR FOR {text}", values, binary=True)
        cursor, rows = self._fetch()
        description = cursor.description or []
        return tuple(column.name for column in description), rows

    def rest(self, first: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """All rows, in order. Raises: Unavailable."""
        try:
            yield from first
            while rows := self._fetch()[1]:
                yield from rows
        finally:
            self.end()

    def end(self) -> None:
        """Gives the connection back."""
        connection = self._connection
        sound = False
        try:
            with translated(self._connections.place):
                connection.rollback()
            sound = True
        finally:
            self._connections.give(connection, doubtful=not sound)

    def _fetch(self) -> tuple[Cursor[tuple[Any, ...]], list[tuple[Any, ...]]]:
        try:
            with translated(self._connections.place, self._sql):
                if self._end_s is not None:
                    left_ms = max(1, math.ceil(1000 * (self._end_s - time.monotonic())))
                    self._connection.execute(f"SET LOCAL statement_timeout = {left_ms}")
                cursor = self._connection.execute(f"FETCH {FIRST_ROWS} FROM hw_answer")
                rows = cursor.fetchall()
        except Exception as error:
            if isinstance(error.__cause__, errors.QueryCanceled) and self._end_s is not None:
                raise Unavailable(f"the query did not end within {self._timeout_s:g} s and was stopped") from error
            raise
        return cursor, self._restored(cursor, rows)

    def _restored(self, cursor: Cursor[tuple[Any, ...]], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Texts as they were before they were written without NULs."""
        kinds = {TEXT: with_nul, JSON: with_json_nul, JSONB: with_json_nul}
        readers = [kinds.get(column.type_code) for column in cursor.description or []]
        if not any(readers):
            return rows
        return [
            tuple(cell if read is None or cell is None else read(cell) for read, cell in zip(readers, row, strict=True))
            for row in rows
        ]
