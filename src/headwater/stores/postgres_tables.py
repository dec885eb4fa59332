"""One table of a PostgreSQL store: its definition, and the statements that load, write and select its rows.

A statement takes the keys or rows of a whole batch, an array per column. Whatever locks or adds rows does so in the
order of their keys, so that two runners that need the same rows wait for each other and not both at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any

from psycopg import Connection

from headwater.errors import Misuse
from headwater.stores.cells import refuse_bad_keys
from headwater.stores.indexes import compared, new_name
from headwater.stores.port import Key, TableSchema, key_of_row, refuse_other_keys
from headwater.stores.postgres_cells import PostgresColumns

LONGEST_NAME_BYTES = 63

SCHEMA = (
    "CREATE TABLE hw_store (name text PRIMARY KEY, value text NOT NULL)",
    "CREATE TABLE hw_positions (runner text, topic text, part integer, next bigint NOT NULL,"
    " PRIMARY KEY (runner, topic, part)) WITH (fillfactor = 50)",
    "CREATE TABLE hw_tables (name text, version integer, runner text NOT NULL, shape text NOT NULL,"
    " PRIMARY KEY (name, version))",
    "CREATE TABLE hw_views (name text PRIMARY KEY, version integer NOT NULL)",
    "CREATE TABLE hw_code (runner text PRIMARY KEY, code text NOT NULL)",
    "CREATE TABLE hw_workers (runner text, worker text, state text NOT NULL, failure text,"
    " heartbeat timestamptz NOT NULL, partitions text NOT NULL, PRIMARY KEY (runner, worker))"
    " WITH (fillfactor = 50)",
)
"""What a store keeps beside the rows: the log that it was made from, positions, shapes, which version the view of each
name shows, code, who works."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def table_name(name: str, version: int) -> str:
    """The name of a version's table, quoted. PostgreSQL would cut one of more than 63 bytes, its version first."""
    tail = f"_v{version}"
    if len(name) + len(tail) > LONGEST_NAME_BYTES:
        tail = f"_{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}{tail}"
    return quoted(name[: LONGEST_NAME_BYTES - len(tail)] + tail)


def match_indexes(connection: Connection[Any], schema: TableSchema[Any]) -> None:
    """Makes the indexes that a table declares, and drops those that it declares no more."""
    table = table_name(schema.name, schema.version)
    named = "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = to_regclass($1)"
    missing, extra = compared(schema.indexes, [name for (name,) in connection.execute(named, [table]).fetchall()])
    for name in extra:
        connection.execute(f"DROP INDEX {quoted(name)}")
    for index in missing:
        connection.execute(f"CREATE INDEX {new_name(index)} ON {table} ({', '.join(map(quoted, index))})")


class PostgresTable:
    """The SQL of one table. Raises: Misuse: its key or a column's name cannot be."""

    def __init__(self, schema: TableSchema[Any]) -> None:
        self.schema = schema
        self.columns = PostgresColumns(schema.title, schema.row, schema.columns, schema.key)
        names = self.columns.names
        refuse_bad_keys(schema.title, schema.columns, schema.key)
        for name in names:
            if len(name.encode()) > LONGEST_NAME_BYTES:
                raise Misuse(f"{schema.title}: the name of column {name} is longer than {LONGEST_NAME_BYTES} bytes")
        self.table = table_name(schema.name, schema.version)
        self._types = [cell.sql for cell in self.columns.cells]
        self._key = [names.index(name) for name in schema.key]
        listed, keys = ", ".join(map(quoted, names)), ", ".join(map(quoted, schema.key))
        changed = ", ".join(f"{quoted(n)} = excluded.{quoted(n)}" for n in names if n not in schema.key)
        matched = " AND ".join(f"t.{quoted(n)} = wanted.{quoted(n)}" for n in schema.key)
        wanted = f"{self._unnested(self._key)} AS wanted ({keys})"
        ordered = ", ".join(f"t.{quoted(n)}" for n in schema.key)
        among = f"JOIN {wanted} ON {matched}"
        if len(schema.key) == 1:  # found faster so
            among = f"WHERE t.{keys} = ANY({self._array(self._key[0], 1)})"
        rows = f"INSERT INTO {self.table} ({listed}) SELECT * FROM {self._unnested(range(len(names)))} AS n ({listed})"
        rows += f" ORDER BY {keys} ON CONFLICT ({keys}) DO "
        self._select = f"SELECT {listed} FROM {self.table}"
        self._lock = (
            f"SELECT {', '.join(map(self._read, range(len(names))))} FROM {self.table} AS t"
            f" {among} ORDER BY {ordered} FOR UPDATE OF t"
        )
        self._find = f"SELECT 1 FROM {self.table} AS t {among} LIMIT 1"
        self._upsert = rows + (f"UPDATE SET {changed}" if changed else "NOTHING")
        self._insert = rows + "NOTHING"
        replaced = ", ".join(f"{quoted(n)} = wanted.{quoted(n)}" for n in names if n not in schema.key)
        given = f"{self._unnested(range(len(names)))} AS wanted ({listed})"
        self._update = f"UPDATE {self.table} AS t SET {replaced} FROM {given} WHERE {matched}" if replaced else ""
        self._delete = f"DELETE FROM {self.table} AS t USING {wanted} WHERE {matched}"

    @property
    def definition(self) -> str:
        """CREATE TABLE. Room is left in each page, so that a row that changes stays where its index entry points."""
        columns = ", ".join(
            f"{quoted(name)} {sql}{'' if self.columns.optional(i) else ' NOT NULL'}"
            for i, (name, sql) in enumerate(zip(self.columns.names, self._types, strict=True))
        )
        keys = ", ".join(map(quoted, self.schema.key))
        return f"CREATE TABLE {self.table} ({columns}, PRIMARY KEY ({keys})) WITH (fillfactor = 80)"

    def load(self, connection: Connection[Any], keys: Collection[Key]) -> dict[Key, Any]:
        """The rows of those keys that exist, locked until the transaction ends."""
        if not keys:
            return {}
        return self._rows(connection.execute(self._lock, self._key_arrays(keys)).fetchall())

    def look(self, connection: Connection[Any], key: Key) -> Any | None:
        """One row, not locked."""
        sql = self._lock.removesuffix(" FOR UPDATE OF t")
        return self._rows(connection.execute(sql, self._key_arrays([key])).fetchall()).get(key)

    def upsert(self, connection: Connection[Any], rows: Mapping[Key, Any]) -> None:
        """Writes rows, whether or not they exist."""
        if rows:
            connection.execute(self._upsert, self._row_arrays(rows.values()))

    def update(self, connection: Connection[Any], rows: Mapping[Key, Any]) -> None:
        """Writes rows that are there and locked: less work for the server than `upsert`."""
        if rows and self._update:
            connection.execute(self._update, self._row_arrays(rows.values()))

    def insert(self, connection: Connection[Any], rows: Mapping[Key, Any]) -> int:
        """Adds rows; those that exist are left alone. Returns how many were added."""
        return connection.execute(self._insert, self._row_arrays(rows.values())).rowcount if rows else 0

    def delete(self, connection: Connection[Any], keys: Collection[Key]) -> None:
        """Removes rows."""
        if keys:
            connection.execute(self._delete, self._key_arrays(keys))

    def exists(self, connection: Connection[Any], keys: Collection[Key]) -> bool:
        """Whether there is a row with any of these keys by now."""
        return bool(keys) and connection.execute(self._find, self._key_arrays(keys)).fetchone() is not None

    def selection(self, where: Mapping[str, object], order: Sequence[str], limit: int | None) -> tuple[str, list[Any]]:
        """SELECT with its parameters."""
        args: list[Any] = []
        conditions: list[str] = []
        for name, value in where.items():
            index = self._index(name)
            args.append(self.columns.encode(index, [value]))
            cell = f"({self._array(index, len(args))})[1]"
            conditions.append(
                f"{quoted(name)} IS NULL AND {cell} IS NULL" if value is None else f"{quoted(name)} = {cell}"
            )
        sql = self._select + (" WHERE " + " AND ".join(conditions) if where else "")
        sql += " ORDER BY " + ", ".join([*map(self._term, order), *map(quoted, self.schema.key)])
        if limit is not None:
            args.append(limit)
            sql += f" LIMIT ${len(args)}"
        return sql, args

    def _term(self, name: str) -> str:
        """What a column is sorted by: None comes before everything, as in SQLite."""
        index = self._index(name.removeprefix("-"))
        down = name.startswith("-")
        none = f" NULLS {'LAST' if down else 'FIRST'}" if self.columns.optional(index) else ""
        return quoted(self.columns.names[index]) + (" DESC" if down else "") + none

    def _unnested(self, indexes: Sequence[int]) -> str:
        return "unnest(" + ", ".join(self._array(i, n) for n, i in enumerate(indexes, 1)) + ")"

    def _read(self, index: int) -> str:
        """A column of many rows. Whole numbers of any size come as text: a Decimal is a longer way to an int."""
        text = "::text" if self.columns.cells[index].decode is int else ""
        return f"t.{quoted(self.columns.names[index])}{text}"

    def _array(self, index: int, number: int) -> str:
        return f"${number}::{self._type(index)}[]"

    def _type(self, index: int) -> str:
        return self._types[index].removesuffix(' COLLATE "C"')

    def _rows(self, found: list[tuple[Any, ...]]) -> dict[Key, Any]:
        rows = self.columns.decode(found)
        return dict(zip(key_of_row(self.schema, rows), rows, strict=True))

    def _row_arrays(self, rows: Collection[Any]) -> list[str]:
        return [
            self.columns.encode(index, list(map(attrgetter(name), rows)))
            for index, name in enumerate(self.columns.names)
        ]

    def _key_arrays(self, keys: Collection[Key]) -> list[str]:
        refuse_other_keys(self.schema, keys)
        columns = zip(*keys, strict=True)
        return [self.columns.encode(index, column) for index, column in zip(self._key, columns, strict=True)]

    def _index(self, name: str) -> int:
        if name not in self.columns.names:
            raise Misuse(f"{self.schema.title} has no column {name!r}: it has {', '.join(self.columns.names)}")
        return self.columns.names.index(name)
