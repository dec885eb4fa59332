"""Where runners and tables are: in their own places, or in those of others, where rows were exchanged.

One document, that of `SWITCH`, says it, and each exchange counts up in it. What one reading of it says is a `Names`,
which stays as it is: a transaction goes by one `Names` from its beginning to its end. That it may is made sure of where
the session is listed (`refuse_moved`, in `opensearch_registering`); from then on an exchange closes the session first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headwater.errors import Unavailable
from headwater.stores.opensearch_state import SWITCH, RunnerDoc, State, TableDoc, runner_name, table_name
from headwater.stores.opensearch_tables import SearchTable
from headwater.stores.port import TableSchema, refuse_changed_shape
from headwater.stores.switching import Shown, refuse_unmade

Tables = dict[tuple[str, int], SearchTable]


class Moved(Exception):
    """Rows were exchanged since these names were read: begin anew, with others."""


class Names:
    """What one reading of the document says.

    Arguments: document; tables: that were found by it, to which others are added; state; where: the store, for errors.
    """

    def __init__(self, document: RunnerDoc, tables: Tables, state: State, where: str) -> None:
        self.document, self.tables, self._state, self._where = document, tables, state, where

    @property
    def exchanges(self) -> int:
        """How often rows had been exchanged by then."""
        return self.document.exchanges

    def place(self, runner: str) -> str:
        """The name under which a runner is found."""
        return self.document.places.get(runner, runner)

    def runner_at(self, place: str) -> str:
        """Who is found in a place."""
        return next((runner for runner, where in self.document.places.items() if where == place), place)

    def table_key(self, name: str, version: int) -> str:
        """The name of a table's document."""
        key = table_name(name, version)
        return self.document.moved.get(key, key)

    def table_doc(self, name: str, version: int) -> TableDoc | None:
        return self._state.read(self.table_key(name, version), TableDoc)[0]

    def runner_doc(self, runner: str) -> RunnerDoc:
        found, _ = self._state.read(runner_name(self.place(runner)), RunnerDoc)
        return RunnerDoc() if found is None else found

    def runner_of(self, name: str, version: int) -> str:
        """Who fills a version of a table. Raises: Unavailable: nobody has made it."""
        found = self.table_doc(name, version)
        if found is None:
            raise refuse_unmade(name, version, self._where)
        return self.owner(self.table_key(name, version), found)

    def owner(self, key: str, table: TableDoc) -> str:
        """Who fills a table. Arguments: key: the name of its document."""
        return self.document.owners.get(key) or self.runner_at(table.runner)

    def owned(self, runner: str) -> set[str]:
        """The names of the documents of tables that have stayed with a runner."""
        return {key for key, owner in self.document.owners.items() if owner == runner}

    def shown(self, name: str) -> Shown | None:
        """What a table's name shows."""
        version = self.document.shown.get(name)
        table = None if version is None else self.table_doc(name, version)
        if version is None or table is None:
            return None
        runner = self.owner(self.table_key(name, version), table)
        return Shown(version, runner, self.runner_doc(runner).code or "")

    def table(self, schema: TableSchema[Any]) -> SearchTable:
        """The table of a schema, which somebody has opened. Raises: Unavailable: nobody has. Misuse: another shape."""
        found = self.tables.get((schema.name, schema.version))
        if found is not None and found.schema.row is schema.row:
            return found
        stored = self.table_doc(schema.name, schema.version)
        if stored is None:
            raise Unavailable(f"{self._where} has no table {schema.title} yet: start the process that runs it")
        refuse_changed_shape(schema, stored.shape)
        place = self.place(self.owner(self.table_key(schema.name, schema.version), stored))
        table = self.tables[schema.name, schema.version] = SearchTable(schema, stored.index, place)
        return table


class Finding:
    """Names as this store has read them last. Thread-safe. Arguments: state; where: the store, for errors."""

    def __init__(self, state: State, where: str) -> None:
        self._state, self._where = state, where
        self.now = self.named(RunnerDoc(), {})
        """As they were read last; nobody who uses them may trust that they still are so."""

    def named(self, document: RunnerDoc, tables: Tables) -> Names:
        return Names(document, tables, self._state, self._where)

    def look_up(self) -> Names:
        """Reads them. Raises: Unavailable."""
        found, _ = self._state.read(runner_name(SWITCH), RunnerDoc)
        found, last = RunnerDoc() if found is None else found, self.now
        self.now = self.named(found, last.tables if found.exchanges == last.exchanges else {})
        return self.now

    def refuse_moved(self, names: Names) -> None:
        """Raises: Moved: they are others now."""
        if self.look_up().exchanges != names.exchanges:
            raise Moved

    def forget_tables(self, indices: Iterable[str] | None = None) -> None:
        """What was known of tables is not so any more. Arguments: indices: of these tables; None: of all."""
        tables, gone = self.now.tables, None if indices is None else set(indices)
        kept = {} if gone is None else {key: table for key, table in list(tables.items()) if table.index not in gone}
        self.now = self.named(self.now.document, kept)
