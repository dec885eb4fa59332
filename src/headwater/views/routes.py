"""By what the records of a shared view, or of a stream, that joins are brought together: which key each has. Pure.

Rows that are joined have to be in one process, so all records with the same join key go into one partition of a topic
of the view's own (see `repartitioning`). A record must have its key by itself: it is an expression over its fields, or,
of the events that a state is folded from, the entity's id, which is the record's key.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from headwater.views.plan import Join, Relation, View
from headwater.views.types import BIGINT, DATE, VARCHAR, Scalar, SqlType, quoted

ALIAS = re.compile(r'"((?:[^"]|"")*)"\s*\.')

WHOLE = tuple(Scalar(f"{sign}{size}INT") for sign in ("", "U") for size in ("TINY", "SMALL", "BIG"))
KINDS: tuple[SqlType, ...] = (VARCHAR, BIGINT, DATE, Scalar("INTEGER"), Scalar("UINTEGER"), Scalar("UUID"), *WHOLE)
"""Types of which equal values have one text."""


class Route(NamedTuple):
    """Where the records of a relation go. Arguments: relation; key: an expression over its columns; None: that of the
    record."""

    relation: Relation
    key: str | None


def routes_of(view: View) -> tuple[Route, ...]:
    """One for each relation; none: the view joins nothing, and its records stay where they are."""
    join = join_of(view)
    if join is None:
        return ()
    pair = pair_of(view, join)
    assert pair is not None, "what cannot be brought together is refused when it is planned"
    return tuple(
        Route(relation, None if relation.origin == "states" else key)
        for relation, key in zip((view.relation, join.right), pair, strict=True)
    )


def why_not(view: View) -> str | None:
    """Why the records of a view that joins cannot be brought together."""
    joins = [step for step in view.steps if isinstance(step, Join)]
    if len(joins) > 1:
        return "it joins more than two things, which have no key in common: leave shared out"
    if view.steps[0] is not joins[0]:
        return "an element of a list has no partition of its own: join first, and UNNEST afterwards"
    for one in view.relations:
        if one.origin == "view":
            return f"it joins {one.name}, which is a view: join topics and states"
        if one.origin == "records" and one.key:
            return "a row of a table that others write may be replaced from another partition"
    if pair_of(view, joins[0]) is None:
        return (
            "the join compares nothing by which records can be brought together: a column of one with a column of the "
            "other, and a state by its id"
        )
    return None


def pair_of(view: View, join: Join) -> tuple[str, str] | None:
    """The two expressions by which records are brought together."""
    for pair in join.equal:
        if all(is_own(relation, key) for relation, key in zip((view.relation, join.right), pair, strict=True)):
            return pair
    return None


def is_own(relation: Relation, key: str) -> bool:
    """Whether a record of a relation has the key by itself."""
    if relation.origin == "states":
        return [key] == [f"{quoted(relation.alias)}.{quoted(one)}" for one in relation.key]
    return set(ALIAS.findall(key)) == {relation.alias}


def join_of(view: View) -> Join | None:
    """The join whose records have to be brought together; what a stream looks up is there for every process."""
    joins = [step for step in view.steps if isinstance(step, Join)]
    return next((one for one in joins if view.target == "table" or one.as_of is None), None)
