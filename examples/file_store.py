"""A store of one's own, in one file: what headwater asks of a store, in as few lines as it takes.

    with app.run(log, store=lambda: FileStore("views.msgpack")) as shop: ...

All of it is in memory, and each commit writes it to a new file that takes the old one's place: so rows and positions
are there together, or as they were before. That is enough for some thousands of rows and one process. How it is held to
the contract: `tests/stores/test_file_store.py`.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import msgpack

from headwater.errors import Misuse, Unavailable
from headwater.log.port import Positions, TopicPartition
from headwater.stores.cells import Columns, refuse_bad_keys
from headwater.stores.port import (
    Answer,
    Key,
    RunnerNote,
    TableSchema,
    key_of_row,
    refuse_another_runner,
    refuse_changed_shape,
    refuse_stale,
)

R = TypeVar("R")
Cells = tuple[Any, ...]
"""A row: its columns as `stores.cells` writes them, which are texts, numbers and bytes."""


class Table(msgspec.Struct):
    """A version of a table: who fills it, its shape, and its rows by the cells of their keys."""

    runner: str
    shape: dict[str, str]
    rows: dict[bytes, Cells] = {}


class Kept(msgspec.Struct):
    """What is in the file."""

    log: str | None = None
    tables: dict[str, Table] = {}
    code: dict[str, str] = {}
    positions: dict[str, list[tuple[str, int, int]]] = {}
    notes: dict[str, dict[str, RunnerNote]] = {}


class FileStore:
    """A `headwater.stores.port.Store`. Raises: Unavailable: another process has the file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path, self._lock = Path(path), threading.RLock()
        self._owner = self._path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(f"another process has {self._path}: read models in a file have one") from error
        self._kept = msgpack.decode(self._path.read_bytes(), type=Kept) if self._path.exists() else Kept()

    def bind(self, log_id: str) -> None:
        with self._lock:
            if self._kept.log is None:
                self._commit(log=log_id)
            if self._kept.log != log_id:
                raise Misuse(f"{self._path} was made from the log {self._kept.log}, this is log {log_id}")

    def open_tables(self, runner: str, schemas: Sequence[TableSchema[Any]], code: str = "") -> str:
        with self._lock:
            tables = dict(self._kept.tables)
            for schema in schemas:
                refuse_bad_keys(schema.title, schema.columns, schema.key)
                table = tables.setdefault(name_of(schema), Table(runner, schema.shape))
                refuse_another_runner(schema, str(self._path), runner, table.runner)
                refuse_changed_shape(schema, table.shape)
            begun = runner in self._kept.positions and runner in self._kept.code
            stored = self._kept.code[runner] if begun else code
            self._commit(tables=tables, code={**self._kept.code, runner: stored})
            return stored

    def forget(self, runner: str) -> None:
        with self._lock:
            tables = {name: table for name, table in self._kept.tables.items() if table.runner != runner}
            self._commit(
                tables=tables, code=without(self._kept.code, runner), positions=without(self._kept.positions, runner)
            )

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        stored = self._kept.positions.get(runner, [])
        return {TopicPartition(topic, partition): position for topic, partition, position in stored}

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[FileLoading], None]) -> None:
        with self._lock:  # nobody else changes what was loaded
            stored = self.positions(runner)
            refuse_stale(runner, start, to, stored)
            loading = FileLoading(self._table)
            work(loading)  # an exception leaves all as it is
            tables = dict(self._kept.tables)
            for name, changes in loading.changes.items():
                rows = {key: row for key, row in {**tables[name].rows, **changes}.items() if row is not None}
                tables[name] = msgspec.structs.replace(tables[name], rows=rows)
            positions = self._kept.positions
            if to:
                positions = {**positions, runner: [(*tp, position) for tp, position in {**stored, **to}.items()]}
            self._commit(tables=tables, positions=positions)

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        found = FileLoading(self._table).load(table, [key])
        return found.get(key)

    def rows(
        self,
        table: TableSchema[R],
        where: Mapping[str, object] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[R]:
        columns, stored = columns_of(table), self._table(table)
        for name in [*(where or {}), *(term.removeprefix("-") for term in order)]:
            if name not in columns.names:
                raise Misuse(f"{table.title} has no column {name!r}: it has {', '.join(columns.names)}")
        rows = columns.decode(list(stored.rows.values()))
        rows = [row for row in rows if all(getattr(row, name) == value for name, value in (where or {}).items())]
        for term in reversed([*order, *table.key]):
            name = term.removeprefix("-")
            rows.sort(key=lambda row: ((v := getattr(row, name)) is not None, v), reverse=term.startswith("-"))
        return rows[:limit]

    def query(
        self, sql: str, args: Sequence[object] | Mapping[str, object] = (), *, timeout_s: float | None = None
    ) -> Answer:
        raise Misuse("a file answers no queries: read with row(…) by key or rows(…) by equal columns")

    def note(self, runner: str, note: RunnerNote) -> None:
        with self._lock:
            notes = {**self._kept.notes.get(runner, {}), note.worker: note}
            if note.state == "stopped" and note.failure is None:
                del notes[note.worker]
            self._commit(notes={**self._kept.notes, runner: notes})

    def notes(self, runner: str) -> list[RunnerNote]:
        return sorted(self._kept.notes.get(runner, {}).values(), key=lambda note: note.heartbeat, reverse=True)

    def close(self) -> None:
        self._owner.close()

    def _table(self, schema: TableSchema[Any]) -> Table:
        stored = self._kept.tables.get(name_of(schema))
        if stored is None:
            raise Unavailable(f"{self._path} has no table {schema.title} yet: start the process that runs it")
        refuse_changed_shape(schema, stored.shape)
        return stored

    def _commit(self, **changes: object) -> None:
        """Writes all of it to a new file, which takes the place of the old one at one moment."""
        kept = msgspec.structs.replace(self._kept, **changes)
        written = self._path.with_suffix(".new")
        written.write_bytes(msgpack.encode(kept))
        written.replace(self._path)
        self._kept = kept  # readers see it from here on


class FileLoading:
    """What a batch reads and wants to change. `changes`: by table and key; None: the row is removed."""

    def __init__(self, table: Callable[[TableSchema[Any]], Table]) -> None:
        self._table = table
        self.changes: dict[str, dict[bytes, Cells | None]] = {}

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        stored, changes = self._table(table).rows, self.changes.get(name_of(table), {})
        found = [changes.get(key, stored.get(key)) for key in encoded(table, keys)]
        rows = columns_of(table).decode([row for row in found if row is not None])
        return dict(zip(key_of_row(table, rows), rows, strict=True))

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        self._table(table)
        columns = columns_of(table)
        values = [[getattr(row, name) for row in rows] for name in columns.names]
        cells = columns.encode(values, range(len(values)))  # raises Misuse for a value of another type
        keys = encoded(table, key_of_row(table, rows))
        self.changes.setdefault(name_of(table), {}).update(zip(keys, cells, strict=True))

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        self._table(table)
        self.changes.setdefault(name_of(table), {}).update(dict.fromkeys(encoded(table, keys)))


def name_of(schema: TableSchema[Any]) -> str:
    return f"{schema.name}_v{schema.version}"


def columns_of(schema: TableSchema[Any]) -> Columns:
    return Columns(schema.title, schema.row, schema.columns, schema.key)


def encoded(schema: TableSchema[Any], keys: Collection[Key]) -> list[bytes]:
    """Keys as the file has them."""
    columns = columns_of(schema)
    indexes = [columns.names.index(name) for name in schema.key]
    values = zip(*keys, strict=True) if keys else [[] for _ in indexes]
    return [msgpack.encode(cells) for cells in columns.encode(values, indexes)]


def without(kept: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in kept.items() if key != name}
