"""Questions, before they are asked: which tables they read, and which of them are for views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from headwater.errors import Misuse
from headwater.views import questions
from headwater.views.parsed import statement_of, tables_of
from headwater.views.questions import MOST_KNOWN, Questions

VIEWS = ("v", "w", "order-n", "odd-name é", "x y", 'a"b', "cancelled")
STORED = ("order", "owned")


@pytest.fixture
def asked() -> Iterator[Questions]:
    with closing(Questions(VIEWS)) as found:
        yield found


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("FROM V JOIN main.w USING (k)", "v w"),
        ("SELECT (SELECT max(k) FROM v), 1 IN (SELECT k FROM /* joined */ w) ORDER BY (SELECT k FROM u)", "u v w"),
        ("SELECT k, v FROM w", "w"),
        ("SELECT * FROM other.v, w", "w"),
        ("TABLE v", "v"),
        ("WITH v AS (SELECT * FROM w) SELECT * FROM v", "w"),
        ("WITH v AS (SELECT * FROM v) SELECT * FROM v", "v"),
        ("WITH x AS (SELECT * FROM w), w AS (SELECT 1 AS k) SELECT * FROM x", "w"),
        ("WITH w AS (SELECT 1 AS k), x AS (SELECT * FROM w) SELECT * FROM x", ""),
        ("WITH w AS (SELECT 1 AS k) SELECT * FROM W UNION SELECT (SELECT k FROM w)", ""),
        ("WITH w AS (SELECT 1 AS k) SELECT * FROM main.w", "w"),
        ("SELECT * FROM v, (WITH v AS (SELECT 1) SELECT * FROM v)", "v"),
        ("WITH RECURSIVE v AS (SELECT 1 AS k UNION ALL SELECT k + 1 FROM v WHERE k < 3) SELECT * FROM v", ""),
        ("WITH RECURSIVE v AS (SELECT k FROM v UNION ALL SELECT k + 1 FROM v WHERE k < 3) SELECT * FROM v", "v"),
    ],
)
def test_a_name_is_a_table_unless_the_question_has_a_part_of_that_name_there(sql: str, tables: str) -> None:
    with closing(duckdb.connect()) as connection:
        assert tables_of(statement_of(connection, sql)) == set(tables.split())
        if "other." not in sql:  # what DuckDB itself reads: without a table there is none
            for name in "uvw":
                connection.execute(f"CREATE TABLE {name} AS SELECT 1 AS k, 2 AS v")
            for name in tables.split():
                connection.execute(f"ALTER TABLE {name} RENAME TO gone")
                with pytest.raises(duckdb.Error, match=rf"(?i)name {name} does not exist|CTE \"{name}\""):
                    connection.execute(sql)
                connection.execute(f"ALTER TABLE gone RENAME TO {name}")
            for name in set("uvw") - set(tables.split()):
                connection.execute(f"DROP TABLE {name}")
            connection.execute(sql)


@pytest.mark.parametrize(
    ("sql", "views"),
    [
        ('SELECT * FROM "order-n" JOIN "odd-name é" USING (k)', {"order-n", "odd-name é"}),
        ('SELECT * FROM "X Y", \'v\', "a""b"', {"x y", "v", 'a"b'}),
        ("SELECT * FROM -- of all\n v", {"v"}),
        ('SELECT id, cancelled FROM "order"', set()),
        ("SELECT id, 'FROM v' FROM owned -- FROM w", set()),
        ('SELECT * FROM v JOIN "order" USING (id)', {"v"}),
        ("SELECT 1", set()),
    ],
)
def test_a_question_is_for_the_views_that_it_reads(asked: Questions, sql: str, views: set[str]) -> None:
    assert asked.views_in(sql, STORED.__contains__) == views


@pytest.mark.parametrize(
    ("sql", "views"),
    [
        ("DROP TABLE v", {"v"}),
        ("INSERT INTO v VALUES (1)", {"v"}),
        ("SELECT 1; SELECT * FROM v", {"v"}),
        ("EXPLAIN SELECT * FROM /* of all */ ((v))", {"v"}),
        ("SELECT * FROM order-n", {"order-n"}),
        ('SELECT * FORM "v"', set()),
        ("SELECT * FROM v WHERE k IN (" + "1, " * 10_000 + "1)", {"v"}),
        # in the language of a store alone
        ('SELECT id, cancelled FROM [order] JOIN "owned" ON true', set()),
        ("SELECT id, cancelled FROM [mine] WHERE k MATCH 'x' AND n NOT NULL", set()),
        ('UPDATE "order" SET n = 1 FROM v', set()),
        ("SELECT cancelled FROM owned_v1 WHERE k IN (" + "1, " * 10_000 + "1)", set()),
        ('{"index": "total", "v": {"query": "goods \\" from v \\""}, "cancelled": true}', set()),
        ("SELECT 'from v' FROM /* from v */ [mine] -- from v", set()),
        ("SELECT 'from v", set()),
        ("SELECT * FROM v WHERE k = '\ud800'", {"v"}),
    ],
)
def test_what_is_no_select_is_for_views_where_nothing_else_can_be_meant(
    asked: Questions, sql: str, views: set[str]
) -> None:
    stored = [*STORED, "owned_v1"]
    assert asked.views_in(sql, stored.__contains__) == views
    with pytest.raises(Misuse, match=r"one SELECT|at most 20,000 characters"):
        asked.tables_in(sql)


def test_what_has_both_a_view_and_a_table_by_one_name_is_for_the_view(asked: Questions) -> None:
    for sql in ("SELECT * FROM v", "DROP TABLE v"):
        assert asked.views_in(sql, ["v"].__contains__) == {"v"}


def test_a_question_is_parsed_once(asked: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counted(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, object]:
        parsed.append(sql)
        return statement_of(connection, sql)

    monkeypatch.setattr(questions, "statement_of", counted)
    for _ in range(3):
        assert asked.views_in("SELECT * FROM v") == {"v"}
        assert asked.tables_in("SELECT * FROM v") == {"v"}
        assert asked.views_in("DROP TABLE v") == {"v"}
        with pytest.raises(Misuse, match="cannot use the function version"):
            asked.tables_in("SELECT version() FROM v")
        assert asked.views_in("SELECT * FROM mine") == set()  # no view is named in it: it is not parsed at all
    assert parsed == ["SELECT * FROM v", "DROP TABLE v", "SELECT version() FROM v"]
    for i in range(MOST_KNOWN):
        asked.views_in(f"SELECT {i} FROM v")
    asked.views_in("SELECT * FROM v")
    assert parsed.count("SELECT * FROM v") == 2  # so many are not remembered
