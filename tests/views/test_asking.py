"""Questions to views: what they may say, and what does not get through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import pytest

from headwater.errors import Misuse, Unavailable
from headwater.views import asking
from headwater.views.allowed import functions_of, tables_in
from headwater.views.asking import answer
from headwater.views.file import ViewFile
from tests.timing import in_time


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewFile]:
    with closing(ViewFile(str(tmp_path_factory.mktemp("views") / "views.duckdb"))) as file:
        with file.working() as connection:
            connection.execute("CREATE TABLE hw.kept AS SELECT 'a' AS k, 1.5::DECIMAL(38,9) AS total, [1, 2] AS lines")
            connection.execute("CREATE VIEW kept AS FROM hw.kept")
        yield file


@lru_cache(maxsize=1)
def functions(file: ViewFile) -> frozenset[str]:
    with file.aside() as connection:
        return functions_of(connection)


def ask(file: ViewFile, sql: str, *arguments: object, timeout_s: float = 60.0) -> list[tuple[object, ...]]:
    """As a client's question goes; only `kept` is a view."""
    with file.aside() as connection:
        strange = tables_in(connection, sql, functions(file)) - {"kept"}
        if strange:
            raise Misuse(f"{strange} is no view")
        return list(answer(connection, sql, arguments, timeout_s))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT k, total + 1 FROM kept WHERE total > 1 AND k LIKE 'a%' ORDER BY total LIMIT 5",
        "WITH big AS (SELECT * FROM kept WHERE total > 1) SELECT count(*), max(total) FROM big",
        "SELECT k, row_number() OVER (ORDER BY total), unnest(lines) FROM kept",
        "SELECT CASE WHEN total > 1 THEN upper(k) END, coalesce(k, ''), total::INT, date '2024-01-01' FROM kept",
        "FROM kept",
        "SELECT (SELECT max(total) FROM kept), list_filter(a.lines, lambda x: x > 1) FROM kept a JOIN kept b USING (k)",
    ],
)
def test_a_select_is_answered(file: ViewFile, sql: str) -> None:
    assert ask(file, sql)


def attacks(secret: Path) -> list[str]:
    return [
        "DROP TABLE kept",
        "DROP VIEW kept",
        "INSERT INTO hw.kept VALUES ('b', 1, [])",
        "UPDATE hw.kept SET total = 0",
        "SELECT 1; DROP VIEW kept",
        "WITH x AS (DELETE FROM hw.kept RETURNING 1) SELECT * FROM x",
        "LOAD json",
        "INSTALL httpfs",
        f"ATTACH '{secret}' AS other",
        f"COPY kept TO '{secret}'",
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM read_text('{secret}')",
        f"SELECT content FROM read_blob('{secret}')",
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM glob('{secret.parent}/*')",
        "SELECT * FROM python_rows",
        "SELECT * FROM hw.kept",
        "SELECT * FROM hw.positions",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_tables()",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM sqlite_master, (WITH sqlite_master AS (SELECT 1) SELECT 1)",
        "SELECT * FROM information_schema.tables",
        "SELECT current_setting('threads')",
        "SELECT getenv('HOME')",
        "SELECT * FROM query('SELECT * FROM hw.kept')",
        "SELECT * FROM query_table('hw.kept')",
        "SET threads = 8",
        "SET enable_external_access = true",
        "PRAGMA version",
        "CALL duckdb_settings()",
        "EXPLAIN SELECT 1",
        "DESCRIBE kept",
        "SHOW TABLES",
        "PREPARE x AS SELECT 1",
        "CREATE MACRO f() AS 1",
        "EXPORT DATABASE 'x'",
        "CHECKPOINT",
    ]


def test_what_is_no_select_over_views_is_refused(file: ViewFile, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    python_rows = [(1,)]
    for sql in attacks(secret):
        with pytest.raises(Misuse):
            ask(file, sql)
    assert python_rows
    assert ask(file, "SELECT k, total FROM kept") == [("a", pytest.approx(1.5))]


def test_the_database_itself_refuses_what_a_parser_might_let_pass(file: ViewFile, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    python_rows = [(1,)]
    for sql in [
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM read_text('{secret}')",
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM glob('{secret.parent}/*')",
        f"COPY hw.kept TO '{secret}'",
        f"COPY (SELECT 1) TO '{secret}'",
        f"EXPORT DATABASE '{secret.parent / 'out'}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        f"ATTACH '{secret}' AS other",
        "SELECT * FROM python_rows",
        "SET threads = 8",
        "SET enable_external_access = true",
        "INSERT INTO hw.kept VALUES ('b', 1, [])",
        "DROP VIEW kept",
        "CREATE TABLE hw.more AS SELECT 1",
    ]:
        with file.aside() as connection, pytest.raises(Exception, match=r"(?i)disabled|locked|read-only|not exist"):
            answer(connection, sql, (), 10.0)
    assert python_rows


def test_a_query_is_stopped_at_its_time_limit(file: ViewFile) -> None:
    sql = "SELECT count(*) FROM range(100000) a, range(100000) b WHERE a.range * b.range % 7 = 3"

    def refused() -> None:
        with pytest.raises(Unavailable, match=r"did not end within 0\.1 s"):
            ask(file, sql, timeout_s=0.1)

    in_time(20, refused)


def test_an_answer_that_is_too_large_is_refused(file: ViewFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_ROWS", 1000)
    with pytest.raises(Misuse, match="more than 1,000 rows"):
        ask(file, "SELECT * FROM range(1001)")
    with pytest.raises(Misuse, match="more than 1,000 rows"):  # it is not computed further
        ask(file, "SELECT * FROM range(1000000000) a, range(1000) b")
    assert len(ask(file, "SELECT * FROM range(1000)")) == 1000
    monkeypatch.setattr(asking, "ANSWER_BYTES", 1 << 20)
    for value in ("lpad('x', 10000, 'y')", "[lpad('x', 10000, 'y')]", "{'a': lpad('x', 10000, 'y')}"):
        with pytest.raises(Misuse, match="more than 1 MB"):
            ask(file, f"SELECT {value} FROM range(1000)")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM (SELECT a.range, b.range FROM range(10000) a, range(100000) b GROUP BY ALL)",
        "SELECT * FROM range(100000000) a ORDER BY hash(a.range) LIMIT 1 OFFSET 90000000",
        "SELECT len(list(a.range)) FROM range(1000000000) a",
        "SELECT length(string_agg(lpad('x', 1000, 'y'), '')) FROM range(100000000)",
        "SELECT count(*) FROM range(50000000) a JOIN range(100000000) b USING (range)",
        "SELECT sum(x) FROM (SELECT row_number() OVER (ORDER BY hash(range)) AS x FROM range(300000000))",
        "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + y FROM t, range(9) r(y)) SELECT count(*) FROM t",
    ],
)
def test_a_query_is_stopped_at_its_memory_limit(file: ViewFile, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "QUESTION_BYTES", 32 << 20)
    with pytest.raises(Unavailable, match="more than 32 MB of memory"):
        ask(file, sql, timeout_s=60)
    assert ask(file, "SELECT k FROM kept") == [("a",)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 2000000000)",
        "SELECT repeat('x', length(k) * 2000000000) FROM kept",
        "SELECT len(range(1000000000))",
        "SELECT unnest(generate_series(0, 1000000000))",
        "SELECT [x FOR x IN range(1000000000)]",
        "SELECT lpad('x', 1000000000, 'y'), rpad('x', 1000000000, 'y')",
        "SELECT list_resize([1], 1000000000)",
        "SELECT printf('%1000000000d', 1)",
        "SELECT format('{:1000000000d}', 1)",
        "FROM repeat('x', 1000000000)",
        "SELECT " + "abs(" * 400 + "1" + ")" * 400,
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        " UNION ALL ".join(["FROM kept"] * 101),
        "SELECT 1" + " " * 20_000,
        "WITH t0 AS (FROM kept), "
        + ", ".join(f"t{i} AS (FROM t{i - 1} a, t{i - 1} b)" for i in range(1, 30))
        + " SELECT 1 FROM t29",
        "SELECT json_serialize_plan('SELECT * FROM hw.kept')",
        "SELECT version(), current_database()",
    ],
)
def test_what_nobody_could_stop_is_refused(file: ViewFile, sql: str) -> None:
    with pytest.raises(Misuse, match=r"cannot use the function|how large|has too many parts|depth|at most"):
        ask(file, sql)


def test_a_size_may_be_a_small_number(file: ViewFile) -> None:
    assert ask(file, "SELECT lpad(k, 3, '0'), [x + 1 FOR x IN range(2)] FROM kept") == [("00a", [1, 2])]
    assert ask(
        file, "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t WHERE x < 5) SELECT sum(x) FROM t"
    )


def test_values_stand_for_question_marks(file: ViewFile) -> None:
    assert len(ask(file, "SELECT k FROM kept WHERE k = ? AND total = ?", "a", "1.5")) == 1
