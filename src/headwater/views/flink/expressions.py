"""From expressions of DuckDB, as plans have them, to the same in Flink SQL.

Each kind of expression that means the same has a rule (`operators`, `functions`); what has none is refused. Where both
mean the same only for some types, or only with a cast, the rule knows: so each result carries its type. Arithmetic is
translated only where Flink keeps every digit that DuckDB keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sqlglot import exp, parse_one

from headwater.errors import Misuse
from headwater.views.flink.types import common, flink_type
from headwater.views.types import BOOLEAN, VARCHAR, SqlType

Path = tuple[str, ...]
"""The names of a column, from its alias on: `"r0"."address"."city"`."""


class Untranslatable(Misuse):
    """A view, or a part of one, that means nothing or something else in Flink."""


class Typed(NamedTuple):
    """An expression of Flink. Arguments: sql; type: as DuckDB names it."""

    sql: str
    type: SqlType


Resolve = Callable[[Path], Typed]
"""What a column is in Flink. Raises: Untranslatable."""


Rule: TypeAlias = "Callable[[Translation, exp.Expr], Typed]"
"""Translates one kind of expression. Raises: Untranslatable."""

Rules: TypeAlias = Mapping[type[exp.Expr], Rule]


def tree_of(sql: str) -> exp.Expr:
    """An expression of a plan as a tree."""
    return parse_one(sql, dialect="duckdb")


class Translation:
    """Translates expressions over the same columns. Arguments: resolve; rules: by kind of expression."""

    def __init__(self, resolve: Resolve, rules: Rules) -> None:
        self._resolve, self._rules = resolve, rules

    def text(self, sql: str) -> Typed:
        """An expression of a plan. Raises: Untranslatable."""
        return self.of(tree_of(sql))

    def of(self, node: exp.Expr) -> Typed:
        """Raises: Untranslatable."""
        path = path_of(node)
        if path is not None:
            return self._resolve(path)
        rule = self._rules.get(type(node))
        if rule is None:
            raise refused(node)
        return rule(self, node)

    def condition(self, sql: str) -> str:
        """An expression that is true or false."""
        return self.of_truth(tree_of(sql)).sql

    def of_truth(self, node: exp.Expr) -> Typed:
        found = self.of(node)
        if found.type != BOOLEAN:
            raise refused(node, "a condition is a BOOLEAN")
        return found

    def same(self, nodes: Sequence[exp.Expr], whole: exp.Expr) -> tuple[list[str], SqlType]:
        """Expressions with the same type, which is that of the result in DuckDB; NULLs have any."""
        found = [None if isinstance(one, exp.Null) else self.of(one) for one in nodes]
        known = [one.type for one in found if one is not None]
        kind = common(known) if known else VARCHAR
        if kind is None:
            raise refused(whole, "its parts have several types: CAST them")
        return [f"CAST(NULL AS {flink_type(kind)})" if one is None else cast(one, kind) for one in found], kind


def path_of(node: exp.Expr) -> Path | None:
    """The names of a column or of what is inside of one; None: it is something else."""
    if isinstance(node, exp.Paren):
        return path_of(node.this)
    if isinstance(node, exp.Column):
        return tuple(part.name for part in node.parts)
    if isinstance(node, exp.Dot) and isinstance(node.expression, (exp.Identifier, exp.Column)):
        outer = path_of(node.this)
        return None if outer is None else (*outer, node.expression.name)
    return None


def cast(value: Typed, kind: SqlType) -> str:
    """A value as another type, where it is not of it already."""
    if value.type == kind or flink_type(value.type) == flink_type(kind):
        return value.sql
    return f"CAST({value.sql} AS {flink_type(kind)})"


def refused(node: exp.Expr, why: str = "") -> Untranslatable:
    shown = node.sql("duckdb").replace('"', "")
    return Untranslatable(f"{shown} does not translate to Flink SQL{': ' if why else ''}{why}")


def text_of(to: Translation, node: exp.Expr) -> str:
    """An expression that is a text."""
    found = to.of(node)
    if found.type != VARCHAR:
        raise refused(node, "a text is expected: CAST it")
    return found.sql
