"""What a question to views may say: one SELECT over views, with functions that compute, of a bounded size.

The question is parsed by DuckDB itself, which tells every table and every function in it. What it does not say is
refused by the database, too (see `file`). Some things are refused only here, since DuckDB can neither count nor
interrupt them: a value whose size is a number in the question (`repeat('x', 1000000000)` is made at once, outside of
the memory that DuckDB knows of), and a question that grows while it is planned (a part that names the one before it
twice, thirty times).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import duckdb

from headwater.errors import Misuse
from headwater.views.parsed import has_no_schema, nodes, parts_of, statement_of, tables_of

MOST_TABLES = 100
"""So many tables a question may read, a part of it that is named several times counted as often."""

MOST_SIZED = 10_000
"""So large a value may be made by a function that is told a size."""

TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
"""What may stand after FROM. There a range is made row by row."""

SIZED: Mapping[str, tuple[int, ...]] = {
    "repeat": (1,),
    "lpad": (1,),
    "rpad": (1,),
    "list_resize": (1,),
    "array_resize": (1,),
    "bitstring": (1,),
    "to_base": (2,),
    "equi_width_bins": (2,),
    "bar": (3,),
    "range": (0, 1, 2),
    "generate_series": (0, 1, 2),
}
"""Which arguments of a function say how large its value is to be: they have to be small numbers in the question."""

MORE_FUNCTIONS = frozenset(
    [
        "row_number",
        "rank",
        "dense_rank",
        "percent_rank",
        "cume_dist",
        "ntile",
        "lag",
        "lead",
        "first_value",
        "last_value",
        "nth_value",
        "if",
        "ifnull",
        "nullif",
    ]
)
"""Window functions, and what DuckDB has as a part of its grammar."""

PLAIN = re.compile(r"(?!duckdb_|pg_|sqlite_|pragma_|tables$|columns$|schemata$)[a-z_][a-z0-9_]*")

REFUSED = frozenset(
    {
        "current_setting",
        "getenv",
        "getvariable",
        "set_config",
        "nextval",
        "currval",
        "current_query",
        "current_connection_id",
        "current_query_id",
        "current_transaction_id",
        "txid_current",
        "write_log",
        "parse_duckdb_log_message",
        "query",
        "query_table",
        "error",
        "sleep_ms",
        "in_search_path",
        "file_name",
        "current_database",
        "current_schema",
        "current_schemas",
        "version",
        "setseed",
        "setval",
        "json_serialize_sql",
        "json_deserialize_sql",
        "json_serialize_plan",
        "vector_type",
        "stats",
        "index_key",
        "create_sort_key",
        "combine",
        "finalize",
        "to_aggregate_state",
        "combine_aggr",
        "variant_bytes_to_variant",
    }
)
"""Functions that do more than compute, or show what is inside of the database."""

WIDE = frozenset({"printf", "format"})
"""Functions that make values as wide as a text says."""


def functions_of(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The functions that a question may use: what the database has, without what does more than compute."""
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate')"
        " AND NOT starts_with(function_name, 'pg_') AND NOT starts_with(function_name, 'has_')"
        " AND NOT starts_with(function_name, '__internal_')"
    ).fetchall()
    return frozenset(name for (name,) in rows) - REFUSED - WIDE | TABLE_FUNCTIONS | MORE_FUNCTIONS


def tables_in(connection: duckdb.DuckDBPyConnection, sql: str, functions: Collection[str]) -> set[str]:
    """The tables that a question reads, in lower case. Arguments and errors: of `statement_of` and `refuse`."""
    statement = statement_of(connection, sql)
    refuse(statement, functions)
    return tables_of(statement)


def refuse(statement: Mapping[str, Any], functions: Collection[str]) -> None:
    """Raises: Misuse: a question has something in it that is not allowed. Arguments: functions: that it may use."""
    own: set[str] = set()  # names that the question gives to parts of itself
    after_from: set[int] = set()  # functions that are tables
    for node in nodes(statement):
        own |= {str(part["key"]).lower() for part in parts_of(node)}
        if node.get("type") in ("SHOW_REF", "COLUMN_DATA", "FILE"):
            raise Misuse("a question to views is one SELECT over views: DESCRIBE, SHOW and files are none")
        if node.get("type") == "BASE_TABLE" and not has_no_schema(node):
            raise Misuse(f"{node['schema_name']}.{node['table_name']} is no view: a view has no schema")
        if node.get("type") == "TABLE_FUNCTION":
            after_from.add(id(node["function"]))
        name = node.get("function_name")
        if isinstance(name, str):
            refuse_function(node, name, TABLE_FUNCTIONS if id(node) in after_from else functions)
            if id(node) not in after_from:
                refuse_size(node, name)
    for name in sorted(own):
        if not PLAIN.fullmatch(name):  # the catalogue, and files, could be meant by the same name elsewhere
            raise Misuse(
                f"a part of the question cannot be called {name!r}: use a-z, 0-9 and _, and not duckdb_ or pg_"
            )
    refuse_growth(statement)


def refuse_function(node: Mapping[str, Any], name: str, functions: Collection[str]) -> None:
    """Raises: Misuse: a question may not use it."""
    if not node.get("is_operator") and name.lower() not in functions:
        raise Misuse(f"a question to views cannot use the function {name}")
    if node.get("schema") or node.get("catalog"):
        raise Misuse(f"a question to views cannot use the function {name} of a schema")


def refuse_size(node: Mapping[str, Any], name: str) -> None:
    """Raises: Misuse: a function may make a value of any size."""
    for place in SIZED.get(name.lower(), ()):
        arguments = node["arguments"]
        if place < len(arguments) and not is_small(arguments[place]["expression"]):
            raise Misuse(
                f"{name} in a question to views: argument {place + 1} says how large the value is to be, so it is a "
                f"number up to {MOST_SIZED:,} in the question itself"
            )


def is_small(argument: Mapping[str, Any]) -> bool:
    """Whether it is a small number as it stands."""
    literal = argument.get("literal")
    if argument.get("class") != "CONSTANT" or not isinstance(literal, dict) or literal.get("kind") != "INTEGER":
        return False
    return int(literal["text"]) <= MOST_SIZED


def refuse_growth(statement: Mapping[str, Any]) -> None:
    """Raises: Misuse: it reads more tables than may be, once each part of it is written out where it is named."""
    parts: dict[str, list[str]] = {}
    for node in nodes(statement):
        for part in parts_of(node):
            parts.setdefault(str(part["key"]).lower(), []).extend(names_in(part["value"]))
    known: dict[str, int] = {}

    def size(name: str, inside: frozenset[str]) -> int:
        if name not in parts or name in inside:
            return 1
        if name not in known:
            known[name] = min(MOST_TABLES + 1, 1 + sum(size(one, inside | {name}) for one in parts[name]))
        return known[name]

    try:
        found = sum(size(name, frozenset()) for name in names_in(statement))
    except RecursionError:
        found = MOST_TABLES + 1
    if found > MOST_TABLES:
        raise Misuse(
            f"a question to views reads at most {MOST_TABLES} tables, each part of it counted where it is named"
        )


def names_in(tree: Any) -> list[str]:
    """The tables that are named in a part of a question, as often as they are."""
    return [str(node["table_name"]).lower() for node in nodes(tree) if node.get("type") == "BASE_TABLE"]
