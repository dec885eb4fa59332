"""Queries of SQLite: one SELECT, on a connection that can only read, whose rows are read as they are asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headwater.errors import Misuse
from headwater.stores.cells import argument
from headwater.stores.port import Answer
from headwater.stores.sqlite_files import Connection, Readers, TimeLimit, translated

FIRST_ROWS = 500
"""So many are fetched at once; an answer of fewer does not keep a connection."""


def ask(
    readers: Readers, path: str, sql: str, args: Sequence[object] | Mapping[str, object], timeout_s: float | None
) -> Answer:
    """See `Store.query`. Arguments: path: of the file, for errors."""
    values: Any = (
        {name: argument(value) for name, value in args.items()}
        if isinstance(args, Mapping)
        else [argument(value) for value in args]
    )
    connection = readers.take()
    limit = TimeLimit(connection, timeout_s)
    kept = False
    try:
        with translated(path, sql), limit:
            cursor = connection.execute(sql, values)
            first = cursor.fetchmany(FIRST_ROWS) if readers.streams else cursor.fetchall()
        if cursor.description is None:
            raise Misuse("a query is one SELECT statement")
        columns = tuple(column[0] for column in cursor.description)
        kept = readers.streams and len(first) == FIRST_ROWS
    finally:
        if not kept:
            limit.lift()
            readers.give(connection)
    return Answer(columns, _streamed(readers, path, sql, first, cursor, connection, limit) if kept else iter(first))


def _streamed(
    readers: Readers,
    path: str,
    sql: str,
    first: list[tuple[Any, ...]],
    cursor: sqlite3.Cursor,
    connection: Connection,
    limit: TimeLimit,
) -> Iterator[tuple[Any, ...]]:
    try:
        yield from first
        with translated(path, sql), limit:
            while rows := cursor.fetchmany(FIRST_ROWS):
                yield from rows
    finally:
        cursor.close()
        limit.lift()
        readers.give(connection)
