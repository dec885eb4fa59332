"""Literals, arithmetic, comparisons and choices, as rules for `expressions`."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from headwater.views.flink.expressions import Rule, Rules, Translation, Typed, cast, refused, text_of
from headwater.views.flink.types import (
    INTEGER,
    WHOLE,
    added,
    decimal,
    digits_of,
    flink_type,
    is_number,
    multiplied,
    text,
)
from headwater.views.types import BIGINT, BOOLEAN, DOUBLE, VARCHAR, ListOf

SCALE_ADVICE = (
    "declare how many digits the field has after the point, Annotated[Decimal, msgspec.Meta(extra={'scale': 2})]; six "
    "in all are kept"
)


def _literal(_: Translation, node: exp.Expr) -> Typed:
    if node.args["is_string"]:
        return Typed(text(node.name), VARCHAR)
    if node.name.isdigit():
        return Typed(node.name, INTEGER if int(node.name) < 1 << 31 else BIGINT)
    before, point, after = node.name.partition(".")
    if not (before + after).isdigit() or not point:
        return Typed(f"CAST({text(node.name)} AS DOUBLE)", DOUBLE)
    kind = decimal(max(len(before.lstrip("0") + after), 1), len(after))
    return Typed(f"CAST({node.name} AS {flink_type(kind)})", kind)


def _boolean(_: Translation, node: exp.Expr) -> Typed:
    return Typed("TRUE" if node.this else "FALSE", BOOLEAN)


def _paren(to: Translation, node: exp.Expr) -> Typed:
    found = to.of(node.this)
    return Typed(f"({found.sql})", found.type)


def _arithmetic(operator: str) -> Rule:
    def rule(to: Translation, node: exp.Expr) -> Typed:
        left, right = to.of(node.this), to.of(node.expression)
        if not (is_number(left.type) and is_number(right.type)):
            raise refused(node, "only numbers are added and multiplied")
        if DOUBLE in (left.type, right.type):
            return Typed(f"{cast(left, DOUBLE)} {operator} {cast(right, DOUBLE)}", DOUBLE)
        if left.type in WHOLE and right.type in WHOLE:
            return Typed(f"{left.sql} {operator} {right.sql}", BIGINT)
        of_left, of_right = digits_of(left.type), digits_of(right.type)
        assert of_left is not None, "it is a number"
        assert of_right is not None, "it is a number"
        wanted = of_left[1] + of_right[1] if operator == "*" else max(of_left[1], of_right[1])
        found = (multiplied if operator == "*" else added)(of_left, of_right)
        if found[1] < wanted:
            raise refused(node, f"Flink would round it to {found[1]} digits after the point: {SCALE_ADVICE}")
        return Typed(f"{left.sql} {operator} {right.sql}", decimal(*found))

    return rule


def _divided(to: Translation, node: exp.Expr) -> Typed:
    left, right = to.of(node.this), to.of(node.expression)
    if not (is_number(left.type) and is_number(right.type)):
        raise refused(node, "only numbers are divided")
    return Typed(f"{cast(left, DOUBLE)} / {cast(right, DOUBLE)}", DOUBLE)


def _remainder(to: Translation, node: exp.Expr) -> Typed:
    left, right = to.of(node.this), to.of(node.expression)
    if left.type not in WHOLE or right.type not in WHOLE:
        raise refused(node, "only whole numbers have the same remainder in both")
    return Typed(f"MOD({left.sql}, {right.sql})", BIGINT)


def _negative(to: Translation, node: exp.Expr) -> Typed:
    found = to.of(node.this)
    if not is_number(found.type):
        raise refused(node, "only a number is negative")
    return Typed(f"(-{found.sql})", found.type)


def _not(to: Translation, node: exp.Expr) -> Typed:
    return Typed(f"NOT {to.of_truth(node.this).sql}", BOOLEAN)


def _connected(word: str) -> Rule:
    def rule(to: Translation, node: exp.Expr) -> Typed:
        return Typed(f"{to.of_truth(node.this).sql} {word} {to.of_truth(node.expression).sql}", BOOLEAN)

    return rule


def _compared(operator: str) -> Rule:
    def rule(to: Translation, node: exp.Expr) -> Typed:
        (left, right), kind = to.same([node.this, node.expression], node)
        if isinstance(kind, ListOf) or (kind == BOOLEAN and operator not in ("=", "<>")):
            raise refused(node, "these are not compared the same way")
        return Typed(f"{left} {operator} {right}", BOOLEAN)

    return rule


def _is(to: Translation, node: exp.Expr) -> Typed:
    if isinstance(node.expression, exp.Null):
        return Typed(f"{to.of(node.this).sql} IS NULL", BOOLEAN)
    if isinstance(node.expression, exp.Boolean):
        return Typed(f"{to.of_truth(node.this).sql} IS {to.of(node.expression).sql}", BOOLEAN)
    raise refused(node)


def _between(to: Translation, node: exp.Expr) -> Typed:
    (value, low, high), _ = to.same([node.this, node.args["low"], node.args["high"]], node)
    return Typed(f"{value} BETWEEN {low} AND {high}", BOOLEAN)


def _in(to: Translation, node: exp.Expr) -> Typed:
    if not node.expressions:
        raise refused(node)
    (value, *others), _ = to.same([node.this, *node.expressions], node)
    return Typed(f"{value} IN ({', '.join(others)})", BOOLEAN)


def _like(to: Translation, node: exp.Expr) -> Typed:
    pattern = node.expression
    if not isinstance(pattern, exp.Literal) or not pattern.is_string or "\\" in pattern.name:
        raise refused(node, "a pattern is a text without a backslash")
    return Typed(f"{text_of(to, node.this)} LIKE {text(pattern.name)}", BOOLEAN)


def _case(to: Translation, node: exp.Expr) -> Typed:
    branches, default = node.args["ifs"], node.args.get("default")
    if node.this is not None:
        raise refused(node, "write CASE WHEN x = … THEN …")
    values, kind = to.same([*(one.args["true"] for one in branches), *([default] if default else [])], node)
    written = "CASE"
    for branch, value in zip(branches, values, strict=False):
        written += f" WHEN {to.of_truth(branch.this).sql} THEN {value}"
    return Typed(f"{written}{f' ELSE {values[-1]}' if default else ''} END", kind)


def _coalesce(to: Translation, node: exp.Expr) -> Typed:
    values, kind = to.same([node.this, *node.expressions], node)
    return Typed(f"COALESCE({', '.join(values)})", kind)


def _nullif(to: Translation, node: exp.Expr) -> Typed:
    values, kind = to.same([node.this, node.expression], node)
    return Typed(f"NULLIF({', '.join(values)})", kind)


OPERATORS: Final[Rules] = {
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Paren: _paren,
    exp.Add: _arithmetic("+"),
    exp.Sub: _arithmetic("-"),
    exp.Mul: _arithmetic("*"),
    exp.Div: _divided,
    exp.Mod: _remainder,
    exp.Neg: _negative,
    exp.Not: _not,
    exp.And: _connected("AND"),
    exp.Or: _connected("OR"),
    exp.EQ: _compared("="),
    exp.NEQ: _compared("<>"),
    exp.GT: _compared(">"),
    exp.GTE: _compared(">="),
    exp.LT: _compared("<"),
    exp.LTE: _compared("<="),
    exp.NullSafeEQ: _compared("IS NOT DISTINCT FROM"),
    exp.NullSafeNEQ: _compared("IS DISTINCT FROM"),
    exp.Is: _is,
    exp.Between: _between,
    exp.In: _in,
    exp.Like: _like,
    exp.Case: _case,
    exp.Coalesce: _coalesce,
    exp.Nullif: _nullif,
}
