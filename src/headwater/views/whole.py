"""A view that reads nothing but views: it is computed when it is read, from the state of those that it reads.

So it keeps nothing of its own and is never behind them. What it costs is a query over their rows. The same expressions
are used as for a view that is maintained by changes.
"""

from __future__ import annotations

from headwater.errors import Misuse
from headwater.views.plan import Grouping, Join, Partial, Relation, Unnest, View
from headwater.views.types import quoted


def reads_views_only(view: View) -> bool:
    """Whether all that it reads are other views."""
    return all(one.origin == "view" for one in view.relations)


def query_of(view: View) -> str:
    """The query that gives the rows of a view from tables with the names of its relations.

    Raises: Misuse: it has a part that only streams of records have.
    """
    if view.history:
        raise Misuse(
            f"view {view.name}: it is computed from views, and keeps nothing of its own: write history = true in these"
        )
    places = [rows_of(view.relation), *(place_of(view, step) for step in view.steps)]
    rows = f"FROM {' '.join(places)} WHERE {view.where or 'true'}"
    outputs = ", ".join(f"{one.expression} AS {quoted(one.name)}" for one in view.output)
    if view.grouping is None:
        return f"SELECT {outputs} {rows}"
    return f"SELECT {outputs} FROM ({groups_of(view.grouping, rows)}) WHERE {view.grouping.having or 'true'}"


def rows_of(relation: Relation) -> str:
    columns = ", ".join(quoted(one.name) for one in relation.columns) or "1"
    return f"(SELECT {columns} FROM {quoted(relation.name)}) AS {relation.alias}"


def place_of(view: View, step: object) -> str:
    if isinstance(step, Unnest):
        how, on = ("LEFT JOIN", " ON true") if step.outer else ("CROSS JOIN", "")
        return f"{how} LATERAL (SELECT unnest({step.of}) AS item) AS {step.alias}{on}"
    if isinstance(step, Join) and step.within is None and step.as_of is None:
        equal = " AND ".join(f"({left}) = ({right})" for left, right in step.equal)
        return f"{step.side} JOIN {rows_of(step.right)} ON {equal} AND ({step.on})"
    raise Misuse(
        f"view {view.name}: sessions, a grace, and tables as they were need the records of a topic; windows without a "
        "grace and joins of views can be computed from views"
    )


def groups_of(grouping: Grouping, rows: str) -> str:
    columns = [f"{key.expression} AS {key.name}" for key in grouping.keys]
    columns += [f"{folded(one)} AS {one.name}" for one in grouping.partials]
    by = f" GROUP BY {', '.join(str(place + 1) for place in range(len(grouping.keys)))}" if grouping.keys else ""
    return f"SELECT {', '.join([*columns, 'count(*) AS n'])} {rows}{by}"


def folded(partial: Partial) -> str:
    """A partial of all rows at once."""
    filter = "" if partial.filter is None else f" FILTER (WHERE {partial.filter})"
    if partial.kind == "distinct" and partial.repeated:
        return f"list_unique(flatten(list({partial.argument}){filter}))"
    if partial.kind == "distinct":
        return f"count(DISTINCT {partial.argument}){filter}"
    if partial.by is not None:
        return f"{partial.kind}({partial.argument}, ({', '.join([partial.by, *partial.ties])})){filter}"
    return f"{partial.kind}({partial.argument or '*'}){filter}"
