"""A connection to DuckDB that notes which rows of which tables a transaction adds and takes away.

It takes the statements that views make: tables and views of the schema `hw`, and the views that queries find, which
have no schema. What is in no schema otherwise is temporary, and nothing to be noted. Rows that were added or taken
away come with the statement itself (RETURNING); a table that is small, or changed in another way, is noted as a whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

ROWS_AT_ONCE = 500
LITTLE_ROWS = 64
"""A table that has no more rows is noted as a whole: to read it takes no longer than to be told what has changed."""

NAME = r'hw\.(?:"(?:[^"]|"")+"|\w+)'
WRITES = re.compile(
    rf"(?P<verb>INSERT INTO|DELETE FROM|UPDATE|DROP TABLE|DROP VIEW|CREATE TABLE)"
    rf"(?: IF(?: NOT)? EXISTS)? (?P<name>{NAME})(?P<rest>.*)",
    re.DOTALL,
)
SHOWS = re.compile(rf'CREATE OR REPLACE VIEW (?P<name>{NAME}|"(?:[^"]|"")+")', re.DOTALL)
READS = re.compile(
    r"SELECT|FROM|WITH|DESCRIBE|CREATE SCHEMA|(CREATE OR REPLACE TEMP|DROP|INSERT INTO|DELETE FROM|CREATE TEMP|ALTER)"
    r"(?! (?:TABLE |VIEW )?(?:IF EXISTS )?hw\.)"
)


class Recorder:
    """Looks like the connection to whoever executes statements on it, in one transaction.

    Arguments: connection; known: the tables and views that were there before, and how many rows they had.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, known: Mapping[str, int]) -> None:
        self.connection, self._known = connection, known
        self.gone: set[str] = set()
        self.made: dict[str, None] = {}
        self.views: dict[str, str] = {}
        self.whole: dict[str, None] = {}
        self.moved: defaultdict[str, list[tuple[int, pa.Table]]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> Any:
        """As of the connection; of INSERT what is fetched is how many rows there were."""
        found = WRITES.match(sql)
        if found is not None:
            return self._write(found["verb"], named(found["name"]), found["rest"], sql, parameters)
        shown = SHOWS.match(sql)
        if shown is not None:
            name = named(shown["name"])
            self.gone.discard(name)
            self.views[name] = sql
        else:
            assert READS.match(sql), f"nobody knows what this changes: {sql[:80]}"
        return self.connection.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """As of the connection, of one INSERT of a row. Many rows are one statement."""
        head, _, row = sql.partition(" VALUES ")
        for first in range(0, len(parameters), ROWS_AT_ONCE):
            some = parameters[first : first + ROWS_AT_ONCE]
            self.execute(f"{head} VALUES {', '.join([row] * len(some))}", [value for one in some for value in one])

    def _there(self, name: str) -> bool:
        return name in self.made or name in self.views or (name in self._known and name not in self.gone)

    def _write(self, verb: str, name: str, rest: str, sql: str, parameters: Any) -> Any:
        if verb == "CREATE TABLE":
            if not self._there(name):
                self.made[name] = None
        elif verb in ("DROP TABLE", "DROP VIEW"):
            if name in self._known:
                self.gone.add(name)
            for one in (self.made, self.views, self.whole, self.moved):
                one.pop(name, None)
        elif name not in self.made and name not in self.whole:
            unsaid = verb == "UPDATE" or (verb == "DELETE FROM" and (not rest or " USING " in rest))
            if unsaid or (name not in self.moved and self._known.get(name, 0) <= LITTLE_ROWS):
                self.whole[name] = None
                self.moved.pop(name, None)
            else:
                rows = rows_of(self.connection, f"{sql} RETURNING *", parameters)
                if rows.num_rows:
                    self.moved[name].append((1 if verb == "INSERT INTO" else -1, rows))
                return Counted(rows.num_rows)
        return self.connection.execute(sql, parameters)


class Counted:
    """What an INSERT or DELETE answers. Arguments: count: of its rows."""

    def __init__(self, count: int) -> None:
        self._count = count

    def fetchall(self) -> list[tuple[int]]:
        return [(self._count,)]


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Any = None) -> pa.Table:
    connection.complete()  # what was asked before: nobody may have read it to its end
    return connection.sql(sql, params=parameters).to_arrow_table()


def named(name: str) -> str:
    """The same name for the same table, quoted or not."""
    schema, _, own = name.rpartition("hw.")
    own = own or schema
    quoted = own if own.startswith('"') else f'"{own}"'
    return f"hw.{quoted}" if name.startswith("hw.") else quoted
