"""A table in parts is the same as in one, whatever has been merged, and a commit does a bounded piece of a merge."""

from __future__ import annotations

import random
from collections.abc import Iterator

import duckdb
import pytest

from headwater.views import parts
from headwater.views.kept import KeptTable
from headwater.views.parts import ALL_PARTS, Parts

NAME = 'hw."sums/groups"'
TABLE = KeptTable(
    NAME,
    "SELECT k, count(*) AS n, sum(v)::BIGINT AS p FROM r0 GROUP BY k",
    f"SELECT k, sum(n)::BIGINT AS n, sum(p)::BIGINT AS p FROM {NAME} GROUP BY k HAVING sum(n) <> 0",
    "k",
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA hw")
        connection.execute(ALL_PARTS)
        connection.execute("CREATE TEMP TABLE r0 (k INTEGER, v INTEGER)")
        yield connection


def batch(connection: duckdb.DuckDBPyConnection, rows: list[tuple[int | None, int]]) -> None:
    connection.execute("DELETE FROM r0")
    keys, values = zip(*rows, strict=True)
    connection.execute("INSERT INTO r0 SELECT unnest(?::INTEGER[]), unnest(?::INTEGER[])", [list(keys), list(values)])


def folded(connection: duckdb.DuckDBPyConnection) -> dict[int | None, int]:
    return {key: total for key, _, total in connection.execute(str(TABLE.fold)).fetchall()}


def test_it_is_the_same_as_in_one_after_each_batch_also_one_that_came_to_nothing(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance, expected = random.Random(seed), dict[int | None, int]()
    monkeypatch.setattr(parts, "BUCKET_ROWS", 5)
    kept, most_buckets, under_way = Parts(TABLE, connection), 0, 0
    for i in range(120):
        rows = [(chance.choice([None, *range(300)]), chance.randrange(9)) for _ in range(chance.randrange(1, 8))]
        batch(connection, rows)
        connection.execute("BEGIN")
        kept.look(connection, kept.add(connection), 60)
        if chance.random() < 0.2:
            connection.execute("ROLLBACK")
        else:
            connection.execute("COMMIT")
            for key, value in rows:
                expected[key] = expected.get(key, 0) + value
        if chance.random() < 0.2:
            kept = Parts(TABLE, connection)
        if i == 90:
            connection.execute("UPDATE hw.parts SET hashed_by = 'another version'")
            kept = Parts(TABLE, connection)
        assert folded(connection) == expected, f"after batch {i}"
        [(buckets, merged)] = connection.execute("SELECT buckets, merged FROM hw.parts").fetchall()
        most_buckets, under_way = max(most_buckets, buckets), under_way + (merged >= 0)
    assert most_buckets > 1
    assert under_way > 0


def test_a_commit_merges_a_piece_and_what_was_added_is_bounded(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "BUCKET_ROWS", 100)
    kept, groups = Parts(TABLE, connection), 2000
    batch(connection, [(key, 1) for key in range(groups)])
    kept.look(connection, kept.add(connection), 500)
    pieces, rows = [], 0
    for i in range(200):
        batch(connection, [((i * 37 + j) % groups, 1) for j in range(20)])
        before = set(tables(connection))
        kept.look(connection, kept.add(connection), 500)
        new = [name for name in set(tables(connection)) - before if "delta" not in name]
        pieces.append(sum(parts.size(connection, f'hw."{name}"') for name in new))
        rows = max(rows, parts.size(connection, NAME))
    assert sum(one > 0 for one in pieces[60:]) > 20
    assert max(pieces[60:]) <= groups // 5  # never all of it, though its buckets had to be split first
    assert rows <= groups * 2.2 + 1000  # what is read is no more than that


def tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
