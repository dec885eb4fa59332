"""What a view does, in rows for people and programs: what it reads, how a change goes through it, what is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from headwater.views.nesting import inner_view, leaves
from headwater.views.plan import Join, Partial, Relation, Unnest, View, Window
from headwater.views.routes import routes_of
from headwater.views.sharing import tagged
from headwater.views.state import compile_view
from headwater.views.stream_joins import lookups_of, near_of
from headwater.views.stream_query import pairs_of
from headwater.views.stream_query import query_of as stream_query
from headwater.views.whole import query_of, reads_views_only

HOUR_US: Final = 3_600_000_000
ORIGINS: Final = {"events": "events", "states": "states of entities", "records": "what others write", "view": "a view"}


class Line(NamedTuple):
    """Arguments: part: reads, plan, changes, state, key or gives; name: what it is about; type: of SQL, or "";
    detail: the rest."""

    part: str
    name: str
    type: str
    detail: str


def explained(view: View) -> list[Line]:
    """All about a view, part by part."""
    return [*reads(view), *plan(view), *kept(view), *changes(view), *keys(view), *gives(view)]


def reads(view: View) -> Iterator[Line]:
    for relation in view.relations:
        types = ", ".join(one.name for one in relation.types if one.name)
        yield Line("reads", relation.name, "", f"{ORIGINS[relation.origin]}{': ' if types else ''}{types}")
        for column in relation.columns:
            yield Line("reads", f"{relation.name}.{column.name}", column.type.sql, fate(relation, column.name))
        if relation.origin == "view" and not reads_views_only(view):
            for leaf in leaves(inner_view(relation)):
                yield Line("reads", leaf.name, "", f"{ORIGINS[leaf.origin]}, inside of {relation.name}")


def fate(relation: Relation, column: str) -> str:
    """What is special about a column: it says whose row a record replaces, or not all types have it."""
    if column in relation.key:
        return "key: a later row of the same key takes the place of the earlier one"
    having = [one.name for one in relation.types if any(field.column == column for field in one.fields)]
    if column.startswith("_") or not having or len(having) == len(relation.types):
        return ""
    return f"of {', '.join(having)}; NULL otherwise"


def plan(view: View) -> Iterator[Line]:
    if view.shared or view.target == "stream":
        kind = "view" if view.target == "table" else "stream"
        for route in routes_of(view):
            by = "the record's key" if route.key is None else shown(view, route.key)
            yield Line(
                "plan", "repartition", "", f"records of {route.relation.name} by {by}, in a topic of the {kind}'s own"
            )
    if view.shared:
        yield Line("plan", "shared", "", "each process keeps its partitions apart; answers fold what all of them keep")
    for step in view.steps:
        yield step_line(view, step)
    if view.where is not None:
        yield Line("plan", "where", "", shown(view, view.where))
    if view.grouping is not None:
        for key in view.grouping.keys:
            yield Line("plan", "group by", key.type.sql, shown(view, key.expression))
        if view.grouping.having is not None:
            yield Line("plan", "having", "", shown(view, view.grouping.having))


def step_line(view: View, step: Unnest | Join | Window) -> Line:
    if isinstance(step, Unnest):
        return Line(
            "plan", "unnest", "", f"{shown(view, step.of)} as {step.alias}{', rows without one stay' * step.outer}"
        )
    if isinstance(step, Window):
        late = "nothing is late"
        if step.grace_us is not None:
            late = late_after(view, step.grace_us)
        every = f", one every {spoken(step.advance_us)}" if step.kind == "hop" else ""
        return Line("plan", step.kind, "", f"{shown(view, step.time)}, {spoken(step.size_us)}{every}; {late}")
    equal = " and ".join(f"{shown(view, left)} = {shown(view, right)}" for left, right in step.equal)
    more = "" if step.on == "true" else f" and {shown(view, step.on)}"
    near = step.within
    times = "" if near is None else f"; from {spoken(near.before_us)} before to {spoken(near.after_us)} after"
    if near is not None and near.grace_us is not None:
        times += f"; {late_after(view, near.grace_us)}"
    as_of = "" if step.as_of is None else f"; as it was at {shown(view, step.as_of)}"
    return Line("plan", f"{step.side} join", "", f"{step.right.name} on {equal}{more}{times}{as_of}")


def late_after(view: View, grace_us: int) -> str:
    fate = "becomes a dead letter" if view.late == "dead_letter" else "is left out"
    return f"late after {spoken(grace_us)}, which {fate}"


def kept(view: View) -> Iterator[Line]:
    """What a change adds to, and so what is stored."""
    if reads_views_only(view):
        yield Line("state", "none", "", f"it is that of {', '.join(one.name for one in view.relations)}")
        return
    if view.grouping is None:
        yield Line(
            "state", "rows", "", "every row, as it is given" if view.target == "table" else "none: rows go to the topic"
        )
    else:
        for key in view.grouping.keys:
            yield Line("state", key.name, key.type.sql, shown(view, key.expression))
        yield Line("state", "n", "BIGINT", "+ 1 for a row that comes, - 1 for one that goes")
        for partial in view.grouping.partials:
            yield Line("state", partial.name, partial.type.sql, change(view, partial))
    if view.history:
        yield Line("state", "history", "", "of all that is added its record, and when that happened and was recorded")
    if view.graced:
        yield Line("state", "clock", "", "per partition the latest time that its rows have had, and how many were late")
    if view.window is not None and view.window.grace_us is not None and not view.shared:
        yield Line("state", "closed", "", "groups of windows that nothing can come for any more, as they are read")
    if view.sink is not None:
        yield Line("state", "outbox", "", "keys of groups that have changed and are not in the sink yet")
    if view.target == "stream":
        yield from kept_of_stream(view)
        return
    for relation in view.relations:
        if relation.key:
            yield Line(
                "state", relation.name, "", "its rows as they are: of a change the old one goes, the new one comes"
            )
    for step in view.steps:
        if isinstance(step, Join):
            expires = step.within is not None and step.within.grace_us is not None
            until = ", until nothing that comes in time can be joined with them" if expires else ""
            yield Line(
                "state", "both sides", "", f"the rows that {step.right.name} and what stands left of it have{until}"
            )


def kept_of_stream(view: View) -> Iterator[Line]:
    near = near_of(view)
    if near is not None:
        yield Line("state", "both sides", "", f"in memory, the rows of {view.relation.name} and of {near.right.name}")
    for step in lookups_of(view):
        yield Line("state", step.right.name, "", "in memory, its rows as they are and as they were")


def change(view: View, partial: Partial) -> str:
    """How a row changes a partial."""
    argument = "the row" if partial.argument is None else shown(view, partial.argument)
    by = "" if partial.by is None else f" of the {partial.kind[4:]} {shown(view, partial.by)}"
    only = "" if partial.filter is None else f" where {shown(view, partial.filter)}"
    how = {"count": "+ 1 for", "sum": "+", "min": "least", "max": "greatest", "distinct": "how often"}
    bag = "; each value is kept with how often it is there" if partial.bag else ""
    return f"{how.get(partial.kind, '')} {argument}{by}{only}{bag}".strip()


def changes(view: View) -> Iterator[Line]:
    """What a batch of records does to the state: statements over the rows that have changed."""
    if view.target == "stream":
        query = stream_query(view) if near_of(view) is None else pairs_of(view)
        yield Line("changes", str(view.topic), "", f"a record for each row of {query}")
        return
    if reads_views_only(view):
        yield Line("changes", "none", "", f"computed when it is read: {query_of(view)}")
        return
    compiled = compile_view(tagged(view), view.name)
    for change in compiled.changes:
        yield Line("changes", change.name.strip('"'), "", change.query)
    for table in compiled.tables:
        yield Line("changes", "", "", f"INSERT INTO {table.name} {table.adds}")


def keys(view: View) -> Iterator[Line]:
    if view.target == "stream":
        yield Line("key", view.record_key or "none", "", "" if view.record_key else key_of_stream(view))
        return
    yield Line("key", ", ".join(view.key) or "none", "", "" if view.key else "no columns tell its rows apart")


def key_of_stream(view: View) -> str:
    return f"that of the record{'' if near_of(view) is None else f' of {view.relation.name}'} it comes from"


def gives(view: View) -> Iterator[Line]:
    for one in view.output:
        yield Line("gives", one.name, one.type.sql, shown(view, one.expression))


def shown(view: View, expression: str) -> str:
    """An expression with the names of what it reads."""
    names = {one.alias: one.name for one in view.relations}
    alone = len(names) == 1
    for alias, name in names.items():
        expression = expression.replace(f'"{alias}".', "" if alone else f"{name}.")
    return re.sub(r'"(?:hw (?=v\d+"))?(\w+)"', r"\1", expression)


def spoken(span_us: int) -> str:
    """A span of time in the largest unit that fits."""
    for size_us, unit in ((24 * HOUR_US, "d"), (HOUR_US, "h"), (HOUR_US // 60, "min"), (1_000_000, "s"), (1000, "ms")):
        if span_us % size_us == 0:
            return f"{span_us // size_us} {unit}"
    return f"{span_us} us"
