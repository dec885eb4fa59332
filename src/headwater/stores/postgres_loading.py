"""What a batch does inside its transaction: rows under lock, and positions that are compared and moved."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from psycopg import Cursor

from headwater.log.port import Positions, TopicPartition
from headwater.stores.port import Key, StaleRunner, TableSchema, key_of_row
from headwater.stores.postgres_cells import array
from headwater.stores.postgres_connections import Connection, translated
from headwater.stores.postgres_tables import PostgresTable

R = TypeVar("R")


class Overtaken(Exception):
    """Another runner has made a row that was missing: the work is done again."""


class PostgresLoading:
    """`Loading` in the transaction of `apply`. It remembers which rows it has found, and so locked, and which not."""

    def __init__(self, connection: Connection, table: Callable[[TableSchema[Any]], PostgresTable], place: str) -> None:
        self._connection, self._table, self._place = connection, table, place
        self._locked: dict[PostgresTable, set[Key]] = {}
        self._absent: dict[PostgresTable, set[Key]] = {}

    def own_cursor(self) -> Cursor[Any]:
        """For statements of a handler's own, in the transaction, with `%s` for values."""
        return Cursor(self._connection)

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        found, locked, absent = self._known(table)
        with translated(self._place):
            rows = found.load(self._connection, keys)
        locked.update(rows)
        absent.difference_update(rows)
        absent.update(set(keys).difference(rows))
        return rows

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        found, locked, absent = self._known(table)
        by_key = dict(zip(key_of_row(table, rows), rows, strict=True))
        changed = by_key if locked.issuperset(by_key) else {key: row for key, row in by_key.items() if key in locked}
        new = {key: row for key, row in by_key.items() if key in absent} if absent else {}
        with translated(self._place):
            found.update(self._connection, changed)
            if found.insert(self._connection, new) != len(new):
                raise Overtaken
            if len(changed) + len(new) < len(by_key):
                unknown = {key: row for key, row in by_key.items() if key not in locked and key not in absent}
                found.upsert(self._connection, unknown)
        locked.update(by_key)
        absent.difference_update(new)

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        found, locked, absent = self._known(table)
        with translated(self._place):
            found.delete(self._connection, [key for key in keys if key not in absent])
        locked.difference_update(keys)

    def refuse_overtaken(self) -> None:
        """Raises: Overtaken: a row that was missing, and that the work has not made, is there by now."""
        for table, keys in self._absent.items():
            if table.exists(self._connection, keys):
                raise Overtaken

    def _known(self, schema: TableSchema[Any]) -> tuple[PostgresTable, set[Key], set[Key]]:
        table = self._table(schema)
        return table, self._locked.setdefault(table, set()), self._absent.setdefault(table, set())


def locked_positions(connection: Connection, runner: str, to: Positions) -> dict[TopicPartition, int]:
    """The stored positions of these partitions, which nobody else changes until the transaction ends."""
    rows = connection.execute(
        "SELECT p.topic, p.part, p.next FROM hw_positions AS p"
        " JOIN unnest($2::text[], $3::integer[]) AS w (topic, part) ON p.topic = w.topic AND p.part = w.part"
        " WHERE p.runner = $1 ORDER BY p.topic, p.part FOR UPDATE OF p",
        [runner, *partition_arrays(to)],
    )
    return {TopicPartition(topic, part): position for topic, part, position in rows.fetchall()}


def write_positions(connection: Connection, runner: str, start: Positions, to: Positions) -> None:
    """Moves positions that are locked, and adds those that were never there.

    Raises: StaleRunner: another runner has added one first.
    """
    known = {partition: position for partition, position in to.items() if partition in start}
    new = {partition: position for partition, position in to.items() if partition not in start}
    rows = "unnest($2::text[], $3::integer[], $4::bigint[]) AS w (topic, part, next)"
    moved = 0
    if known:
        moved += connection.execute(
            f"UPDATE hw_positions AS p SET next = w.next FROM {rows}"
            " WHERE p.runner = $1 AND p.topic = w.topic AND p.part = w.part",
            [runner, *partition_arrays(known), array(map(str, known.values()))],
        ).rowcount
    if new:
        moved += connection.execute(
            f"INSERT INTO hw_positions SELECT $1, w.* FROM {rows} ORDER BY w.topic, w.part ON CONFLICT DO NOTHING",
            [runner, *partition_arrays(new), array(map(str, new.values()))],
        ).rowcount
    if moved != len(to):
        raise StaleRunner(f"another runner of {runner} has begun with {', '.join(map(str, new))} meanwhile")


def partition_arrays(partitions: Collection[TopicPartition]) -> list[str]:
    return [array([partition.topic for partition in partitions]), array([str(p.partition) for p in partitions])]
