"""Which expressions fail when they are computed, though they bind: at some values, or at every record.

`total::INTEGER` fails at records with values that do not go with it, which are set aside one by one. `total > 'abc'`
and `date_trunc('centurion', _time)` fail at all of them, so the statement is refused.

DuckDB converts a literal when it computes, so it binds these and fails later. Here each part of an expression that has
a constant beside other values is computed once, with NULL (a time, an empty list) for the other values: what fails
then, fails always.

What fails at what a group has come to (`SUM(quantity)::TINYINT`) fails when the view is read. It says then of which
view and group it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import duckdb
from sqlglot import exp, parse_one
from sqlglot.errors import ParseError

from headwater.views.binding import Binder
from headwater.views.types import DATE, TIMESTAMP, ListOf, SqlType, literal

OF_VALUES: Final = (duckdb.DataError, duckdb.InvalidInputException, duckdb.NotSupportedError)
"""What DuckDB raises when it computes, at values that an expression does not go with, and not when it binds."""

CHOICES: Final = (exp.Case, exp.If, exp.Coalesce)
"""Of these a part is computed only for some rows, and all parts become one type."""

NO_VALUES: Final = (exp.DataType, exp.Identifier, exp.PropertyEQ, exp.Kwarg, exp.Lambda, exp.Star, exp.Ordered)
APART: Final = (exp.Alias, exp.Paren, exp.Tuple, exp.Dot, exp.Escape, exp.Comprehension, exp.Interval, *NO_VALUES)
"""No values by themselves, or not to be computed without what stands around them."""

FITS: Final = (
    exp.Column,
    exp.Literal,
    exp.Null,
    exp.Boolean,
    exp.Paren,
    exp.Case,
    exp.If,
    exp.And,
    exp.Or,
    exp.Not,
    exp.Is,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.EQ,
    exp.NEQ,
    exp.Div,
)
"""What can be computed of all that a group may come to."""

OF_VIEW: Final = "view "
"""What the text of an error begins with that a view's own rows raise."""

Types = Callable[[Sequence[str]], list[SqlType]]
"""The types of expressions. Raises: duckdb.Error."""


def always_fails(sql: str, binder: Binder, types: Types) -> tuple[exp.Expr, duckdb.Error] | None:
    """A part of an expression that no record goes with, and what DuckDB says of it; None: there is none that is found.

    Arguments: sql: an expression that binds, with columns that have their aliases; types: of parts of it.
    """
    root = exp.Paren(this=parse_one(sql, dialect="duckdb"))
    if root.find(exp.Literal, exp.Var, exp.Cast) is None:
        return None
    for listed in list(root.find_all(exp.Comprehension, bfs=True)):
        of_first_element(listed)
    for node in root.walk():
        for asked in computed(node, types):
            error = failure(asked, binder, types)
            if error is not None:
                return asked, error
    return None


def place_in(written: exp.Expr, part: exp.Expr, why: duckdb.Error) -> exp.Expr:
    """The constant that is to blame, where it stands once in what was written; else all of that."""
    constants = {one.name for one in part.find_all(exp.Literal)}
    constants = {one for one in constants if re.search(f"['\"]{re.escape(one)}['\"]", str(why))} or constants
    found = [one for one in written.find_all(exp.Literal) if one.name in constants]
    return found[0] if len(found) == 1 else written


def of_first_element(node: exp.Comprehension) -> None:
    """Names the first element of the list where the variable stands, so that the parts inside can be looked at, too."""
    first = exp.Bracket(this=exp.paren(node.args["iterator"]), expressions=[exp.Literal.number(1)])
    for part in (node.this, node.args.get("condition")):
        for column in [] if part is None else list(part.find_all(exp.Column)):
            names = [one.name for one in column.parts]
            if names[0] != node.expression.name:
                continue
            found: exp.Expr = first.copy()
            for name in names[1:]:
                found = exp.Dot(this=found, expression=exp.to_identifier(name, quoted=True))
            column.replace(found)


def computed(node: exp.Expr, types: Types) -> Iterator[exp.Expr]:
    """What is computed of a part: itself, or the constants among which it chooses as what they become."""
    if isinstance(node, CHOICES):
        if isinstance(node, exp.Case) and node.this is not None:
            compared = [exp.EQ(this=node.this.copy(), expression=one.this.copy()) for one in node.args["ifs"]]
            yield from (one for one in compared if is_constant(one.expression))
        chosen = [one for one in results_of(node) if is_constant(one)]
        if chosen:
            (kind,) = types([node.sql("duckdb")])
            with suppress(ParseError):  # a row: TUPLE is DuckDB's alone
                yield from [exp.cast(one.copy(), kind.sql, dialect="duckdb") for one in chosen]
    elif isinstance(node, exp.Cast) or (
        not isinstance(node, (*APART, exp.Literal, exp.Column)) and any(map(is_constant, node.iter_expressions()))
    ):
        yield node


def results_of(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.Case):
        yield from (one.args["true"] for one in node.args["ifs"])
        found = node.args.get("default")
        if found is not None:
            yield found
    elif isinstance(node, exp.Coalesce):
        yield from (node.this, *node.expressions)


def is_constant(node: exp.Expr) -> bool:
    """Whether it is a value, or the name of a part of a time, that no record changes."""
    return not isinstance(node, NO_VALUES) and node.find(exp.Column, exp.Lambda) is None


def failure(node: exp.Expr, binder: Binder, types: Types) -> duckdb.Error | None:
    """What computing a part raises with a value for each of its parts that depend on a record."""
    root = exp.Paren(this=node.copy())
    parts = [one for one in root.this.iter_expressions() if one.find(exp.Column) is not None]
    try:
        kinds = types([one.sql("duckdb") for one in parts]) if parts else []
    except duckdb.Error:  # a part of a form, as the argument of a lambda is
        return None
    for place, part in enumerate(parts):
        part.replace(exp.column(f"c{place}", "s"))
    columns = "".join(f", unnest([{sample(kind)}]) AS c{place}" for place, kind in enumerate(kinds))
    try:
        binder.session.execute(f"SELECT {root.this.sql('duckdb')} FROM (SELECT unnest([1]) AS one{columns}) AS s")
    except OF_VALUES as error:
        return error
    except duckdb.Error:  # it has a meaning only where it stands
        return None
    return None


def sample(kind: SqlType) -> str:
    """A value of a type that goes with everything: NULL; but no list becomes another type, and a time has its parts."""
    if kind in (TIMESTAMP, DATE):
        return f"'2000-01-01'::{kind.sql}"
    return f"[]::{kind.sql}" if isinstance(kind, ListOf) else f"NULL::{kind.sql}"


def told(sql: str, where: str, keys: Mapping[str, str]) -> str:
    """An expression over what a group has come to, which says where it fails if it does: DuckDB computes it for all
    groups that a question reads, and would not say of which view. Arguments: where: it stands; keys: of the group, name
    to column, quoted."""
    if fits(parse_one(sql, dialect="duckdb")):
        return sql
    packed = f"struct_pack({', '.join(f'{name} := {column}' for name, column in keys.items())})::VARCHAR"
    group = f"' the group ' || {packed} || " if keys else "' what all rows have come to' || "
    advice = "': change the statement" + (", or ask for other groups with WHERE'" if keys else "'")
    error = f"{literal(f'{OF_VIEW}{where} does not go with')} || {group}{advice}"
    return f"coalesce(TRY({{'v': {sql}}}), error({error})).v"


def fits(node: exp.Expr) -> bool:
    """Whether an expression over groups can be computed of all of them."""
    if isinstance(node, exp.Cast):  # a count, which is 0 where there is nothing
        inner = node.this
        return (
            node.to.is_type("bigint")
            and isinstance(inner, exp.Coalesce)
            and isinstance(inner.this, exp.Column)
            and all(one.is_int for one in inner.expressions)
        )
    return isinstance(node, exp.Identifier) or (isinstance(node, FITS) and all(map(fits, node.iter_expressions())))
