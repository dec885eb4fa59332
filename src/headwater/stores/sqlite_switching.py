"""What the names of tables show in a file of SQLite, and the exchange of tables, inside a transaction of the store.

Tables are exchanged by their names, so every statement that anybody has ready means the new rows from the commit on.
Views and statements name tables by text: with `legacy_alter_table`, which the writing connection has, SQLite leaves
them as they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from msgspec import json

from headwater.stores.port import TableSchema
from headwater.stores.sqlite_tables import quoted, stored_positions, stored_view, table_name
from headwater.stores.switching import Shown, Switch, refuse_behind, refuse_unmade, shown_version

MEANWHILE = "hw_meanwhile"
"""The name of what is exchanged, while it is: of a table or of a runner."""


def view_of(name: str, version: int, columns: Iterable[str]) -> str:
    """CREATE VIEW: lets queries find a version by the table's name."""
    listed = ", ".join(map(quoted, columns))
    return f"CREATE VIEW {quoted(name)} AS SELECT {listed} FROM {table_name(name, version)}"


def shown_by(connection: sqlite3.Connection, name: str) -> Shown | None:
    """What queries by a name find."""
    view = stored_view(connection, name)
    version = None if view is None else shown_version(view, name)
    if version is None:
        return None
    found = connection.execute(
        "SELECT runner, coalesce(code, '') FROM hw_tables LEFT JOIN hw_code USING (runner)"
        " WHERE name = ? AND version = ?",
        (name, version),
    ).fetchone()
    return None if found is None else Shown(version, *found)


def columns_of(connection: sqlite3.Connection, name: str, version: int, place: str) -> tuple[str, list[str]]:
    """Who fills a version of a table, and its columns. Raises: Unavailable: nobody has opened it."""
    found = connection.execute(
        "SELECT runner, shape FROM hw_tables WHERE name = ? AND version = ?", (name, version)
    ).fetchone()
    if found is None:
        raise refuse_unmade(name, version, place)
    return str(found[0]), list(json.decode(found[1], type=dict[str, str]))


def show(connection: sqlite3.Connection, name: str, version: int, columns: Iterable[str]) -> None:
    """Lets queries find this version by the name."""
    view = view_of(name, version, columns)
    if stored_view(connection, name) != view:
        connection.execute(f"DROP VIEW IF EXISTS {quoted(name)}")
        connection.execute(view)


def check_switch(connection: sqlite3.Connection, switch: Switch, place: str) -> None:
    """Raises: Behind. Unavailable: a version that nobody has opened."""
    refuse_behind(
        switch,
        lambda name: shown_by(connection, name),
        lambda name, version: columns_of(connection, name, version, place)[0],
        lambda runner: stored_positions(connection, runner),
    )


def carry_out(connection: sqlite3.Connection, switch: Switch, place: str) -> None:
    """Exchanges tables, positions and code, and lets names show what they are to show."""
    for table, other in switch.tables:
        exchange_tables(connection, table, other)
    if switch.tables:
        for kept in ("hw_positions", "hw_code"):
            for before, after in ((switch.runner, MEANWHILE), (switch.other, switch.runner), (MEANWHILE, switch.other)):
                connection.execute(f"UPDATE {kept} SET runner = ? WHERE runner = ?", (after, before))
    for name, version in switch.shown.items():
        show(connection, name, version, columns_of(connection, name, version, place)[1])


def exchange_tables(connection: sqlite3.Connection, table: TableSchema[object], other: TableSchema[object]) -> None:
    one, two = table_name(table.name, table.version), table_name(other.name, other.version)
    for before, after in ((one, MEANWHILE), (two, one), (MEANWHILE, two)):
        connection.execute(f"ALTER TABLE {before} RENAME TO {after}")
