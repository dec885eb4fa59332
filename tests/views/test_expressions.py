"""Scalar expressions of DuckDB come out of the parser as they went in: same value, same type."""

from __future__ import annotations

from pathlib import Path

import duckdb

from headwater.views.names import ViewDialect, tokens_of

EXPRESSIONS = (Path(__file__).parent / "expressions.sql").read_text(encoding="utf-8").splitlines()
ROW = """(SELECT 'Hello-World' AS s, 7 AS i, -3 AS j, 2.50::DECIMAL(38,9) AS d, 1.5::DOUBLE AS f, NULL::INTEGER AS n,
    true AS b, TIMESTAMPTZ '2026-03-04 05:06:07.5+00' AS t, DATE '2026-01-31' AS dt, [1, 2, NULL, 3] AS l,
    ['a', 'b'] AS ls, {'a': 1, 'b': 'x'} AS st, MAP {'k': 'v'} AS m, '{"a": {"b": 5}, "c": [1, 2]}'::JSON AS js,
    UUID 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' AS u)"""


def read(written: str) -> str:
    """An expression as it was understood."""
    sql = f"SELECT {written} AS x FROM r"
    (tree,) = ViewDialect().parser().parse(tokens_of(sql, ()), sql)
    assert tree is not None
    understood: str = tree.expressions[0].this.sql("duckdb")
    return understood


def test_an_expression_means_the_same_after_it_was_read() -> None:
    understood = [read(one) for one in EXPRESSIONS]
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        answers = []
        for expressions in (EXPRESSIONS, understood):
            columns = ", ".join(f"[{one}]::VARCHAR || typeof({one})" for one in expressions)
            answers.append(session.execute(f"SELECT {columns} FROM {ROW}").fetchone())
    want, got = answers
    assert want is not None
    assert got is not None
    differ = [
        (written, was, became) for written, was, became in zip(EXPRESSIONS, want, got, strict=True) if was != became
    ]
    assert differ == []
    assert len(want) > 300
