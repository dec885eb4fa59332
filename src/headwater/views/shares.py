"""What a process has of a view that processes share, and what it tells of it.

A partition is told from when the process that was given it has read as far as the log went at that moment. Until then
another process may have told more of it, and answers would go back. Rows and positions are of one moment.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import duckdb
import msgspec
import pyarrow as pa

from headwater.log.port import Log, Positions, TopicPartition
from headwater.views.file import ViewFile
from headwater.views.file_tables import stored_marks, stored_positions
from headwater.views.kept import Compiled
from headwater.views.sharing import PARTITION, parted
from headwater.views.types import quoted


class Told(msgspec.Struct):
    """What a process has of a view.

    Arguments: positions: topic, partition and next offset of each partition that it tells; tables: by name, its rows of
    these, as a stream of Arrow; none: they were not asked for; marks: of a view that has a topic of its own, by
    partition of that, how far its sources were read; commits: how often its file was changed.
    """

    positions: list[tuple[str, int, int]]
    tables: dict[str, bytes] = {}
    marks: list[tuple[int, str, int, int]] = []
    commits: int = 0


class Share:
    """The partitions of one view that this process reads. Thread-safe. Arguments: log."""

    def __init__(self, log: Log) -> None:
        self._log, self._lock = log, threading.Lock()
        self._ends: dict[TopicPartition, int] = {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        ends = self._log.ends(partitions)
        with self._lock:
            self._ends.update(ends)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        with self._lock:
            for tp in partitions:
                self._ends.pop(tp, None)

    def told(self, file: ViewFile, runner: str, compiled: Compiled, *, rows: bool) -> Told:
        """Arguments: file; runner: of the view; compiled: what it keeps; rows: whether they are wanted."""
        commits = file.commits  # before: who compares them looks once more rather than once less
        with file.aside() as connection:
            connection.execute("BEGIN TRANSACTION READ ONLY")
            told = self._reached(stored_positions(connection, runner))
            found = Told([(*tp, position) for tp, position in told.items()], commits=commits)
            found.marks = stored_marks(connection, runner)
            if rows:
                tables = parted(compiled.tables)
                found.tables = {one.name: rows_of(connection, one.name, one.fold, list(told)) for one in tables}
        return found

    def _reached(self, positions: Positions) -> dict[TopicPartition, int]:
        with self._lock:
            ends = dict(self._ends)
        return {tp: positions.get(tp, 0) for tp, end in ends.items() if positions.get(tp, 0) >= end}


def rows_of(
    connection: duckdb.DuckDBPyConnection, table: str, fold: str | None, partitions: Sequence[TopicPartition]
) -> bytes:
    """What a table has of these partitions, in as few rows as can be."""
    wanted = ", ".join(str(tp.partition) for tp in partitions) or "NULL"
    source = f"({fold})" if fold is not None else table
    found = connection.sql(f"SELECT * FROM {source} WHERE {quoted(PARTITION)} IN ({wanted})").to_arrow_table()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return bytes(sink.getvalue())


def put_rows(
    connection: duckdb.DuckDBPyConnection, table: str, parts: Sequence[tuple[bytes, Sequence[TopicPartition]]]
) -> None:
    """Makes a table of what several processes have told of it.

    Arguments: connection: in a transaction; table: its name, with its schema; parts: of each process, its rows and the
    partitions that are taken from it.
    """
    for i, (rows, partitions) in enumerate(parts):
        with pa.ipc.open_stream(rows) as reader:
            connection.register("hw_told", reader.read_all())
        wanted = ", ".join(str(tp.partition) for tp in partitions) or "NULL"
        columns = f"SELECT * EXCLUDE ({quoted(PARTITION)}) FROM hw_told WHERE {quoted(PARTITION)} IN ({wanted})"
        connection.execute(f"CREATE TABLE {table} AS {columns}" if i == 0 else f"INSERT INTO {table} {columns}")
        connection.unregister("hw_told")
