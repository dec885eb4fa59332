"""When the tables of a view are merged: what was added to them becomes as few rows as can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb

from headwater.views.closing import Closing
from headwater.views.kept import Floor, KeptTable, made
from headwater.views.parts import Parts, size
from headwater.views.room import Room, room_of

MERGE_ROWS = 100_000
"""What is kept is merged when more rows than this were added since the last time, and half as many as were there."""


class Growth:
    """Arguments: size: how many rows there are, or more: those of transactions that came to nothing count, too."""

    def __init__(self, size: int) -> None:
        self.size = self._merged = size

    @property
    def enough(self) -> bool:
        return self.size - self._merged > max(MERGE_ROWS, self._merged // 2)

    def merged(self, size: int) -> None:
        self.size = self._merged = size


class Merging:
    """Merges tables, each when it has grown by much: a piece of it with each batch where it is in parts (see `parts`),
    all of it at once where its rows cannot be folded by keys, and then without those that have expired. Arguments:
    tables; connection: on which they are made where they are missing; floors: by which rows expire; partitions: how
    many each topic has."""

    def __init__(
        self,
        tables: Sequence[KeptTable],
        connection: duckdb.DuckDBPyConnection,
        floors: Sequence[Floor],
        partitions: Mapping[str, int],
    ) -> None:
        self._floors, self._partitions = floors, partitions
        self._growth: dict[str, Growth] = {}
        self._parts: dict[str, Parts] = {}
        self._tables, self._added = tables, dict.fromkeys((table.name for table in tables), 0)
        self._rooms = {table.name: room_of(table) for table in tables}
        for table in tables:
            if table.keys:
                self._parts[table.name] = Parts(table, connection)
            else:
                connection.execute(made(table.name, table.adds))
                self._growth[table.name] = Growth(size(connection, table.name))

    def add(self, connection: duckdb.DuckDBPyConnection, table: KeptTable) -> None:
        """Adds what a batch comes to. Raises: duckdb.OutOfRangeException: a sum does not fit any more."""
        room = self._rooms[table.name]
        with watched(room):
            if table.keys:
                parts = self._parts[table.name]
                more = self._added[table.name] = parts.add(connection)
                written = parts.written(connection)
            else:
                written, more = table.name, added(connection, table)
                self._growth[table.name].size += more
        if room is not None:
            room.look(connection, written, more)

    def tried(self, connection: duckdb.DuckDBPyConnection, table: KeptTable) -> None:
        """What a batch would add is in `room.TRIED`. Raises: as `add` would."""
        room = self._rooms[table.name]
        if room is not None:
            room.tried(connection)

    def look(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Merges what has grown. In the transaction in which it grew."""
        for table in self._tables:
            if table.keys:
                self._parts[table.name].look(connection, self._added[table.name], MERGE_ROWS)
                continue
            growth = self._growth[table.name]
            if table.fold is not None and growth.enough:
                there = table.fold
                if table.expired:
                    self._look_at_floors(connection)
                    there = f"SELECT * FROM ({table.fold}) WHERE coalesce(NOT ({table.expired}), true)"
                connection.execute(f"CREATE OR REPLACE TEMP TABLE hw_merged AS {there}")
                put(connection, table.name, "hw_merged")
                growth.merged(size(connection, table.name))

    def _look_at_floors(self, connection: duckdb.DuckDBPyConnection) -> None:
        for floor in self._floors:
            connection.execute(floor.release)
            connection.execute(floor.bound, [self._partitions[floor.topic]])


class MergingAndClosing:
    """The same for windows with a grace: all tables at once, and what has closed is put away (see `closing`).

    Arguments: tables; closing; partitions: how many the topic has; connection.
    """

    def __init__(
        self,
        tables: Sequence[KeptTable],
        closing: Closing,
        partitions: int,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        self._tables, self._closing, self._partitions = tables, closing, partitions
        for table in tables:
            connection.execute(made(table.name, table.adds))
        connection.execute(f"CREATE TABLE IF NOT EXISTS {closing.name} AS {closing.finished} WITH NO DATA")
        self._growth = Growth(self._size(connection))
        self._rooms = {table.name: room_of(table) for table in tables}

    def add(self, connection: duckdb.DuckDBPyConnection, table: KeptTable) -> None:
        """As of `Merging`."""
        room = self._rooms[table.name]
        with watched(room):
            more = added(connection, table)
        self._growth.size += more
        if room is not None:
            room.look(connection, table.name, more)

    def tried(self, connection: duckdb.DuckDBPyConnection, table: KeptTable) -> None:
        """As of `Merging`."""
        room = self._rooms[table.name]
        if room is not None:
            room.tried(connection)

    def look(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Merges and closes if they have grown by much. In the transaction in which they grew."""
        if not self._growth.enough:
            return
        closing = self._closing
        connection.execute(closing.release)
        connection.execute(closing.bound, [self._partitions])
        connection.execute(f"INSERT INTO {closing.name} SELECT * FROM ({closing.finished}) WHERE {closing.closes}")
        names = [f"hw_open_{i}" for i in range(len(self._tables))]
        for name, table in zip(names, self._tables, strict=True):
            opened = f"SELECT * FROM ({table.fold})"
            if not table.lasting:
                opened += f" WHERE coalesce(NOT ({closing.closes}), true)"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {opened}")
        for name, table in zip(names, self._tables, strict=True):
            put(connection, table.name, name)
        connection.execute(closing.mark)
        self._growth.merged(self._size(connection))

    def _size(self, connection: duckdb.DuckDBPyConnection) -> int:
        return sum(size(connection, table.name) for table in self._tables)


@contextmanager
def watched(room: Room | None) -> Iterator[None]:
    """Where a batch by itself is too much, the first of its records is looked for with what there was before."""
    try:
        yield
    except duckdb.OutOfRangeException as error:
        if room is None:
            raise
        room.scarce = True
        raise room.explained(error) from error


def put(connection: duckdb.DuckDBPyConnection, table: str, made: str) -> None:
    """Exchanges what is in a table for what is in another, which goes."""
    connection.execute(f"DELETE FROM {table}")
    connection.execute(f"INSERT INTO {table} FROM {made}")
    connection.execute(f"DROP TABLE {made}")


def added(connection: duckdb.DuckDBPyConnection, table: KeptTable) -> int:
    """Adds what a batch comes to, and returns how many rows that were."""
    [(count,)] = connection.execute(f"INSERT INTO {table.name} {table.adds}").fetchall()
    return int(count)
