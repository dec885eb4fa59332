"""Views that keep what they were: WITH (history = true).

What is added to the tables of such a view is not merged, and says of which record it comes, and when that happened and
was recorded. So the view as it was is the same fold, over the rows of the records before a moment. It costs a row for
each record and group, and reading the view as it is now folds all of them.
"""

from __future__ import annotations

from dataclasses import replace

from headwater.views.kept import Compiled, KeptTable
from headwater.views.moments import Moment
from headwater.views.plan import View
from headwater.views.types import quoted

PART, OFFSET, TIME, RECORDED = "hw part", "hw offset", "hw time", "hw recorded"
READ = ("_partition", "_offset", "_time", "_recorded")
"""The columns of a relation that say of which record a row comes."""


def origin_of(view: View) -> list[str]:
    """Columns of what is added that say where it comes from; none: the view keeps no history."""
    if not view.history:
        return []
    part, offset, time, recorded = (f"{quoted(view.relation.alias)}.{quoted(name)}" for name in READ)
    said = {PART: part, OFFSET: offset, TIME: time, RECORDED: f"coalesce({recorded}, {time})"}
    return [f"{expression} AS {quoted(name)}" for name, expression in said.items()]


def origin_names(view: View) -> list[str]:
    """The names of these columns, quoted."""
    return [quoted(name) for name in (PART, OFFSET, TIME, RECORDED)] if view.history else []


def unmerged(table: KeptTable) -> KeptTable:
    """A table that keeps all that was ever added."""
    return replace(table, fold=None, keys="")


def rows_at(view: View, compiled: Compiled, moment: Moment) -> str:
    """SELECT of a view's rows as they were at a moment."""
    condition, rows = before(view, moment), compiled.rows
    for table in compiled.tables:
        rows = rows.replace(table.name, f"(SELECT * FROM {table.name} WHERE {condition})")
    return rows


def before(view: View, moment: Moment) -> str:
    """Whether what was added comes from a record before a moment."""
    if moment.as_of is not None:
        return f"{quoted(TIME)} <= TIMESTAMPTZ '{moment.as_of.isoformat()}'"
    if moment.known_at is not None:
        return f"{quoted(RECORDED)} <= TIMESTAMPTZ '{moment.known_at.isoformat()}'"
    assert moment.positions is not None, "a moment is one of the three"
    positions = {tp.partition: at for tp, at in moment.positions[view.name.lower()].items()}
    whens = " ".join(f"WHEN {partition} THEN {quoted(OFFSET)} < {at}" for partition, at in positions.items())
    return f"CASE {quoted(PART)} {whens} ELSE false END" if whens else "false"


def why_no_history(view: View, direct: bool) -> str | None:
    """Why the view cannot keep what it was, which it is to do. Arguments: direct: it reads one topic, and rows only
    come."""
    window = view.window
    if not view.history or (direct and (window is None or (window.kind != "session" and window.grace_us is None))):
        return None
    return (
        "history = true is kept for the events of one topic, without joins, sessions and a grace; others are asked "
        "about the past without it: as_of= reads the log again"
    )
