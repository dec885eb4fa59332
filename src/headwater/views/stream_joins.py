"""What a stream may join: rows that go into a topic stay, so nothing may change them later. Pure.

near    JOIN payments p WITHIN INTERVAL 1 HOUR ON …         a pair is there with the later one of its records, for good
lookup  JOIN order-state FOR SYSTEM_TIME AS OF e._time …    each event is looked up once, when it is read
"""

from __future__ import annotations

from headwater.views.plan import Join, Relation, View
from headwater.views.routes import KINDS, join_of, pair_of
from headwater.views.sharing import Types


def near_of(view: View) -> Join | None:
    """The join of two streams within a time."""
    return join_of(view) if view.target == "stream" else None


def lookups_of(view: View) -> list[Join]:
    """The tables that are looked up at a time, in order."""
    return [step for step in view.steps if isinstance(step, Join) and step.as_of is not None]


def joined_refusal(view: View, names: dict[str, str], types: Types) -> tuple[Relation, str] | None:
    """What of its joins a stream cannot have, and why. Arguments: names: of relations in the statement, by alias;
    types: of expressions."""
    joins = [step for step in view.steps if isinstance(step, Join)]
    near = [step for step in joins if step.within is not None]
    for step in joins:
        name = step.right.name
        if step.within is None and step.as_of is None:
            return step.right, (
                f"{name} changes, and rows that are in a topic stay: look each event up once, JOIN {name} FOR "
                f"SYSTEM_TIME AS OF {names[view.relation.alias]}._time AS … ON …; or CREATE TABLE"
            )
        if step.within is not None and step.side != "inner":
            return step.right, (
                "a row without a partner may get one later, and rows that are in a topic stay: JOIN, which waits for "
                "both; or CREATE TABLE"
            )
        if step.as_of is not None and step.right.origin == "view":
            return step.right, (
                f"{name} is a view, and of these is not kept what they were: FOR SYSTEM_TIME AS OF is for states of "
                "entities and for tables that others write"
            )
        if step.within is not None and step.within.grace_us is not None:
            return step.right, ("a stream's WITHIN has no grace: leave it out, then nothing is late; or CREATE TABLE")
    if len(near) > 1:
        return near[1].right, (
            f"a stream has one WITHIN: write the join with {near[0].right.name} as a stream of its own, and read that"
        )
    if near and view.steps[0] is not near[0]:
        return near[0].right, "WITHIN comes first in a stream: join, and UNNEST or look up afterwards"
    if near:
        pair = pair_of(view, near[0])
        kinds = () if pair is None else tuple(types(pair))
        if len(set(kinds)) != 1 or kinds[0] not in KINDS:
            return near[0].right, (
                "records are brought together by texts or whole numbers: one equality of the join compares a column "
                "of one with a column of the other, of the same type"
            )
    return None
