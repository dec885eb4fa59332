"""The tables of bookkeeping in a file of views, and its positions, as SQL of DuckDB.

Rows that are bookkeeping are few, so they are found without an index: with one, DuckDB refuses to delete a row and to
write it again in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb
import msgspec

from headwater.log.port import Positions, TopicPartition
from headwater.stores.cells import Columns
from headwater.stores.port import Key, TableSchema, key_of_row, refuse_stale
from headwater.views.types import quoted

TYPES = {"TEXT": "VARCHAR", "INTEGER": "BIGINT", "REAL": "DOUBLE", "BLOB": "BLOB"}
"""From the types of `Cell.sql` to those of DuckDB."""


class BookkeepingTable:
    """The SQL of one table of bookkeeping."""

    def __init__(self, schema: TableSchema[Any]) -> None:
        self.schema = schema
        self._columns = Columns(schema.title, schema.row, schema.columns, schema.key)
        names = self._columns.names
        self._key = [names.index(name) for name in schema.key]
        self._name = f"hw.{quoted(f'{schema.name}_v{schema.version}')}"
        self._select = f"SELECT {', '.join(map(quoted, names))} FROM {self._name}"
        self._insert = f"INSERT INTO {self._name} VALUES ({', '.join('?' * len(names))})"
        self._is_key = " AND ".join(f"{quoted(name)} = ?" for name in schema.key)

    @property
    def definition(self) -> str:
        columns = [
            f"{quoted(name)} {TYPES[cell.sql.split()[0]]}"
            for name, cell in zip(self._columns.names, self._columns.cells, strict=True)
        ]
        return f"CREATE TABLE {self._name} ({', '.join(columns)})"

    def load(self, connection: duckdb.DuckDBPyConnection, keys: Collection[Key]) -> dict[Key, Any]:
        cells = [
            cells
            for key in self._key_cells(keys)
            for cells in connection.execute(f"{self._select} WHERE {self._is_key}", key).fetchall()
        ]
        rows = self._columns.decode(cells)
        return dict(zip(key_of_row(self.schema, rows), rows, strict=True)) if rows else {}

    def select(
        self,
        connection: duckdb.DuckDBPyConnection,
        where: Mapping[str, object],
        order: Sequence[str],
        limit: int | None,
    ) -> list[Any]:
        sql, args = self._select, []
        for name, value in where.items():
            [(cell,)] = self._columns.encode([[value]], [self._columns.names.index(name)])
            args.append(cell)
        if where:
            sql += " WHERE " + " AND ".join(f"{quoted(name)} IS NOT DISTINCT FROM ?" for name in where)
        terms = [quoted(name.removeprefix("-")) + (" DESC" if name.startswith("-") else "") for name in order]
        sql += " ORDER BY " + ", ".join([*terms, *map(quoted, self.schema.key)])
        if limit is not None:
            sql += f" LIMIT {limit:d}"
        return self._columns.decode(connection.execute(sql, args).fetchall())

    def save(self, connection: duckdb.DuckDBPyConnection, rows: Collection[Any]) -> None:
        if rows:
            self.delete(connection, key_of_row(self.schema, rows))
            values = zip(*map(msgspec.structs.astuple, rows), strict=True)
            cells = self._columns.encode(values, range(len(self._columns.cells)))
            connection.executemany(self._insert, list(map(list, cells)))

    def delete(self, connection: duckdb.DuckDBPyConnection, keys: Collection[Key]) -> None:
        for key in self._key_cells(keys):
            connection.execute(f"DELETE FROM {self._name} WHERE {self._is_key}", key)

    def _key_cells(self, keys: Collection[Key]) -> list[list[Any]]:
        if not keys:
            return []
        return list(map(list, self._columns.encode(zip(*keys, strict=True), self._key)))


def state_prefix(runner: str) -> str:
    """What the names of a view's own tables begin with."""
    return f"{runner}/"


def stored_positions(connection: duckdb.DuckDBPyConnection, runner: str) -> dict[TopicPartition, int]:
    rows = connection.execute("SELECT topic, part, next FROM hw.positions WHERE runner = ?", [runner]).fetchall()
    return {TopicPartition(topic, partition): position for topic, partition, position in rows}


def stored_marks(connection: duckdb.DuckDBPyConnection, runner: str) -> list[tuple[int, str, int, int]]:
    """How far sources were read by who writes a view's own topic, as each partition of that says: partition; topic,
    partition and next offset of the source."""
    return connection.execute("SELECT place, topic, part, next FROM hw.marks WHERE runner = ?", [runner]).fetchall()


def write_marks(connection: duckdb.DuckDBPyConnection, runner: str, marks: Mapping[tuple[int, str, int], int]) -> None:
    """Replaces them."""
    for (at, topic, part), following in marks.items():
        key = [runner, at, topic, part]
        connection.execute("DELETE FROM hw.marks WHERE runner = ? AND place = ? AND topic = ? AND part = ?", key)
        connection.execute("INSERT INTO hw.marks VALUES (?, ?, ?, ?, ?)", [*key, following])


def move_positions(connection: duckdb.DuckDBPyConnection, runner: str, start: Positions, to: Positions) -> None:
    """Replaces the positions of these partitions, which have to stand where the runner started. Mostly in one
    statement: each takes as long to be planned as some ten records. Raises: StaleRunner."""
    known = [(*tp, start[tp], position) for tp, position in to.items() if tp in start]
    moved = set[TopicPartition]()
    if known:
        cases = " ".join(["WHEN topic = ? AND part = ? THEN ?"] * len(known))
        places = " OR ".join(["(topic = ? AND part = ? AND next = ?)"] * len(known))
        values = [value for topic, part, _, position in known for value in (topic, part, position)]
        values += [runner, *(value for topic, part, before, _ in known for value in (topic, part, before))]
        sql = f"UPDATE hw.positions SET next = CASE {cases} END WHERE runner = ? AND ({places}) RETURNING topic, part"
        moved = {TopicPartition(*row) for row in connection.execute(sql, values).fetchall()}
    new = {tp: position for tp, position in to.items() if tp not in moved}
    if new:
        refuse_stale(runner, start, new, stored_positions(connection, runner))
        values = [value for tp, position in new.items() for value in (runner, *tp, position)]
        connection.execute("INSERT INTO hw.positions VALUES " + ", ".join(["(?, ?, ?, ?)"] * len(new)), values)
