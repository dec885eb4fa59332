"""What is understood and is not maintained: of which part of a plan, and why. Pure.

It is refused when the statement is planned, so `hw views explain` refuses what an app would refuse to start with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from headwater.errors import Misuse
from headwater.views.history import why_no_history
from headwater.views.joining import is_direct
from headwater.views.nesting import inner_view
from headwater.views.plan import Join, Relation, View, Window
from headwater.views.whole import query_of, reads_views_only


class Unbuilt(NamedTuple):
    """Arguments: part: what is not maintained; None: that history is kept; reason: why, and what to write instead."""

    part: Relation | Window | None
    reason: str


def unbuilt_in(view: View) -> Unbuilt | None:
    """The first part of a plan that is not maintained; None: all of it is."""
    for step in view.steps:
        if isinstance(step, Join) and step.as_of is not None and step.right.origin == "view":
            return Unbuilt(
                step.right,
                f"{step.right.name} is a view, and of these is not kept what they were: FOR SYSTEM_TIME AS OF is for "
                "states of entities and for tables that others write; without it the view is joined as it is now",
            )
    return of_views(view) if reads_views_only(view) else of_topics(view)


def of_views(view: View) -> Unbuilt | None:
    """The same of a view that is computed when it is read, from nothing but views."""
    try:
        query_of(view)
    except Misuse as reason:
        return Unbuilt(None if view.history else view.window, str(reason))
    return None


def of_topics(view: View) -> Unbuilt | None:
    """The same of a view that is maintained with each record of what it reads."""
    for relation in view.relations:
        inner = relation.view
        if inner is None:
            continue
        if inner.grouping is not None and not inner.grouping.keys:
            return Unbuilt(relation, f"{relation.name} has no GROUP BY, so it has one row, and is asked by itself")
        try:
            inner_view(relation)
        except Misuse as reason:
            return Unbuilt(relation, str(reason))
        inside = of_topics(replace(inner, history=False))  # of views it may be, and is maintained inside of this one
        if inside is not None:
            return Unbuilt(relation, inside.reason)
    window = view.window
    if window is not None and window.grace_us is not None and not is_direct(view):
        return Unbuilt(
            window,
            "a window has a grace over the records of one topic. A row of a join comes with the later of its records, "
            "and a row of a table may change at any time, so whether it is late would depend on the order in which "
            "topics are read. Leave the grace out, or write it in the join: WITHIN (INTERVAL …, grace => …)",
        )
    why = why_no_history(view, is_direct(view))
    return None if why is None else Unbuilt(None, why)
