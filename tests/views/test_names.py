"""Names with hyphens: one name where a table's name stands, or before a dot; a subtraction elsewhere."""

from __future__ import annotations

import pytest
from sqlglot import exp

from headwater.views.binding import Binder
from headwater.views.errors import BadStatement
from headwater.views.statements import read_statements
from headwater.views.texts import Text

TOPICS = ("order-events", "cust-topic")


def query(sql: str) -> str:
    """A query as it was understood, in DuckDB's words."""
    with Binder() as binder:
        (statement,) = read_statements(Text(f"CREATE TABLE v AS {sql}"), TOPICS, binder)
    assert isinstance(statement.query, exp.Select)
    return statement.query.sql("duckdb")


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("SELECT a FROM order-events", 'SELECT a FROM "order-events"'),
        ('SELECT a FROM "order-events"', 'SELECT a FROM "order-events"'),
        ("SELECT a FROM 2024-orders AS o", 'SELECT a FROM "2024-orders" AS o'),
        ("SELECT a FROM group-by-day", 'SELECT a FROM "group-by-day"'),
        ("SELECT a FROM web.clicks-2 c", 'SELECT a FROM "web.clicks-2" AS c'),
        (
            "SELECT 1 AS x FROM (SELECT a FROM b) AS q, cust-topic",
            'SELECT 1 AS x FROM (SELECT a FROM b) AS q, "cust-topic"',
        ),
        ("SELECT a FROM x JOIN cust-topic c ON x.a = c.a", 'SELECT a FROM x JOIN "cust-topic" AS c ON x.a = c.a'),
        ("SELECT order-events.a FROM order-events", 'SELECT "order-events".a FROM "order-events"'),
        ("SELECT x-order-events.a FROM order-events", 'SELECT x - "order-events".a FROM "order-events"'),
        ("SELECT cust-topic AS d FROM t", "SELECT cust - topic AS d FROM t"),
        ("SELECT a-b.c AS d FROM t", "SELECT a - b.c AS d FROM t"),
        ("SELECT a FROM t WHERE a-b > 1", "SELECT a FROM t WHERE a - b > 1"),
        (
            "SELECT EXTRACT(year FROM ts-interval 1 day) AS y FROM t",
            "SELECT EXTRACT(YEAR FROM ts - INTERVAL '1' DAY) AS y FROM t",
        ),
        ("SELECT SUBSTRING(s FROM a-b) AS y FROM c-d", 'SELECT SUBSTRING(s, a - b) AS y FROM "c-d"'),
        ("SELECT 'order-events' AS t FROM t -- order-events", "SELECT 'order-events' AS t FROM t /* order-events */"),
    ],
)
def test_hyphens(written: str, understood: str) -> None:
    assert query(written) == understood


@pytest.mark.parametrize(
    ("written", "line", "column"),
    [
        ("CREATE TABLE v AS SELECT a FROM order -events", 1, 39),
        ("CREATE TABLE v AS\nSELECT a FROM t WHERE a > 1,", 2, 28),
        ("CREATE TABLE v AS SELECT 'é' AS a FROM t WHERE a = 1,", 1, 53),
        ("CREATE TABLE v AS SELECT SUM(a b FROM t", 1, 32),
        ("GRANT a TO b", 1, 1),
        ("CREATE TABLE v", 1, 15),
        ("CREATE TABLE v AS DELETE FROM t", 1, 19),
        ("CREATE OR REPLACE TABLE v AS SELECT a FROM t", 1, 8),
        ("CREATE TABLE v WITH (histroy = true) AS SELECT a FROM t", 1, 22),
        ("CREATE TABLE v WITH (history = 3) AS SELECT a FROM t", 1, 32),
        ("CREATE INDEX i ON t (a)", 1, 8),
        ("CREATE TABLE v AS SELECT a FROM 'unended", 1, 33),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(written: str, line: int, column: int) -> None:
    with Binder() as binder, pytest.raises(BadStatement) as told:
        read_statements(Text(written, "v.sql"), TOPICS, binder)
    assert (told.value.line, told.value.column) == (line, column)
    assert str(told.value).startswith(f"v.sql:{line}:{column}: ")
