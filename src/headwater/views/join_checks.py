"""What a join compares has types that go together, which DuckDB tells before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sqlglot import exp

from headwater.views.from_clause import Joined, Read
from headwater.views.statements import Statement
from headwater.views.types import DATE, TIMESTAMP, VARCHAR, Scalar, SqlType

Types = Callable[[Sequence[tuple[exp.Expr, str]]], list[SqlType]]
"""The types of expressions, each with what stands for it in the statement. Raises: BadStatement."""

TIMES = (TIMESTAMP, DATE, Scalar("TIMESTAMP"))


def check_joins(statement: Statement, reads: Iterable[Read], types: Types) -> None:
    """Raises: BadStatement: a condition that DuckDB does not understand, keys of which one is a text and the other is
    not, or a time that is none."""
    for read in reads:
        if read.join is not None:
            check_join(statement, read.join, types)


def check_join(statement: Statement, join: Joined, types: Types) -> None:
    for pair, written in zip(join.equal, join.equalities, strict=True):
        left, right = types([(written, one) for one in pair])
        if left != right and VARCHAR in (left, right):
            raise statement.error(
                f"{left.sql} is compared with {right.sql}: CAST one of them, for '1' and '01' are one number and two "
                "texts",
                written,
            )
    types([(written, f"CAST({one} AS BOOLEAN)") for written, one in zip(join.conditions, join.on, strict=True)])
    if join.as_of is not None:
        [kind] = types([(join.time, join.as_of)])
        if kind not in TIMES:
            raise statement.error(f"FOR SYSTEM_TIME AS OF takes a time, and this is {kind.sql}", join.time)
