"""The changed rows of a view with a window, as SQL of DuckDB: what follows FROM. Pure text.

A row of a tumbling or hopping window stands once for each of its windows that still takes it (see `clock`).

A session is all rows of a group of which each is at most the gap away from another one; it ends the gap after its last
row, and rows that are exactly the gap apart are in one. What is stored is a session per batch, since two sessions whose
times touch are one, and so are their sums: joining rows first or sessions later gives the same, in whatever order rows
come. A row that lies between two sessions makes one of them when it is read, and for good when the table is merged.

Where a row may go again, of joins and of tables, a session may fall into two. There what is stored are sessions of rows
of one time, which are only joined when they are read.
"""

from __future__ import annotations

from headwater.views.clock import TIMES, takes
from headwater.views.plan import Grouping, Key, Unnest, View, Window
from headwater.views.types import PLACE, quoted
from headwater.views.windows import windows_of

SESSIONS = "hw_sessions"
START, END = '"win"."window_start"', '"win"."window_end"'


def with_windows(view: View, condition: str | None = None) -> str:
    """FROM and WHERE over the changed rows, each with its windows. Arguments: condition: what else must be true."""
    window, more = view.window, [] if condition is None else [condition]
    if window is None:
        return rows(view, *more)
    if window.kind == "session":
        assert view.grouping is not None, "a window stands in GROUP BY"
        return taken(view, window, more, f" JOIN {SESSIONS} AS win ON {in_session(view.grouping, window)}")
    return taken(view, window, more, every(window))


def rows(view: View, *conditions: str, clocked: bool = False, beside: str = "") -> str:
    """FROM and WHERE without windows. Arguments: clocked: with the clock as it was at each row, `tm`; beside: what is
    joined."""
    source = quoted(view.relation.alias)
    if clocked:
        source += f" JOIN {TIMES} AS tm ON tm.i = {source}.{PLACE}"
    for step in view.steps:
        if isinstance(step, Unnest):
            element = f"(SELECT unnest({step.of}) AS item) AS {quoted(step.alias)}"
            source += f" LEFT JOIN LATERAL {element} ON true" if step.outer else f" CROSS JOIN LATERAL {element}"
    said = [f"({one})" for one in (view.where, *conditions) if one is not None]
    return f"{source}{beside} WHERE {' AND '.join(said)}" if said else f"{source}{beside}"


def taken(view: View, window: Window, conditions: list[str], beside: str) -> str:
    """Rows that come in time, with what is joined to them."""
    if window.grace_us is None:
        return rows(view, *conditions, beside=beside)
    return rows(view, *conditions, takes(window), clocked=True, beside=beside)


def every(window: Window) -> str:
    """All tumbling or hopping windows of a row."""
    listed = windows_of(window.time, window.size_us, window.advance_us)
    one = f"SELECT unnest({listed}) AS w"
    return (
        f" CROSS JOIN LATERAL (SELECT w.window_start AS window_start, w.window_end AS window_end FROM ({one})) AS win"
    )


def for_clock(view: View, window: Window) -> tuple[str, str]:
    """The rows that move the clock; and the same with the clock, and all windows of each."""
    if window.kind == "session":
        return rows(view), rows(view, "true", clocked=True)
    beside = every(window)
    moving = rows(view, beside=beside if view.where is not None and '"win".' in view.where else "")
    return moving, rows(view, "true", clocked=True, beside=beside)


def by_itself(window: Window) -> str:
    """The session that a row is by itself."""
    end = f"make_timestamptz(epoch_us({window.time}) + {window.size_us})"
    return f" CROSS JOIN LATERAL (SELECT {window.time} AS window_start, {end} AS window_end) AS win"


def in_session(grouping: Grouping, window: Window) -> str:
    """Which session of the batch a row is in."""
    same = [f"({key.expression}) IS NOT DISTINCT FROM win.{quoted(key.name)}" for key in own_keys(grouping)]
    return " AND ".join([*same, f"({window.time}) BETWEEN {START} AND {END}"])


def sessions_of(view: View, window: Window) -> str:
    """SELECT of the sessions of a batch, which `SESSIONS` is made of."""
    assert view.grouping is not None
    names = [quoted(key.name) for key in own_keys(view.grouping)]
    listed = [f"{key.expression} AS {quoted(key.name)}" for key in own_keys(view.grouping)] + [f"{window.time} AS t"]
    times = f"SELECT DISTINCT {', '.join(listed)} FROM {taken(view, window, [f'isfinite({window.time})'], '')}"
    by = f"PARTITION BY {', '.join(names)} " if names else ""
    apart = f"coalesce(epoch_us(t) - epoch_us(lag(t) OVER ({by}ORDER BY t)) > {window.size_us}, true)"
    counted = f"SELECT *, sum(new::INTEGER) OVER ({by}ORDER BY t ROWS UNBOUNDED PRECEDING) AS island"
    return (
        f"SELECT {''.join(name + ', ' for name in names)}"
        f"min(t) AS window_start, make_timestamptz(epoch_us(max(t)) + {window.size_us}) AS window_end "
        f"FROM ({counted} FROM (SELECT *, {apart} AS new FROM ({times}))) GROUP BY {', '.join([*names, 'island'])}"
    )


def joined_sessions(grouping: Grouping, table: str) -> tuple[str, str]:
    """FROM of the stored sessions in which those that are one have one number, and what they are grouped by."""
    start, end = session_keys(grouping)
    names = [quoted(key.name) for key in own_keys(grouping)]
    by = f"PARTITION BY {', '.join(names)} " if names else ""
    order = f"{by}ORDER BY {quoted(start)}, {quoted(end)} ROWS BETWEEN UNBOUNDED PRECEDING AND"
    apart = f"coalesce({quoted(start)} > max({quoted(end)}) OVER ({order} 1 PRECEDING), true)"
    source = (
        f"(SELECT *, sum(new::INTEGER) OVER ({order} CURRENT ROW) AS island FROM "
        f"(SELECT *, {apart} AS new FROM {table}))"
    )
    return source, f" GROUP BY {', '.join([*names, 'island'])}"


def own_keys(grouping: Grouping) -> list[Key]:
    """The keys that are not the times of the window."""
    return [key for key in grouping.keys if key.expression not in (START, END)]


def session_keys(grouping: Grouping) -> tuple[str, str]:
    """The names of the keys that are the start and the end of the window."""
    names = {key.expression: key.name for key in grouping.keys}
    return names[START], names[END]
