"""The state of views in a store: DuckDB works on it in memory, and each of its transactions is written down first.

    open:        store ─► tables in memory
    transaction: BEGIN ─► statements, of which a `Recorder` notes what they change ─► the store's own commit ─► COMMIT

The store is the truth. Killed before its commit, nothing has happened; killed after it, the next owner reads what was
written. Where the answer to its commit is lost, DuckDB rolls back, and before the next transaction the count of commits
in the store tells: if it was written, everything is read anew. So transactions take turns; those of views in one file
do not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from headwater.views.elsewhere_port import Changes, Lost, Piece, StateStore
from headwater.views.recorder import Recorder, rows_of

ROWS_OF_A_PIECE = 100_000
MANY_PIECES = 500
"""A table that has more pieces is written whole: reading one takes as long as some thousand rows."""

SPARE_ROWS = 10_000
"""A table is written whole when its pieces have this many rows more than twice those that it has."""

COMPRESSED_BYTES = 4096
"""Larger pieces are compressed."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Of a table. Arguments: pieces; rows: in all of them; live: that the table has."""

    pieces: int = 0
    rows: int = 0
    live: int = 0

    def with_piece(self, weight: int, rows: int) -> Tally:
        return Tally(self.pieces + 1, self.rows + rows, self.live + weight * rows)

    @property
    def is_much(self) -> bool:
        return self.pieces > MANY_PIECES or self.rows > 2 * self.live + SPARE_ROWS


class Elsewhere:
    """Arguments: store: not claimed yet. `lost`: why this process has the state no more."""

    def __init__(self, store: StateStore) -> None:
        self.place = store.place
        self.lost: Lost | None = None
        self._store, self._turn = store, threading.RLock()
        self._number, self._doubt = 0, False
        self._known = self._staged = dict[str, Tally]()
        self._told_anew: list[Callable[[], None]] = []

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Becomes the owner, and reads what is kept into an empty database. Raises: as `StateStore.claim`."""
        self._number = self._store.claim()
        show_all(connection, self._load(connection))

    def on_reading_anew(self, tell: Callable[[], None]) -> None:
        """Arguments: tell: called when everything was read anew: what was remembered of it may be past."""
        self._told_anew.append(tell)

    @contextmanager
    def turn(self, database: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Around a transaction of DuckDB. Raises: Unavailable: the store is away. Lost."""
        with self._turn:
            self.refuse_lost()
            if self._doubt:
                self._settle(database)
            yield

    def recorder(self, connection: duckdb.DuckDBPyConnection) -> Recorder:
        return Recorder(connection, {name: tally.live for name, tally in self._known.items()})

    def write_down(self, recorder: Recorder) -> None:
        """Commits what was recorded to the store. Raises: Unavailable: DuckDB has to roll back. Lost."""
        changes, self._staged = self._changes(recorder)
        if not (changes.gone or changes.emptied or changes.defined or changes.pieces):
            return
        self._doubt = True
        try:
            self._store.commit(self._number, changes)
        except Lost as error:
            self.lost = error
            raise

    def committed(self) -> None:
        """DuckDB has committed what was written down."""
        if self._doubt:
            self._number, self._doubt, self._known = self._number + 1, False, self._staged

    def refuse_lost(self) -> None:
        """Raises: Lost."""
        if self.lost is not None:
            raise self.lost

    def close(self) -> None:
        self._store.close()

    def _settle(self, database: duckdb.DuckDBPyConnection) -> None:
        """Finds out whether the last commit was written."""
        try:
            stands = self._store.commits()
            if stands not in (self._number, self._number + 1):
                raise Lost(
                    f"the state of views in {self.place} has {stands} commits, and this process has written "
                    f"{self._number}: it was restored or taken over; start this process again, it goes on from there"
                )
        except Lost as error:
            self.lost = error
            raise
        if stands == self._number + 1:
            connection = database.cursor()
            try:
                connection.execute("BEGIN")
                forget_all(connection)
                views = self._load(connection)
                connection.execute("COMMIT")
                show_all(connection, views)
            finally:
                connection.close()
            self._number = stands
            for tell in self._told_anew:
                tell()
        self._doubt = False

    def _load(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        """Reads all tables. Returns the statements that make the views of them."""
        definitions = self._store.definitions()
        known = dict.fromkeys(definitions, Tally())
        connection.execute("CREATE SCHEMA IF NOT EXISTS hw")
        for name, statement in definitions.items():
            if statement.startswith("CREATE TABLE"):
                connection.execute(statement)
                known[name] = self._fill(connection, name)
        self._known = known
        views = [name for name, statement in definitions.items() if not statement.startswith("CREATE TABLE")]
        return [definitions[name] for name in sorted(views, key=lambda name: not name.startswith("hw."))]

    def _fill(self, connection: duckdb.DuckDBPyConnection, name: str) -> Tally:
        tally, came, went = Tally(), list[pa.Table](), list[pa.Table]()
        for piece in self._store.pieces(name):
            rows = read(piece.content)
            tally = tally.with_piece(piece.weight, rows.num_rows)
            (came if piece.weight > 0 else went).append(rows)
        if came:
            connection.register("hw_came", pa.concat_tables(came))
            source = "FROM hw_came"
            if went:
                connection.register("hw_went", pa.concat_tables(went))
                source = "FROM hw_came EXCEPT ALL FROM hw_went"
            connection.execute(f"INSERT INTO {name} {source}")
            for one in ("hw_came", "hw_went") if went else ("hw_came",):
                connection.unregister(one)
        return tally

    def _changes(self, recorder: Recorder) -> tuple[Changes, dict[str, Tally]]:
        """What was recorded, and the tallies after it."""
        connection, known = recorder.connection, dict(self._known)
        for name in recorder.gone:
            known.pop(name, None)
        defined, emptied, pieces = dict[str, str](), set[str](), list[Piece]()
        for name, statement in recorder.views.items():
            defined[name], known[name] = statement, Tally()
        for name in recorder.made:
            defined[name], known[name] = definition_of(connection, name), Tally()
        whole = dict.fromkeys([*recorder.made, *recorder.whole])
        for name, moved in recorder.moved.items():
            signs = [(sign, [rows for weight, rows in moved if weight == sign]) for sign in (1, -1)]
            both = [(sign, pa.concat_tables(rows)) for sign, rows in signs if rows]
            tally = known[name]
            for sign, rows in both:
                tally = tally.with_piece(sign, rows.num_rows)
            if tally.is_much:
                whole[name] = None
            else:
                known[name] = tally
                pieces += [Piece(name, sign, written(rows)) for sign, rows in both]
        for name in whole:
            if name not in recorder.made:
                emptied.add(name)
            tally = Tally()
            rows = rows_of(connection, f"FROM {name}")
            for first in range(0, rows.num_rows, ROWS_OF_A_PIECE):
                some = rows.slice(first, ROWS_OF_A_PIECE)
                tally = tally.with_piece(1, some.num_rows)
                pieces.append(Piece(name, 1, written(some)))
            known[name] = tally
        return Changes(sorted(recorder.gone), sorted(emptied), defined, pieces), known


def show_all(connection: duckdb.DuckDBPyConnection, views: Sequence[str]) -> None:
    """Makes views. One whose tables are gone shows nothing, and is made anew with them."""
    for statement in views:
        with suppress(duckdb.CatalogException, duckdb.BinderException):
            connection.execute(statement)


def definition_of(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The statement that makes a table."""
    columns = connection.execute(f"DESCRIBE {name}").fetchall()
    listed = ", ".join(f'"{column.replace(chr(34), chr(34) * 2)}" {kind}' for column, kind, *_ in columns)
    return f"CREATE TABLE {name} ({listed})"


def forget_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Drops all tables and views."""
    for kind, schema, name in connection.execute(
        "SELECT 'VIEW', schema_name, view_name FROM duckdb_views() WHERE NOT internal AND NOT temporary"
        " UNION ALL SELECT 'TABLE', schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary"
    ).fetchall():
        quoted = '"{}"."{}"'.format(*(one.replace('"', '""') for one in (schema, name)))
        connection.execute(f"DROP {kind} {quoted}")


def written(rows: pa.Table) -> bytes:
    """Rows as an Arrow stream."""
    compression = "lz4" if rows.nbytes > COMPRESSED_BYTES else None
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue().to_pybytes())


def read(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()
