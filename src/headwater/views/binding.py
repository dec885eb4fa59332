"""Asks DuckDB for the types of expressions, so that names, functions and types are right before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple

import duckdb

from headwater.views.declared import type_of_duckdb
from headwater.views.types import SqlType, quoted

AGGREGATES: Final = (
    "SUM, COUNT, COUNT(DISTINCT …), AVG, MIN, MAX, ARG_MIN, ARG_MAX, LATEST, EARLIEST, BOOL_AND, BOOL_OR, COUNT_IF"
)


class Function(NamedTuple):
    """What DuckDB knows of a name. Arguments: kinds: scalar, aggregate, macro, …; stabilities: of its variants."""

    kinds: frozenset[str]
    stabilities: frozenset[str]


class Binder:
    """A DuckDB in memory, without access to anything outside, that reads queries and binds expressions, and computes
    none but constants."""

    def __init__(self) -> None:
        self.session = duckdb.connect(
            config={"enable_external_access": "false", "python_enable_replacements": "false", "threads": 1}
        )
        self.session.execute("SET TimeZone = 'UTC'")
        self.session.execute("PRAGMA disable_optimizer")  # it would leave out what is asked about
        self._functions: dict[str, Function] = {}

    def __enter__(self) -> Binder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()

    def types(self, tables: Iterable[tuple[str, Mapping[str, SqlType]]], expressions: Sequence[str]) -> list[SqlType]:
        """The types of expressions over tables.

        Arguments: tables: alias and columns of each. Raises: duckdb.Error.
        """
        made = [
            "(SELECT "
            + ", ".join(f"NULL::{kind.sql} AS {quoted(name)}" for name, kind in columns.items())
            + f") AS {alias}"
            for alias, columns in tables
            if columns
        ]
        listed = ", ".join(f"({text}) AS c{place}" for place, text in enumerate(expressions))
        rows = self.session.execute(f"DESCRIBE SELECT {listed} {'FROM ' if made else ''}{', '.join(made)}").fetchall()
        return [type_of_duckdb(row[1].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")) for row in rows]

    def tree(self, query: str) -> Any:
        """A query as DuckDB's parser sees it, or where it is wrong, in bytes: what `json_serialize_sql` gives."""
        row = self.session.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
        assert row is not None
        return json.loads(row[0])

    def changes_by_itself(self, function: str) -> bool:
        """Whether a function gives another result another time: now, random."""
        stabilities = self.function(function).stabilities
        return "VOLATILE" in stabilities or stabilities == {"CONSISTENT_WITHIN_QUERY"}

    def is_aggregate(self, function: str) -> bool:
        kinds = self.function(function).kinds
        return "aggregate" in kinds and "scalar" not in kinds

    def function(self, name: str) -> Function:
        """What is known of a function; nothing of one that is not there."""
        if not self._functions:
            rows = self.session.execute(
                "SELECT function_name, list(DISTINCT function_type), list(DISTINCT stability) FROM duckdb_functions() "
                "GROUP BY function_name"
            ).fetchall()
            self._functions = {
                found: Function(frozenset(filter(None, kinds)), frozenset(filter(None, stabilities)))
                for found, kinds, stabilities in rows
            }
        return self._functions.get(name.lower(), Function(frozenset(), frozenset()))
