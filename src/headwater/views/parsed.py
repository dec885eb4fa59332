"""A question as DuckDB's parser sees it: one SELECT, and the tables that it reads.

A name in a question is a table, or a part of the question itself (`WITH big AS (…)`). Which of them is decided as
DuckDB does: a part is known after it in the same WITH, and in all of what the WITH belongs to; inside of itself only
where it is recursive, after its UNION. So in `WITH v AS (SELECT * FROM v) SELECT * FROM v` the first `v` is a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import msgspec

from headwater.errors import Misuse

MOST_CHARACTERS = 20_000
"""So long a question may be."""


def statement_of(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """The parsed statement. Raises: Misuse: it is not one SELECT, or too long."""
    if len(sql) > MOST_CHARACTERS:
        raise Misuse(f"a question to views has at most {MOST_CHARACTERS:,} characters")
    try:
        [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        tree = msgspec.json.decode(text)
    except duckdb.InvalidInputException as error:  # it cannot be written in UTF-8
        raise Misuse(f"a question to views is one SELECT: {error}") from error
    except RecursionError as error:
        raise Misuse("the question has too many parts inside of each other") from error
    if tree.get("error"):
        raise Misuse(f"a question to views is one SELECT: {tree.get('error_message', 'it is something else')}")
    if len(tree["statements"]) != 1:
        raise Misuse(f"a question to views is one SELECT, and these are {len(tree['statements'])} statements")
    found: dict[str, Any] = tree["statements"][0]
    return found


def tables_of(statement: Mapping[str, Any]) -> set[str]:
    """The tables that a statement reads, in lower case, without those of another schema."""
    return {str(node["table_name"]).lower() for node in read_by(statement) if has_no_schema(node)}


def read_by(statement: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Where a statement reads a table that is no part of itself."""
    waiting: list[tuple[Any, frozenset[str]]] = [(statement, frozenset())]
    while waiting:
        one, parts = waiting.pop()
        if isinstance(one, list):
            waiting.extend((child, parts) for child in one)
        if not isinstance(one, dict):
            continue
        if one.get("type") == "BASE_TABLE":
            if is_qualified(one) or str(one["table_name"]).lower() not in parts:
                yield one
            continue
        for part in parts_of(one):
            waiting.append((part["value"], parts))
            parts |= {str(part["key"]).lower()}
        repeated = parts
        if one.get("type") == "RECURSIVE_CTE_NODE":
            repeated |= {str(one["cte_name"]).lower()}
        waiting.extend((child, parts if key == "left" else repeated) for key, child in one.items() if key != "cte_map")


def parts_of(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a WITH gives names to: `key`, the name, and `value`."""
    named = node.get("cte_map")
    return named["map"] if isinstance(named, dict) else []


def is_qualified(table: Mapping[str, Any]) -> bool:
    return bool(table["schema_name"] or table["catalog_name"])


def has_no_schema(table: Mapping[str, Any]) -> bool:
    """Whether a view could be meant."""
    return table["schema_name"] in ("", "main") and not table["catalog_name"]


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every part of a parsed statement."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
