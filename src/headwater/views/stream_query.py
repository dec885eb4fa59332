"""A stream's plan as SELECTs of DuckDB: the rows of a batch, with the places of their records, in order. Pure text.

Of two streams within a time both sides are kept, each row with where it stands in the topic that brings them together.
A pair is a row of the later one of its records there: new rows meet what stands before them, in the same batch, too. So
which pairs a record has follows from its place alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headwater.views.nesting import alias_of
from headwater.views.plan import Join, Relation, Step, Unnest, View
from headwater.views.routes import ALIAS
from headwater.views.stream_joins import lookups_of, near_of
from headwater.views.types import PLACE, quoted

RK, SINCE, UNTIL, PART, AT, WENT, BROKEN = (
    quoted(f"hw {name}") for name in ("row", "since", "until", "part", "at", "went", "broken")
)
"""Columns of what is kept: of a table that is looked up whose row it is, from when to when it was as it is, whether it
was removed then, and why it is not known what it was; of all rows the partition and offset of their record."""

KEY, HOME = quoted("hw record key"), quoted("hw home")
"""Of a side of a join: the key of the record, and the partition of its source."""

TOLD = ("_id", "_time", "_correlation_id", "_actor")
"""What the record of a pair says of both of its sources."""


def query_of(view: View) -> str:
    """The rows of a batch: the place of the record, and the output."""
    source = quoted(view.relation.alias)
    rows, order = chain(source, view.steps)
    by = ", ".join([f"{source}.{PLACE}", f"{source}.rowid", *order])
    listed = ", ".join(f"{one.expression} AS {quoted(one.name)}" for one in view.output)
    return f"SELECT {source}.{PLACE}, {listed} FROM {rows}{where(view.where)} ORDER BY {by}"


def pairs_of(view: View) -> str:
    """The rows of a batch, of two streams: the place of the later record, the key of the left one and the partition of
    its source, what is told of both, and the output."""
    near = near_of(view)
    assert near is not None, "it joins two streams"
    left, right = quoted(view.relation.alias), quoted(near.right.alias)
    told = ", ".join(
        f"epoch_us({side}.{quoted(name)})" if name == "_time" else f"{side}.{quoted(name)}"
        for side in (left, right)
        for name in TOLD
    )
    output = ", ".join(f"{one.expression}" for one in view.output)
    selects = []
    for place, pair in pairs(view, near):
        rows, order = chain(pair, view.steps[1:])
        by = ", ".join([f"{left}.{AT}", f"{right}.{AT}", f"{left}.rowid", f"{right}.rowid", *order])
        columns = f"{place} AS i, row_number() OVER (ORDER BY {by}) AS n, {left}.{KEY}, {left}.{HOME}, {told}, {output}"
        selects.append(f"SELECT {columns} FROM {rows}{where(view.where)}")
    return f"SELECT * EXCLUDE (n) FROM ({' UNION ALL '.join(selects)}) ORDER BY i, n"


def pairs(view: View, near: Join) -> Iterable[tuple[str, str]]:
    """The place of the later record, and FROM: new rows on the left with what is kept on the right, and the other way
    round. Both are kept when this is asked."""
    left, right = quoted(view.relation.alias), quoted(near.right.alias)
    assert near.within is not None
    before, after = f"epoch_us({near.within.left})", f"epoch_us({near.within.right})"
    on = [f"({one}) = ({two})" for one, two in near.equal]
    on += [f"({near.on})", f"{left}.{PART} = {right}.{PART}"]
    on.append(f"{after} BETWEEN {before} - {near.within.before_us} AND {before} + {near.within.after_us}")
    sides = (view.relation, near.right)
    new, kept = [new_of(one) for one in sides], [kept_of(one) for one in sides]
    for place, one, two, first in (
        (left, new[0], kept[1], f"{right}.{AT} <= {left}.{AT}"),
        (right, kept[0], new[1], f"{left}.{AT} < {right}.{AT}"),
    ):
        yield f"{place}.{PLACE}", f"{one} AS {left} JOIN {two} AS {right} ON {' AND '.join([*on, first])}"


def unknown_of(view: View) -> list[str]:
    """For each table that is looked up: the places of records that look up a row of which it is not known what it was
    then, and why. Of two streams that of the later record."""
    near, found = near_of(view), []
    done = 0 if near is None else 1
    source = quoted(view.relation.alias)
    bases = [(f"{source}.{PLACE}", source)] if near is None else list(pairs(view, near))
    for step in lookups_of(view):
        before = view.steps[done : view.steps.index(step)]
        passed = (*view.steps[:done], *before, step)
        known = {view.relation.alias, *(one.right.alias if isinstance(one, Join) else alias_of(one) for one in passed)}
        only = "true" if view.where is None or not set(ALIAS.findall(view.where)) <= known else view.where
        right = quoted(step.right.alias)
        keys = [f"{right}.{quoted(one)}" for one in step.right.key]
        on = [f"({one}) = ({two})" for one, two in step.equal if two in keys] + at_time(step)
        for place, base in bases:
            rows, _ = chain(base, before)
            found.append(
                f"SELECT {place}, any_value({right}.{BROKEN}) FROM {rows} JOIN {versions_of(step.right)} AS {right} ON "
                f"{' AND '.join(on)} WHERE {right}.{BROKEN} IS NOT NULL AND coalesce({only}, true) GROUP BY ALL"
            )
    return found


def chain(first: str, steps: Sequence[Step]) -> tuple[str, list[str]]:
    """FROM, and what puts the rows of one record in order. Arguments: first: what the steps come after."""
    order = []
    for step in steps:
        if isinstance(step, Unnest):
            element = f"(SELECT unnest({step.of}) AS item, generate_subscripts({step.of}, 1) AS place)"
            how, on = ("LEFT JOIN", " ON true") if step.outer else ("CROSS JOIN", "")
            first += f" {how} LATERAL {element} AS {quoted(step.alias)}{on}"
            order.append(f"{quoted(step.alias)}.place")
        else:
            assert isinstance(step, Join), "windows are refused when the stream is planned"
            right = quoted(step.right.alias)
            on = " AND ".join([*(f"({one}) = ({two})" for one, two in step.equal), f"({step.on})", *at_time(step)])
            first += f" {step.side} JOIN {versions_of(step.right)} AS {right} ON {on}"
            order += [f"{right}.{RK}"]
    return first, order


def at_time(step: Join) -> list[str]:
    """Conditions: the row was so at the time."""
    right = quoted(step.right.alias)
    return [
        f"NOT {right}.{WENT}",
        f"({step.as_of}) >= {right}.{SINCE}",
        f"({right}.{UNTIL} IS NULL OR ({step.as_of}) < {right}.{UNTIL})",
    ]


def where(condition: str | None) -> str:
    return "" if condition is None else f" WHERE {condition}"


def versions_of(relation: Relation) -> str:
    """The table of what the rows of a table were, and when."""
    return quoted(f"hw versions {relation.alias}")


def new_of(relation: Relation) -> str:
    """The table of the rows of a side in a batch."""
    return quoted(f"hw new {relation.alias}")


def kept_of(relation: Relation) -> str:
    """The table of the rows of a side."""
    return quoted(f"hw kept {relation.alias}")
