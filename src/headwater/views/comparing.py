"""Compares the rows of two versions of a view, by SQL in the file that holds both: counts, fingerprints, examples.

Rows with the same key belong together; where the versions have no key in common, the same row counts as often as it is
there. Compared are the columns that both have. A sum of doubles depends on the order in which they are added, so
doubles that differ by less than a part in a thousand million are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import duckdb
import msgspec

from headwater.views.types import quoted

EXAMPLES: Final = 10
FLOATS: Final = ("DOUBLE", "FLOAT")
NUMBERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL")


class Rows(msgspec.Struct, frozen=True):
    """The rows of a version. Arguments: sql: SELECT of them; key: the columns that tell them apart."""

    sql: str
    key: tuple[str, ...]


class Example(msgspec.Struct, frozen=True):
    """A row that differs. Arguments: key: or the whole row, where there is none; old, new: the columns that differ, and
    None where there is no such row."""

    key: dict[str, Any]
    old: dict[str, Any] | None
    new: dict[str, Any] | None


class Difference(msgspec.Struct, frozen=True):
    """What two versions differ by.

    Arguments: old_rows, new_rows; old_hash, new_hash: of the columns in common, whatever the order of rows; only_old,
    only_new, changed: rows; gone, added: columns that one side has, with their types; retyped: name, type before and
    after; examples.
    """

    old_rows: int
    new_rows: int
    old_hash: str
    new_hash: str
    only_old: int
    only_new: int
    changed: int
    gone: list[tuple[str, str]]
    added: list[tuple[str, str]]
    retyped: list[tuple[str, str, str]]
    examples: list[Example]


def difference(connection: duckdb.DuckDBPyConnection, old: Rows, new: Rows) -> Difference:
    """Compares within one transaction, which the caller may have begun. Raises: duckdb.Error."""
    before, after = (columns_of(connection, one.sql) for one in (old, new))
    common = [name for name in before if name in after]
    key = list(old.key) if old.key and set(old.key) == set(new.key) and set(old.key) <= set(common) else []
    hashes = [hash_of(connection, one.sql, common) for one in (old, new)]
    if not common:
        counts, examples = (hashes[0][0], hashes[1][0], 0), list[Example]()
    elif key:
        counts, examples = by_key(connection, old, new, key, before, after)
    else:
        counts, examples = by_row(connection, old, new, common)
    return Difference(
        hashes[0][0],
        hashes[1][0],
        hashes[0][1],
        hashes[1][1],
        *counts,
        [(name, before[name]) for name in before if name not in after],
        [(name, after[name]) for name in after if name not in before],
        [(name, before[name], after[name]) for name in common if before[name] != after[name]],
        examples,
    )


def columns_of(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, str]:
    """Name -> type."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {sql}").fetchall()}


def hash_of(connection: duckdb.DuckDBPyConnection, sql: str, names: Sequence[str]) -> tuple[int, str]:
    """How many rows there are, and a fingerprint of them."""
    row = f"hash({', '.join(map(quoted, names))})" if names else "0"
    [(count, total)] = connection.execute(f"SELECT count(*), coalesce(sum({row}), 0)::HUGEINT FROM ({sql})").fetchall()
    return count, f"{total:032x}"


def by_key(
    connection: duckdb.DuckDBPyConnection,
    old: Rows,
    new: Rows,
    key: Sequence[str],
    before: dict[str, str],
    after: dict[str, str],
) -> tuple[tuple[int, int, int], list[Example]]:
    compared = [name for name in before if name in after and name not in key]
    same = " AND ".join(f"a.{quoted(name)} IS NOT DISTINCT FROM b.{quoted(name)}" for name in key)
    differ = " OR ".join(differs(name, before[name], after[name]) for name in compared) or "false"
    sides = [f"(SELECT *, true AS hw_is FROM ({one.sql}))" for one in (old, new)]
    joined = f"FROM {sides[0]} AS a FULL JOIN {sides[1]} AS b ON {same}"
    [counts] = connection.execute(
        "SELECT count(*) FILTER (b.hw_is IS NULL), count(*) FILTER (a.hw_is IS NULL),"
        f" count(*) FILTER (a.hw_is AND b.hw_is AND ({differ})) {joined}"
    ).fetchall()
    if not any(counts):
        return counts, []
    names = [
        *(f"coalesce(a.{quoted(name)}, b.{quoted(name)})" for name in key),
        *(f"a.{quoted(name)}" for name in compared),
        *(f"b.{quoted(name)}" for name in compared),
        *(f"({differs(name, before[name], after[name])})" for name in compared),
    ]
    rows = connection.execute(
        f"SELECT a.hw_is, b.hw_is, {', '.join(names)} {joined}"
        f" WHERE a.hw_is IS NULL OR b.hw_is IS NULL OR ({differ})"
        f" ORDER BY a.hw_is AND b.hw_is DESC, {', '.join(str(3 + i) for i in range(len(key)))} LIMIT {EXAMPLES}"
    ).fetchall()
    return counts, [example(row, key, compared) for row in rows]


def example(row: Sequence[Any], key: Sequence[str], compared: Sequence[str]) -> Example:
    in_old, in_new = row[0], row[1]
    cells, many = row[2 + len(key) :], len(compared)
    sides = []
    for there, first in ((in_old, 0), (in_new, many)):
        chosen = [i for i in range(many) if not (in_old and in_new) or cells[2 * many + i]]
        sides.append({compared[i]: told(cells[first + i]) for i in chosen} if there else None)
    return Example({name: told(row[2 + i]) for i, name in enumerate(key)}, *sides)


def by_row(
    connection: duckdb.DuckDBPyConnection, old: Rows, new: Rows, names: Sequence[str]
) -> tuple[tuple[int, int, int], list[Example]]:
    listed = ", ".join(map(quoted, names))
    same = " AND ".join(f"a.{quoted(name)} IS NOT DISTINCT FROM b.{quoted(name)}" for name in names)
    sides = [f"(SELECT {listed}, count(*) AS hw_n FROM ({one.sql}) GROUP BY {listed})" for one in (old, new)]
    joined = f"FROM {sides[0]} AS a FULL JOIN {sides[1]} AS b ON {same}"
    more = "coalesce(a.hw_n, 0) - coalesce(b.hw_n, 0)"
    [(gone, came)] = connection.execute(
        f"SELECT coalesce(sum(greatest({more}, 0)), 0), coalesce(sum(greatest(-({more}), 0)), 0) {joined}"
    ).fetchall()
    values = ", ".join(f"coalesce(a.{quoted(name)}, b.{quoted(name)})" for name in names)
    rows = connection.execute(
        f"SELECT {more}, {values} {joined} WHERE {more} <> 0 ORDER BY ALL LIMIT {EXAMPLES}"
    ).fetchall()
    found = []
    for row in rows:
        cells = {name: told(row[1 + i]) for i, name in enumerate(names)}
        found.append(Example(cells, {} if row[0] > 0 else None, {} if row[0] < 0 else None))
    return (int(gone), int(came), 0), found


def differs(name: str, before: str, after: str) -> str:
    """Whether a column has another value."""
    a, b = f"a.{quoted(name)}", f"b.{quoted(name)}"
    if before in FLOATS and after in FLOATS:
        near = f"abs({a} - {b}) <= 1e-9 * greatest(abs({a}), abs({b}))"
        return f"({a} IS DISTINCT FROM {b} AND coalesce(NOT {near}, true))"
    if before == after or (before.startswith(NUMBERS) and after.startswith(NUMBERS)):
        return f"{a} IS DISTINCT FROM {b}"
    return f"{a}::VARCHAR IS DISTINCT FROM {b}::VARCHAR"


def told(value: Any) -> Any:
    """A value as it is told to people and other processes."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
