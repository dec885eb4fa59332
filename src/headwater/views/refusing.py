"""What a view cannot have: the reason, and what to write instead."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from headwater.views.aggregates import OURS
from headwater.views.allowed import REFUSED
from headwater.views.binding import AGGREGATES, Binder
from headwater.views.statements import Statement

COUNTED: Final = ("sum", "count", "count_star", "count_if", "countif", "avg", "mean", "bool_or", "bool_and")
CHOSEN: Final = ("min", "max", "arg_max", "argmax", "max_by", "arg_min", "argmin", "min_by")
KEPT: Final = frozenset((*COUNTED, *CHOSEN))
WINDOWS: Final = frozenset({"tumble", "hop", "session"})
ONLY_NOW: Final = "its result depends on when it is asked: take _time or _recorded of the record"
OF_DATABASE: Final = "it tells of the database, and not of the record"

PARTS: Final = (
    ("with_", "WITH is not part of views: give each query a name of its own, CREATE VIEW name AS SELECT …"),
    ("order", "a view has no order: write ORDER BY where it is read"),
    ("limit", "a view has no LIMIT: which rows are the first can change with each record; write it where it is read"),
    ("offset", "a view has no OFFSET: write it where it is read"),
    ("qualify", "QUALIFY filters by a window function, which is not maintained: ARG_MAX(x, y) or LATEST(x) per group"),
    ("windows", "window functions are not maintained: an aggregate with GROUP BY, or ARG_MAX(x, y) and LATEST(x)"),
    ("sample", "USING SAMPLE gives other rows each time"),
    ("into", "SELECT INTO is not part of views: CREATE TABLE name AS SELECT …"),
)


SELECT_PARTS: Final = frozenset({"expressions", "from_", "joins", "where", "group", "having", "distinct", "laterals"})


def refuse_parts(statement: Statement, query: exp.Query) -> exp.Select:
    """The query as one SELECT. Raises: BadStatement."""
    error = statement.error
    if isinstance(query, exp.SetOperation):
        raise error(
            f"{type(query).__name__.upper()} is not maintained: a view of each, or one over both with CASE", query
        )
    if not isinstance(query, exp.Select):
        raise error("here SELECT … FROM … is expected", query)
    for name, reason in PARTS:
        part = query.args.get(name)
        if part:
            raise error(reason, part if isinstance(part, exp.Expr) else part[0])
    others = [name for name, part in query.args.items() if part and name not in SELECT_PARTS]
    if others:
        raise error(f"{others[0].upper()} is not part of views", query)
    distinct = query.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        raise error("DISTINCT ON is not maintained: ARG_MAX(x, y) or LATEST(x) with GROUP BY", distinct)
    for node in query.walk():
        if isinstance(node, exp.Window):
            raise error("a window function is not maintained: an aggregate with GROUP BY, or ARG_MAX(x, y)", node)
        if isinstance(node, (exp.Subquery, exp.Exists)) or (isinstance(node, exp.Query) and node is not query):
            raise error(
                "a query inside of a query has to be a view: CREATE VIEW name AS …; then read or JOIN it",
                node,
            )
        if isinstance(node, (exp.Placeholder, exp.Parameter)):
            raise error("a view has no parameters: they belong where it is read", node)
    return query


def refuse_functions(statement: Statement, binder: Binder) -> None:
    """Raises BadStatement for a function that cannot be maintained, or whose result changes by itself."""
    assert statement.query is not None
    for name, start in statement.functions:
        word = name.lower()
        if word in KEPT or word.upper() in OURS or word in WINDOWS:
            continue
        if binder.is_aggregate(word):
            raise statement.text.error(f"{name} cannot be maintained by changes; there are: {AGGREGATES}", start)
        if word in REFUSED or word.startswith(("pg_", "has_")):
            raise statement.text.error(f"{name} cannot be in a view: {OF_DATABASE}", start)
        if binder.changes_by_itself(word):
            raise statement.text.error(f"{name} cannot be in a view: {ONLY_NOW}", start)
    for call in statement.query.find_all(exp.Anonymous):
        if call.name.lower() == "age" and len(call.expressions) == 1:  # it counts from today
            raise statement.error(f"{call.sql('duckdb')} cannot be in a view: {ONLY_NOW}", call)
    for node in statement.query.find_all(exp.CurrentUser, exp.SessionUser, exp.CurrentCatalog):
        raise statement.error(f"{node.sql('duckdb')} cannot be in a view: {OF_DATABASE}", node)
    for node in statement.query.find_all(
        exp.CurrentDate, exp.CurrentTimestamp, exp.CurrentTime, exp.Localtime, exp.Localtimestamp
    ):
        raise statement.error(f"{node.sql('duckdb')} cannot be in a view: {ONLY_NOW}", node)
