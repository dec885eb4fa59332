"""What the names of tables show in PostgreSQL, and the exchange of tables, inside a transaction of the store.

Tables are exchanged by their names, so every statement that anybody has ready means the new rows from the commit on;
views keep to the table that they were made for, and are made again. Positions are locked first, as in `apply`: who is
in it is done before, and who comes finds other positions. Tables and views are locked for moments; whoever reads for
long is waited for in short attempts, so that other readers do not queue up behind the exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import json
from psycopg import errors

from headwater.log.port import TopicPartition
from headwater.stores.port import TableSchema
from headwater.stores.postgres_connections import Connection
from headwater.stores.postgres_tables import quoted, table_name
from headwater.stores.switching import Shown, Switch, refuse_behind, refuse_unmade

MEANWHILE = "hw_meanwhile"
"""The name of what is exchanged, while it is: of a table or of a runner."""

WAIT_MS = 500
"""How long readers of the tables are waited for in one attempt; others wait behind it."""

IN_THE_WAY = (errors.LockNotAvailable, errors.UniqueViolation)
"""Somebody reads for long, or a runner has just added a row of positions."""


def shown_by(connection: Connection, name: str) -> Shown | None:
    """What queries by a name find."""
    found = connection.execute(
        "SELECT version, runner, coalesce(code, '') FROM hw_views JOIN hw_tables USING (name, version)"
        " LEFT JOIN hw_code USING (runner) WHERE name = $1",
        [name],
    ).fetchone()
    return None if found is None else Shown(*found)


def columns_of(connection: Connection, name: str, version: int, place: str) -> tuple[str, list[str]]:
    """Who fills a version of a table, and its columns. Raises: Unavailable: nobody has opened it."""
    found = connection.execute(
        "SELECT runner, shape FROM hw_tables WHERE name = $1 AND version = $2", [name, version]
    ).fetchone()
    if found is None:
        raise refuse_unmade(name, version, place)
    return str(found[0]), list(json.decode(found[1], type=dict[str, str]))


def show(connection: Connection, name: str, version: int, columns: Iterable[str]) -> None:
    """Lets queries find this version by the name."""
    listed = ", ".join(map(quoted, columns))
    view = f"VIEW {quoted(name)} AS SELECT {listed} FROM {table_name(name, version)}"
    try:
        with connection.transaction():  # keeps who may read the view
            connection.execute(f"CREATE OR REPLACE {view}")
    except errors.InvalidTableDefinition:  # other columns
        connection.execute(f"DROP VIEW {quoted(name)}")
        connection.execute(f"CREATE {view}")
    connection.execute(
        "INSERT INTO hw_views VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
        [name, version],
    )


def check_switch(connection: Connection, switch: Switch, place: str) -> None:
    """Locks the positions of all that are concerned. Raises: Behind. Unavailable: a version that nobody has opened."""
    connection.execute(f"SET LOCAL lock_timeout = {WAIT_MS}")
    if switch.tables:
        for runner in (switch.runner, switch.other):
            all_positions(connection, runner)
    refuse_behind(
        switch,
        lambda name: shown_by(connection, name),
        lambda name, version: columns_of(connection, name, version, place)[0],
        lambda runner: all_positions(connection, runner),
    )


def all_positions(connection: Connection, runner: str) -> dict[TopicPartition, int]:
    """The positions of a runner, which nobody else changes until the transaction ends."""
    rows = connection.execute(
        "SELECT topic, part, next FROM hw_positions WHERE runner = $1 ORDER BY topic, part FOR UPDATE", [runner]
    )
    return {TopicPartition(topic, part): position for topic, part, position in rows.fetchall()}


def carry_out(connection: Connection, switch: Switch, place: str) -> None:
    """Exchanges tables, positions and code, and lets names show what they are to show."""
    exchanged = [one for pair in switch.tables for one in pair]
    shown = {one.name: one.version for one in exchanged if _shows(connection, one)} | dict(switch.shown)
    for name in sorted(shown):  # a reader locks a view first, and then the table that it shows
        if shown_by(connection, name) is not None:
            connection.execute(f"LOCK TABLE {quoted(name)} IN ACCESS EXCLUSIVE MODE")
    for table, other in switch.tables:
        exchange_tables(connection, table, other)
    if switch.tables:
        for kept in ("hw_positions", "hw_code"):
            for before, after in ((switch.runner, MEANWHILE), (switch.other, switch.runner), (MEANWHILE, switch.other)):
                connection.execute(f"UPDATE {kept} SET runner = $1 WHERE runner = $2", [after, before])
    for name, version in shown.items():
        show(connection, name, version, columns_of(connection, name, version, place)[1])


def _shows(connection: Connection, table: TableSchema[Any]) -> bool:
    """Whether the name of a table shows this version of it: its view has to be made for the other rows."""
    now = shown_by(connection, table.name)
    return now is not None and now.version == table.version


def exchange_tables(connection: Connection, table: TableSchema[Any], other: TableSchema[Any]) -> None:
    one, two = table_name(table.name, table.version), table_name(other.name, other.version)
    for before, after in ((one, MEANWHILE), (two, one), (MEANWHILE, two)):
        connection.execute(f"ALTER TABLE {before} RENAME TO {after}")
