"""What a batch does before it is written: rows that are read as they are committed, and changes that are kept here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

from headwater.stores.opensearch_documents import Known
from headwater.stores.opensearch_tables import SearchTable
from headwater.stores.port import Key, TableSchema

R = TypeVar("R")
Read = Callable[[SearchTable, Sequence[str]], dict[str, Known]]


class Change(NamedTuple):
    """Of one row. Arguments: table; id; known: what is there; kept: its document (None: the row is deleted)."""

    table: SearchTable
    id: str
    known: Known
    kept: bytes | None


class SearchLoading:
    """`Loading` in `Store.apply`. Arguments: table: finds the table of a schema; read: documents by their ids."""

    def __init__(self, table: Callable[[TableSchema[Any]], SearchTable], read: Read) -> None:
        self._table, self._read = table, read
        self._known: dict[SearchTable, dict[str, Known]] = {}
        self._given: dict[SearchTable, set[str]] = {}
        self._changed: dict[SearchTable, dict[str, bytes | None]] = {}

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        found = self._table(table)
        ids = found.ids(keys)
        known = self._look(found, ids)
        documents = {key: known[id].row for key, id in zip(keys, ids, strict=True)}
        changed, given = self._changed.get(found, {}), self._given.setdefault(found, set())
        for key, id in zip(keys, ids, strict=True) if changed or given else ():
            if id in changed or id in given:  # what was given out may have been changed since, down to its lists
                kept = changed[id] if id in changed else known[id].kept
                documents[key] = None if kept is None else found.read([kept])[0]
        given.update(ids)
        there = {key: document for key, document in documents.items() if document is not None}
        return dict(zip(there, found.rows(list(there.values())), strict=True))

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        found = self._table(table)
        ids, documents = found.documents(rows)
        self._changed.setdefault(found, {}).update(zip(ids, documents, strict=True))

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        found = self._table(table)
        self._changed.setdefault(found, {}).update(dict.fromkeys(found.ids(keys)))

    def changes(self) -> list[Change]:
        """Each row that was saved or deleted; to delete what is not there is no change."""
        found: list[Change] = []
        for table, changed in self._changed.items():
            known = self._look(table, list(changed))
            found += (
                Change(table, id, known[id], kept)
                for id, kept in changed.items()
                if kept is not None or known[id].kept is not None
            )
        return found

    def read(self, *, only: bool) -> list[tuple[SearchTable, dict[str, Known]]]:
        """What was read. Arguments: only: without what is written as well."""
        return [
            (table, rest)
            for table, known in self._known.items()
            if (rest := {id: one for id, one in known.items() if not only or id not in self._changed.get(table, ())})
        ]

    def _look(self, table: SearchTable, ids: Sequence[str]) -> dict[str, Known]:
        known = self._known.setdefault(table, {})
        missing = [id for id in dict.fromkeys(ids) if id not in known]
        if missing:
            known.update(self._read(table, missing))
        return known
