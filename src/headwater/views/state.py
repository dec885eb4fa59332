"""A view's plan as SQL of DuckDB: what it keeps, what a batch adds to it, and how its rows are read. Pure text.

    changed rows (tables named by the aliases of the plan, with a weight w) ─► `adds`: appended to `tables`
    `tables` ─► `merges`: the same content in fewer rows, now and then
    `tables` ─► `rows`: the view as it is now

What is kept is only ever added to, so a batch costs what it holds, whatever the size of the view: at 1,000,000 groups a
batch of 1,000 takes 5 ms, where replacing its groups by their key takes 114 ms. Reading adds up what is there, so
merging changes no answer; a commit does no more than a piece of a merge (see `parts`).

Sessions are joined when they are read (see `windowed`). Windows with a grace have a clock, and what has closed is put
away when the tables are merged, unless processes share the view (see `clock`, `closing`).
"""

from __future__ import annotations

from dataclasses import replace

from headwater.failures.held import tables_of
from headwater.views.aggregates import DECIMALS
from headwater.views.clock import LATE, TIMES, clock_of, released
from headwater.views.closing import closing_of
from headwater.views.failing import told
from headwater.views.history import origin_names, origin_of, unmerged
from headwater.views.joining import WEIGHT, Joining, changed_rows, is_direct
from headwater.views.kept import Change, Sum, Sums, table_of
from headwater.views.kept import Compiled as Compiled
from headwater.views.kept import KeptTable as KeptTable
from headwater.views.plan import Grouping, Partial, View, Window
from headwater.views.types import quoted
from headwater.views.windowed import (
    SESSIONS,
    by_itself,
    for_clock,
    joined_sessions,
    own_keys,
    session_keys,
    sessions_of,
    with_windows,
)

ORDER = "o"
"""Added to the name of a partial of arg_min, arg_max: what its value was compared by."""


def compile_view(view: View, runner: str) -> Compiled:
    """Arguments: view: as it was planned; runner: whose tables they are."""
    compiled = _ungrouped(view, runner) if view.grouping is None else _grouped(view, view.grouping, runner)
    if is_direct(view):
        return compiled
    joining = Joining(view, runner, lambda inner, whose: compile_view(replace(inner, history=False), whose))
    tables = (*joining.tables, *compiled.tables)
    found = Compiled(tables, compiled.rows, tuple(joining.changes), tuple(joining.opening))
    expiring = joining.expiring
    if expiring is None:
        return found
    return replace(found, clocks=tuple(expiring.clocks), floors=tuple(expiring.floors))


def changed(view: View, condition: str | None = None) -> str:
    """FROM and WHERE over the changed rows. Arguments: condition: what else must be true of a row."""
    if is_direct(view):
        return with_windows(view, condition)
    source, said = changed_rows(view), [view.where, condition]
    if view.window is not None:
        source += by_itself(view.window)
        said.append(f"isfinite({view.window.time})")
    conditions = [f"({one})" for one in said if one is not None]
    return f"{source} WHERE {' AND '.join(conditions)}" if conditions else source


def _ungrouped(view: View, runner: str) -> Compiled:
    name = table_of(runner, "rows")
    listed = ", ".join(f"{one.expression} AS {quoted(one.name)}" for one in view.output)
    names = ", ".join(quoted(one.name) for one in view.output)
    if is_direct(view):
        kept = KeptTable(name, f"SELECT {', '.join([listed, *origin_of(view)])} FROM {changed(view)}", None)
        return Compiled((kept,), f"SELECT {names} FROM {name}")
    fold = f"SELECT {names}, sum({WEIGHT})::BIGINT AS {WEIGHT} FROM {name} GROUP BY ALL HAVING sum({WEIGHT}) <> 0"
    kept = KeptTable(name, f"SELECT {listed}, w AS {WEIGHT} FROM {changed(view)}", fold)
    return Compiled((kept,), f"SELECT {names} FROM ({fold}), range({WEIGHT})")


def _grouped(view: View, grouping: Grouping, runner: str) -> Compiled:
    direct = is_direct(view)
    linear = [one for one in grouping.partials if not one.bag]
    keys = [key.name for key in grouping.keys]
    by = f" GROUP BY {', '.join(map(quoted, keys))}" if keys else ""
    name = table_of(runner, "groups")
    by_keys = [f"{key.expression} AS {quoted(key.name)}" for key in grouping.keys] + origin_of(view)
    adds = [*by_keys, f"{_count('*', None, direct)} AS n"]
    for one in linear:
        adds += _adds(one, direct)
    positions = ", ".join(str(i + 1) for i in range(len(by_keys)))
    added = f"SELECT {', '.join(adds)} FROM {changed(view)}" + (f" GROUP BY {positions}" if by_keys else "")
    fold = _fold(grouping, name, linear)
    kept = KeptTable(name, added, fold, ", ".join(map(quoted, keys)))
    if is_session(view):
        fold = _fold(grouping, name if direct else f"({fold})", linear, sessions=True)
        if direct:  # a row may join sessions of other keys
            kept = KeptTable(name, added, fold)
    kept = replace(kept, sums=_sums(view, grouping, fold))
    tables = [unmerged(kept) if view.history else kept]
    groups, bags = f"({fold}) AS g", [one for one in grouping.partials if one.bag]
    shown = [*(f"g.{quoted(key)}" for key in keys)]
    shown.append("g.n" if keys else "coalesce(g.n, 0) AS n")
    shown += [f"g.{quoted(one.name)}" for one in linear]
    for one in bags:
        bag, values = _bag(one, view, grouping, runner, fold)
        tables.append(unmerged(bag) if view.history else bag)
        same = " AND ".join(f"{quoted(one.name)}.{quoted(key)} IS NOT DISTINCT FROM g.{quoted(key)}" for key in keys)
        counted = f"SELECT {''.join(quoted(key) + ', ' for key in keys)}{_of_bag(one)} AS d FROM ({values}){by}"
        groups += f" LEFT JOIN ({counted}) AS {quoted(one.name)} ON {same or 'true'}"
        shown.append(f"{quoted(one.name)}.d AS {quoted(one.name)}")
    finished = f"SELECT {', '.join(shown)} FROM {groups}"
    compiled = Compiled(tuple(tables), finished)
    if view.window is not None:
        compiled = _with_window(compiled, view, view.window, grouping, runner)
    named = {f'"{key.name}"': quoted(key.name) for key in grouping.keys}
    named |= {one.expression: quoted(one.name) for one in reversed(view.output) if one.expression in named}
    of = {name: column for column, name in named.items()}
    listed = [(told(one.expression, f"{view.name}, column {one.name}", of), one.name) for one in view.output]
    output = ", ".join(f"{expression} AS {quoted(name)}" for expression, name in listed)
    having = f" WHERE {told(grouping.having, f'{view.name}, HAVING', of)}" if grouping.having is not None else ""
    return replace(compiled, rows=f"SELECT {output} FROM ({compiled.rows}){having}")


def _with_window(compiled: Compiled, view: View, window: Window, grouping: Grouping, runner: str) -> Compiled:
    """The same with what a window needs. Arguments: compiled: its `rows` are the groups with all that they came to."""
    changes, opening = [], list[str]()
    if window.grace_us is not None:
        clock, aside, closed = (table_of(runner, part) for part in ("clock", "aside", "closed"))
        of = tables_of(runner).held
        held = f"hw.{quoted(f'{of.name}_v{of.version}')}"
        found = clock_of(view.relation, window, *for_clock(view, window), clock, aside)
        changes += [Change(TIMES, found.times), Change(LATE, found.late)]
        opening += found.create
        if view.shared:  # then nothing closes
            compiled = replace(compiled, clocks=(replace(found, release=released(aside, held)),))
        else:
            closing = closing_of(window, grouping, compiled.rows, name=closed, clock=clock, aside=aside, held=held)
            rows = f"FROM ({compiled.rows}) UNION ALL BY NAME FROM {closed}"
            compiled = replace(compiled, rows=rows, clocks=(found,), closing=closing)
    if window.kind == "session" and is_direct(view):
        changes.append(Change(SESSIONS, sessions_of(view, window)))
    opening += [change.statement for change in changes]
    return replace(compiled, changes=tuple(changes), opening=tuple(opening))


def is_session(view: View) -> bool:
    return view.window is not None and view.window.kind == "session"


def _fold(grouping: Grouping, name: str, linear: list[Partial], *, sessions: bool = False) -> str:
    """The groups in a table, each as one row. Arguments: sessions: those that touch are one."""
    keys = [quoted(key.name) for key in grouping.keys]
    source, by = name, f" GROUP BY {', '.join(keys)}" if keys else ""
    if sessions:
        source, by = joined_sessions(grouping, name)
        start, end = map(quoted, session_keys(grouping))
        ends = {start: f"min({start}) AS {start}", end: f"max({end}) AS {end}"}
        keys = [ends.get(key, key) for key in keys]
    folds = [*keys, "sum(n)::BIGINT AS n", *(text for one in linear for text in _folds(one))]
    return f"SELECT {', '.join(folds)} FROM {source}{by}" + (" HAVING sum(n) <> 0" if keys else "")


def _sums(view: View, grouping: Grouping, totals: str) -> Sums | None:
    """Those that can become too large; whole numbers of 64 bits and doubles cannot. Arguments: totals: the fold."""
    found = []
    for one in grouping.partials:
        decimal = DECIMALS.fullmatch(one.type.sql)
        if one.kind != "sum" or (decimal is None and one.type.sql != "HUGEINT") or counts_elements(one):
            continue
        columns = [output.name for output in view.output if quoted(one.name) in output.expression]
        shown = f"column {' and '.join(columns)}" if columns else "HAVING"
        scale = 0 if decimal is None else int(decimal[1])
        found.append(Sum(quoted(one.name), one.type.sql, scale, f"{shown} of view {view.name}"))
    if not found:
        return None
    keys = own_keys(grouping) if is_session(view) else grouping.keys
    return Sums(tuple(found), totals, tuple(quoted(key.name) for key in keys))


def counts_elements(partial: Partial) -> bool:
    return str(partial.argument).startswith("list_count(")


def _bag(partial: Partial, view: View, grouping: Grouping, runner: str, groups: str) -> tuple[KeptTable, str]:
    """Values with their weights, per group; of arg_min and arg_max each with what it is compared by; and SELECT of them
    as they are read. Arguments: groups: the fold of the groups, which says what sessions are."""
    name, keys = table_of(runner, partial.name), [key.name for key in grouping.keys]
    argument = f"unnest({partial.argument})" if partial.repeated else partial.argument
    listed = [*(f"{key.expression} AS {quoted(key.name)}" for key in grouping.keys), f"{argument} AS a"]
    names = [*map(quoted, keys), "a"]
    if partial.by is not None:
        listed.append(f"{_order(partial)} AS {ORDER}")
        names.append(ORDER)
    direct, named = is_direct(view), ", ".join(names)
    listed += origin_of(view)
    every = ", ".join([*names, *origin_names(view)])
    added = (
        f"SELECT {every}, {_count('*', None, direct)} AS w FROM (SELECT {', '.join(listed)}{'' if direct else ', w'}"
        f" FROM {changed(view, partial.filter)}) WHERE a IS NOT NULL GROUP BY {every}"
    )
    fold = f"SELECT {named}, sum(w)::BIGINT AS w FROM {{}} GROUP BY {named} HAVING sum(w) <> 0"
    kept = KeptTable(name, added, fold.format(name), named)
    values = fold.format(name)
    if is_session(view):
        start, end = map(quoted, session_keys(grouping))
        inside = [f"b.{quoted(key.name)} IS NOT DISTINCT FROM s.{quoted(key.name)}" for key in own_keys(grouping)]
        inside.append(f"b.{start} BETWEEN s.{start} AND s.{end}")
        shown = [f"s.{one}" if one in map(quoted, keys) else f"b.{one}" for one in [*names, "w"]]
        joined = f"(SELECT {', '.join(shown)} FROM {name} AS b JOIN ({groups}) AS s ON {' AND '.join(inside)})"
        values = fold.format(joined)
        if direct:
            kept = KeptTable(name, added, values)
    return kept, values


def _of_bag(partial: Partial) -> str:
    """What a group's values with a weight above 0 come to."""
    if partial.kind == "distinct":
        return "count(*)"
    return f"{partial.kind}(a{'' if partial.by is None else f', {ORDER}'})"


def _order(partial: Partial) -> str:
    """What the values of arg_min and arg_max are compared by, as one value."""
    ties = "".join(f", t{i} := {tie}" for i, tie in enumerate(partial.ties))
    return f"struct_pack(b := {partial.by}{ties})"


def _adds(partial: Partial, direct: bool) -> list[str]:
    """What changed rows add. Arguments: direct: all of them came; else `w` is 1 for those and -1 for what went."""
    name, only = quoted(partial.name), f" FILTER ({partial.filter})" if partial.filter is not None else ""
    kind, argument = partial.kind, partial.argument
    if kind == "count":
        return [f"{_count(argument or '*', partial.filter, direct)} AS {name}"]
    if kind == "sum" and not direct:
        came, went = (f"sum({argument}) {_only(partial.filter, f'w {sign} 0')}" for sign in "><")
        both = f"CASE WHEN {went} IS NULL THEN {came} ELSE coalesce({came} - {went}, -{went}) END"
        return [f"({both})::{partial.type.sql} AS {name}"]
    if kind in ("sum", "min", "max"):
        return [f"{kind}({argument}){only}::{partial.type.sql} AS {name}"]
    order = _order(partial)
    there = f"({partial.by}) IS NOT NULL AND ({argument}) IS NOT NULL"
    only = f" FILTER ({there}{f' AND ({partial.filter})' if partial.filter is not None else ''})"
    least = kind.removeprefix("arg_")
    return [f"{kind}({argument}, {order}){only} AS {name}", f"{least}({order}){only} AS {quoted(partial.name + ORDER)}"]


def _count(argument: str, filter: str | None, direct: bool) -> str:
    """How many more rows there are with a value."""
    if direct:
        return f"count({argument}){'' if filter is None else f' FILTER ({filter})'}"
    came, went = (f"count({argument}) {_only(filter, f'w {sign} 0')}" for sign in "><")
    return f"({came} - {went})"


def _only(filter: str | None, condition: str) -> str:
    return f"FILTER ({condition})" if filter is None else f"FILTER (({filter}) AND {condition})"


def _folds(partial: Partial) -> list[str]:
    name, kind = quoted(partial.name), partial.kind
    if kind in ("count", "sum"):
        return [f"sum({name})::{partial.type.sql} AS {name}"]
    if kind in ("min", "max"):
        return [f"{kind}({name}) AS {name}"]
    order = quoted(partial.name + ORDER)
    return [f"{kind}({name}, {order}) AS {name}", f"{kind.removeprefix('arg_')}({order}) AS {order}"]
