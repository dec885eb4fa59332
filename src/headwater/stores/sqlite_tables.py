"""One table of a SQLite store: its definition, and the statements that load, write and select its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import msgspec
from msgspec import json

from headwater.errors import Misuse
from headwater.log.port import TopicPartition
from headwater.stores.cells import Columns, refuse_bad_keys
from headwater.stores.indexes import compared, new_name
from headwater.stores.port import Key, TableSchema, key_of_row, refuse_other_keys

R = TypeVar("R")

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS hw_store (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS hw_positions (runner TEXT, topic TEXT, part INTEGER, next INTEGER NOT NULL,"
    " PRIMARY KEY (runner, topic, part)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS hw_tables (name TEXT, version INTEGER, runner TEXT NOT NULL, shape TEXT NOT NULL,"
    " PRIMARY KEY (name, version)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS hw_code (runner TEXT PRIMARY KEY, code TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS hw_workers (runner TEXT, worker TEXT, state TEXT NOT NULL, failure TEXT,"
    " heartbeat TEXT NOT NULL, partitions TEXT NOT NULL, PRIMARY KEY (runner, worker)) WITHOUT ROWID",
)
"""What a store keeps beside the rows: the log that it was made from, positions, shapes, code, who works."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def table_name(name: str, version: int) -> str:
    return quoted(f"{name}_v{version}")


def stored_positions(connection: sqlite3.Connection, runner: str) -> dict[TopicPartition, int]:
    rows = connection.execute("SELECT topic, part, next FROM hw_positions WHERE runner = ?", (runner,))
    return {TopicPartition(topic, partition): position for topic, partition, position in rows}


def stored_view(connection: sqlite3.Connection, name: str) -> str | None:
    found = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = ?", (name,)).fetchone()
    return None if found is None else str(found[0])


def stored_shape(connection: sqlite3.Connection, schema: TableSchema[Any]) -> tuple[str, dict[str, str]] | None:
    found = connection.execute(
        "SELECT runner, shape FROM hw_tables WHERE name = ? AND version = ?", (schema.name, schema.version)
    ).fetchone()
    return None if found is None else (found[0], json.decode(found[1], type=dict[str, str]))


def match_indexes(connection: sqlite3.Connection, schema: TableSchema[Any]) -> None:
    """Makes the indexes that a table declares, and drops those that it declares no more."""
    named = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?"
    names = [name for (name,) in connection.execute(named, (f"{schema.name}_v{schema.version}",))]
    missing, extra = compared(schema.indexes, names)
    for name in extra:
        connection.execute(f"DROP INDEX {quoted(name)}")
    for index in missing:
        table, listed = table_name(schema.name, schema.version), ", ".join(map(quoted, index))
        connection.execute(f"CREATE INDEX {quoted(new_name(index))} ON {table} ({listed})")


def statement_size(keys: int) -> int:
    """How many keys a statement asks for that is to find so many. The sizes are few, so that SQLite knows the statement
    already, and at most an eighth of the keys is asked for twice."""
    step = 1 << max(0, keys.bit_length() - 4)
    return -(-keys // step) * step


class SqliteTable:
    """The SQL of one table. Arguments: schema; variables: how many parameters a statement may have."""

    def __init__(self, schema: TableSchema[Any], variables: int) -> None:
        self.schema = schema
        self.columns = Columns(schema.title, schema.row, schema.columns, schema.key)
        names = self.columns.names
        self.table = table_name(schema.name, schema.version)
        self._key = [names.index(name) for name in schema.key]
        refuse_bad_keys(schema.title, schema.columns, schema.key)
        self._largest = 1 << ((variables // len(schema.key)).bit_length() - 1)
        listed = ", ".join(map(quoted, names))
        keys = ", ".join(map(quoted, schema.key))
        self._select = f"SELECT {listed} FROM {self.table}"
        changed = ", ".join(f"{quoted(n)} = excluded.{quoted(n)}" for n in names if n not in schema.key)
        marks = ", ".join("?" * len(names))
        action = f"UPDATE SET {changed}" if changed else "NOTHING"
        self._upsert = f"INSERT INTO {self.table} ({listed}) VALUES ({marks}) ON CONFLICT ({keys}) DO {action}"
        self._delete = f"DELETE FROM {self.table} WHERE " + " AND ".join(f"{quoted(k)} = ?" for k in schema.key)

    @property
    def definition(self) -> str:
        """CREATE TABLE. One integer key is SQLite's own row id; all other tables are ordered by their key."""
        columns = ", ".join(
            f"{quoted(name)} {cell.sql}{'' if self.columns.optional(i) else ' NOT NULL'}"
            for i, (name, cell) in enumerate(zip(self.columns.names, self.columns.cells, strict=True))
        )
        only = self.columns.cells[self._key[0]].sql if len(self._key) == 1 else ""
        keys = ", ".join(map(quoted, self.schema.key))
        tail = "" if only == "INTEGER" else " WITHOUT ROWID"
        return f"CREATE TABLE IF NOT EXISTS {self.table} ({columns}, PRIMARY KEY ({keys})){tail}"

    def load(self, connection: sqlite3.Connection, keys: Collection[Key]) -> dict[Key, Any]:
        """The rows of those keys that exist."""
        found: dict[Key, Any] = {}
        cells = self._key_cells(keys)
        for start in range(0, len(cells), self._largest):
            part = cells[start : start + self._largest]
            part += part[-1:] * (statement_size(len(part)) - len(part))
            values = list(chain.from_iterable(part))
            rows = self.columns.decode(connection.execute(self._select + self._where(len(part)), values).fetchall())
            found.update(zip(key_of_row(self.schema, rows), rows, strict=True))
        return found

    def save(self, connection: sqlite3.Connection, rows: Collection[Any]) -> None:
        if rows:
            values = zip(*map(msgspec.structs.astuple, rows), strict=True)
            connection.executemany(self._upsert, self.columns.encode(values, range(len(self.columns.cells))))

    def delete(self, connection: sqlite3.Connection, keys: Collection[Key]) -> None:
        connection.executemany(self._delete, self._key_cells(keys))

    def selection(self, where: Mapping[str, object], order: Sequence[str], limit: int | None) -> tuple[str, list[Any]]:
        """SELECT with its parameters."""
        args: list[Any] = []
        for name, value in where.items():
            [(cell,)] = self.columns.encode([[value]], [self._index(name)])
            args.append(cell)
        sql = self._select
        if where:
            sql += " WHERE " + " AND ".join(f"{quoted(name)} IS ?" for name in where)
        terms = [self._term(name.removeprefix("-")) + (" DESC" if name.startswith("-") else "") for name in order]
        sql += " ORDER BY " + ", ".join([*terms, *map(quoted, self.schema.key)])
        if limit is not None:
            sql += " LIMIT ?"
            args.append(limit)
        return sql, args

    def _term(self, name: str) -> str:
        """What a column is sorted by."""
        return quoted(name) + (" COLLATE decimal" if self.columns.large(self._index(name)) else "")

    def _where(self, size: int) -> str:
        if len(self._key) == 1:
            return f" WHERE {quoted(self.schema.key[0])} IN ({','.join('?' * size)})"
        marks = "(" + ",".join("?" * len(self._key)) + ")"
        return f" WHERE ({', '.join(map(quoted, self.schema.key))}) IN (VALUES {','.join([marks] * size)})"

    def _key_cells(self, keys: Collection[Key]) -> list[tuple[Any, ...]]:
        if not keys:
            return []
        refuse_other_keys(self.schema, keys)
        return list(self.columns.encode(zip(*keys, strict=True), self._key))

    def _index(self, name: str) -> int:
        if name not in self.columns.names:
            raise Misuse(f"{self.schema.title} has no column {name!r}: it has {', '.join(self.columns.names)}")
        return self.columns.names.index(name)
