"""Functions of texts, numbers and times, and casts, as rules for `expressions`."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from headwater.views.declared import type_of_sql
from headwater.views.flink.expressions import Rule, Rules, Translation, Typed, cast, refused, text_of
from headwater.views.flink.types import decimal, digits_of, flink_type, is_number
from headwater.views.types import BIGINT, DATE, DOUBLE, TIMESTAMP, VARCHAR, ListOf


def _cast(to: Translation, node: exp.Expr) -> Typed:
    value, kind = to.of(node.this), type_of_sql(node.args["to"])
    if flink_type(kind) is None:
        raise refused(node, f"Flink has no {kind.sql}")
    allowed = (
        value.type == kind
        or (is_number(value.type) and (kind == DOUBLE or (digits_of(kind) is not None and value.type != DOUBLE)))
        or (kind == VARCHAR and (digits_of(value.type) is not None or value.type == DATE))
        or (kind == DATE and value.type == TIMESTAMP)
    )
    of_value, of_kind = digits_of(value.type), digits_of(kind)
    if of_value is not None and of_kind is not None and of_kind[1] == 0 < of_value[1]:
        allowed = False  # one rounds, the other cuts
    if not allowed:
        raise refused(node, "it does not mean the same in both for these types")
    return Typed(cast(value, kind), kind)


def _of_text(function: str) -> Rule:
    def rule(to: Translation, node: exp.Expr) -> Typed:
        if any(value for name, value in node.args.items() if name != "this" and value):
            raise refused(node)
        return Typed(f"{function}({text_of(to, node.this)})", VARCHAR)

    return rule


def _joined(to: Translation, node: exp.Expr) -> Typed:
    return Typed(f"{text_of(to, node.this)} || {text_of(to, node.expression)}", VARCHAR)


def _replaced(to: Translation, node: exp.Expr) -> Typed:
    parts = [text_of(to, one) for one in (node.this, node.expression, node.args["replacement"])]
    return Typed(f"REPLACE({', '.join(parts)})", VARCHAR)


def _part_of_text(to: Translation, node: exp.Expr) -> Typed:
    parts = [node.args.get("start"), node.args.get("length")]
    if any(one is not None and not (isinstance(one, exp.Literal) and one.name.isdigit()) for one in parts):
        raise refused(node, "write numbers for its place and length")
    if parts[0] is None or parts[0].name == "0":
        raise refused(node, "places begin at 1")
    numbers = "".join(f", {one.name}" for one in parts if one is not None)
    return Typed(f"SUBSTRING({text_of(to, node.this)}{numbers})", VARCHAR)


def _length(to: Translation, node: exp.Expr) -> Typed:
    found = to.of(node.this)
    if isinstance(found.type, ListOf):
        return Typed(f"CAST(CARDINALITY({found.sql}) AS BIGINT)", BIGINT)
    return Typed(f"CAST(CHAR_LENGTH({text_of(to, node.this)}) AS BIGINT)", BIGINT)


def _absolute(to: Translation, node: exp.Expr) -> Typed:
    found = to.of(node.this)
    if not is_number(found.type):
        raise refused(node)
    return Typed(f"ABS({found.sql})", found.type)


def _round(to: Translation, node: exp.Expr) -> Typed:
    found, places = to.of(node.this), node.args.get("decimals")
    digits = digits_of(found.type)
    if digits is None or places is None or not (isinstance(places, exp.Literal) and places.name.isdigit()):
        raise refused(node, "only a decimal is rounded the same way, to a number of digits: ROUND(x, 2)")
    if int(places.name) >= digits[1]:
        return found
    kind = decimal(38, int(places.name))
    return Typed(f"CAST(ROUND({found.sql}, {places.name}) AS {flink_type(kind)})", kind)


def _part_of_time(to: Translation, node: exp.Expr) -> Typed:
    part, of = (node.this.name.upper(), node.expression) if isinstance(node, exp.Extract) else (node.key.upper(), node)
    value = to.of(of if isinstance(node, exp.Extract) else node.this)
    if part not in ("YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE") or value.type not in (TIMESTAMP, DATE):
        raise refused(node)
    if value.type == DATE and part in ("HOUR", "MINUTE"):
        raise refused(node, "a date has no hours")
    return Typed(f"EXTRACT({part} FROM {value.sql})", BIGINT)


def _cut_time(to: Translation, node: exp.Expr) -> Typed:
    value, unit = to.of(node.this), node.args["unit"].name.upper()
    if value.type != TIMESTAMP or unit not in ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE"):
        raise refused(node)
    return Typed(f"CAST(FLOOR({value.sql} TO {unit}) AS TIMESTAMP_LTZ(6))", TIMESTAMP)


FUNCTIONS: Final[Rules] = {
    exp.Cast: _cast,
    exp.Upper: _of_text("UPPER"),
    exp.Lower: _of_text("LOWER"),
    exp.Trim: _of_text("TRIM"),
    exp.DPipe: _joined,
    exp.Replace: _replaced,
    exp.Substring: _part_of_text,
    exp.Length: _length,
    exp.Abs: _absolute,
    exp.Round: _round,
    exp.Extract: _part_of_time,
    exp.Year: _part_of_time,
    exp.Quarter: _part_of_time,
    exp.Month: _part_of_time,
    exp.Day: _part_of_time,
    exp.Hour: _part_of_time,
    exp.Minute: _part_of_time,
    exp.DateTrunc: _cut_time,
    exp.TimestampTrunc: _cut_time,
}
