"""Changed rows of views that join, or that read tables: SQL that makes them from a batch and from what is kept.

    rows of a batch, by relation ─► change of the relation ─► change of the join, step by step ─► changed rows

A change is a Z-set: rows with a weight `w`, above 0 where they came, below 0 where they went. It has one column for
each alias of the plan, a STRUCT of the alias' own columns, so the expressions of the plan find `"r0"."orderId"` in it.
NULL in place of a STRUCT is the side of an outer join that has no row.

The rows of a table (a relation with a key) are kept as they are now. A change of a row is the old one with -1 and the
new one with +1, whatever became of it within the batch.

Both sides of a join are kept. With ΔL and ΔR the changes of its sides, an inner join changes by

    ΔL ⋈ R(old) + (L(old) + ΔL) ⋈ ΔR        the weight of a pair is the product of its rows' weights

An outer join is not linear: a row without a partner has one the next moment. Here the rows of both sides whose key is
among those of ΔL and ΔR are joined as they are now (+) and as they were before (-), and all others cannot have changed.

Where rows expire (see `expiring`), others of the same key may be gone, and it is done otherwise (see `unmatched`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from headwater.failures.held import tables_of
from headwater.views.expiring import Expiring, is_late
from headwater.views.kept import (
    GONE,
    Change,
    Compiled,
    KeptTable,
    columns_of,
    folded,
    identity_of,
    made,
    span_of,
    states_of,
    table_of,
)
from headwater.views.nesting import inner_view
from headwater.views.plan import Join, Relation, Unnest, View
from headwater.views.types import quoted
from headwater.views.unmatched import Side, rows_alone, touched_rows

WEIGHT = quoted("hw weight")
"""The column of the weight in the rows of a view that are kept as they are."""


class Joining:
    """Makes the SQL of one view. Arguments: view; runner: whose tables they are; compile_inner: how a view inside of it
    is compiled.

    `changes` are the tables to be made of a batch, the last of which has the changed rows (`changed_rows`); `tables`
    is what is kept for it, and `opening` as of `Compiled`.
    """

    def __init__(self, view: View, runner: str, compile_inner: Callable[[View, str], Compiled]) -> None:
        self._runner, self._compile_inner, self._named = runner, compile_inner, view.relation.alias
        self.changes: list[Change] = []
        self.tables: list[KeptTable] = []
        self.opening: list[str] = []
        self._kept: dict[str, str] = {}
        """Change -> the table that keeps what such changes have come to."""
        self._plan, self.expiring = view, expiring_of(view, runner)
        if self.expiring is not None:
            self.changes += self.expiring.changes
            self.opening += self.expiring.opening
            self.opening += [change.statement for change in self.changes]
        change = self._relation(view.relation)
        aliases = [view.relation.alias]
        for number, step in enumerate(view.steps):
            if isinstance(step, Unnest):
                change = self._unnest(f"hw step {number} of {self._named}", change, step)
                aliases.append(step.alias)
            elif isinstance(step, Join):  # a window comes after all of them
                change = self._join(f"hw step {number} of {self._named}", change, aliases, step)
                aliases.append(step.right.alias)
        shown = ", ".join(map(quoted, aliases))
        self._change(changed_rows(view), f"SELECT {shown}, sign(w)::BIGINT AS w FROM {change}, range(abs(w))")

    def _relation(self, relation: Relation) -> str:
        """The change of a relation."""
        if relation.origin == "view":
            return self._view(relation)
        alias = quoted(relation.alias)
        change, came = (
            quoted(f"hw change of {relation.alias}"),
            f"SELECT {packed(relation)}, 1::BIGINT AS w FROM {alias} AS t",
        )
        if relation.origin == "records" and relation.key:
            came += f" WHERE NOT t.{quoted(GONE)}"
        if self.expiring is not None and self.expiring.reads(relation):
            came += f" WHERE NOT {is_late(relation)}"
        if not relation.key:
            self._change(change, came)
            return change
        kept = table_of(self._runner, relation.alias)
        self.opening.append(made(kept, came))
        known = f"{kept} AS o SEMI JOIN {alias} AS t ON {same_row(relation)}"
        went = f"SELECT o.{alias}, -sum(o.w)::BIGINT AS w FROM {known} GROUP BY ALL HAVING sum(o.w) <> 0"
        self._change(change, f"{came} UNION ALL {went}")
        self._keep(change, kept, [relation.alias])
        if relation.origin == "states":
            self.tables.append(states_of(relation, self._runner))
        return change

    def _versions(self, relation: Relation) -> str:
        """The change of a table whose rows are looked up at a time: each as it was from one time to another. A version
        that comes late ends the one before it, which went on too long until now."""
        alias, span = quoted(relation.alias), quoted(span_of(relation))
        came = f"SELECT {packed(relation)}, {span}, 1::BIGINT AS w FROM {alias} AS t"
        kept = table_of(self._runner, f"{relation.alias} at times")
        self.opening.append(made(kept, came))
        known, change = quoted(f"hw known of {relation.alias}"), quoted(f"hw change of {relation.alias}")
        self._change(
            known,
            folded(f"(SELECT o.* FROM {kept} AS o SEMI JOIN {alias} AS t ON {same_row(relation)})", f"{alias}, {span}"),
        )
        keys = ", ".join(f"{alias}.{quoted(key)}" for key in identity_of(relation))
        following = f"lead({span}.since) OVER (PARTITION BY {keys} ORDER BY {span}.since, {span}.part, {span}.place)"
        ended = f"struct_pack(since := {span}.since, until := {following}, part := {span}.part, place := {span}.place)"
        now = f"SELECT {alias}, {ended} AS {span}, 1::BIGINT AS w FROM (FROM {known} UNION ALL BY NAME {came})"
        there = f"SELECT * FROM ({now}) WHERE {span}.until IS NULL OR {span}.since < {span}.until"
        went = f"SELECT {alias}, {span}, -w AS w FROM {known}"
        self._change(change, folded(f"({there} UNION ALL BY NAME {went})", f"{alias}, {span}"))
        self._keep(change, kept, [relation.alias, span_of(relation)])
        if relation.origin == "states":
            self.tables.append(states_of(relation, self._runner))
        return change

    def _view(self, relation: Relation) -> str:
        """The change of a view: what its changed rows are, or the rows of its changed groups, as they were and are."""
        inner, alias = inner_view(relation), quoted(relation.alias)
        runner = f"{self._runner}/{relation.alias}"
        compiled = self._compile_inner(inner, runner)
        self.changes += compiled.changes
        self.opening += compiled.opening
        change = quoted(f"hw change of {relation.alias}")
        if inner.grouping is None:
            *others, rows = compiled.tables
            weight = "1::BIGINT" if is_direct(inner) else WEIGHT
            self.tables += others
            self._change(change, f"SELECT {packed(relation)}, {weight} AS w FROM ({rows.adds}) AS t")
            return change
        keys = ", ".join(quoted(one.name) for one in inner.grouping.keys)
        was, now = dict[str, str](), dict[str, str]()
        changed = quoted(f"hw keys of {relation.alias}")
        same = " AND ".join(
            f"o.{quoted(one.name)} IS NOT DISTINCT FROM k.{quoted(one.name)}" for one in inner.grouping.keys
        )
        for table in compiled.tables:
            self.opening.append(made(table.name, table.adds))
            if table.name not in compiled.rows:
                self.tables.append(table)
                continue
            added = quoted(f"hw added to {plain(table.name)}")
            self._change(added, table.adds)
            if not was:  # the groups themselves, in which all that has changed is
                self._change(changed, f"SELECT DISTINCT {keys} FROM {added}")
            self.tables.append(KeptTable(table.name, f"FROM {added}", table.fold))
            was[table.name] = f"(SELECT o.* FROM {table.name} AS o SEMI JOIN {changed} AS k ON {same})"
            now[table.name] = f"({was[table.name]} UNION ALL FROM {added})"
        names = re.compile("|".join(map(re.escape, was)))
        parts = []
        for sign, source in ((-1, was), (1, now)):
            rows_then = names.sub(lambda one, source=source: source[one[0]], compiled.rows)  # type: ignore[misc] # bound now
            parts.append(f"SELECT {packed(relation)}, {sign}::BIGINT AS w FROM ({rows_then}) AS t")
        self._change(change, folded(f"({' UNION ALL '.join(parts)})", alias))
        return change

    def _unnest(self, name: str, change: str, step: Unnest) -> str:
        name, alias = quoted(name), quoted(step.alias)
        how, on = ("LEFT", " ON true") if step.outer else ("CROSS", "")
        element = f"(SELECT unnest({step.of}) AS item) AS e"
        self._change(
            name, f"SELECT d.*, {{'item': e.item}} AS {alias} FROM {change} AS d {how} JOIN LATERAL {element}{on}"
        )
        return name

    def _join(self, name: str, left: str, aliases: list[str], step: Join) -> str:
        """The change of a join. Arguments: left: the change of what stands left of it, which has these aliases."""
        looked_up = step.as_of is not None
        right, name = self._versions(step.right) if looked_up else self._relation(step.right), quoted(name)
        others = [step.right.alias, *([span_of(step.right)] if looked_up else [])]
        lasts = ("", "")
        if self.expiring is not None and step.within is not None:
            lasts = self.expiring.of(self._plan, step)
        before, other = self._kept_of(left, aliases, lasts[0]), self._kept_of(right, others, lasts[1])
        on = " AND ".join([*(f"({one}) = ({two})" for one, two in step.equal), f"({step.on})", *times_of(step)])
        shown = ", ".join(map(quoted, [*aliases, step.right.alias]))
        if step.side == "inner" or lasts[0]:
            now = f"(FROM {before} UNION ALL BY NAME FROM {left})"
            parts = [(left, other), (now, right)]
            pairs = [f"SELECT {shown}, l.w * r.w AS w FROM {one} AS l JOIN {two} AS r ON {on}" for one, two in parts]
            sides = Side(before, left, aliases), Side(other, right, others)
            for mine, theirs, outer in ((*sides, "left"), (*sides[::-1], "right")):
                if step.side in (outer, "full"):
                    touched = touched_rows(plain(name), mine, theirs, on)
                    self._change(*touched)
                    pairs += rows_alone(touched.name, mine, theirs, on)
            self._change(name, " UNION ALL BY NAME ".join(pairs))
            return name
        keys = self._keys(name, left, right, step)
        for when, sign in (("old", -1), ("new", 1)):
            lefts = self._affected(before, left, aliases, [one for one, _ in step.equal], keys, now=sign > 0)
            rights = self._affected(other, right, others, [two for _, two in step.equal], keys, now=sign > 0)
            weight = f"{sign} * coalesce(l.w, 1) * coalesce(r.w, 1) AS w"
            sql = f"SELECT {shown}, {weight} FROM {lefts} AS l {step.side} JOIN {rights} AS r ON {on}"
            self._change(quoted(f"{when} of {plain(name)}"), sql)
        both = " UNION ALL ".join(f"FROM {quoted(f'{when} of {plain(name)}')}" for when in ("old", "new"))
        self._change(name, f"SELECT {shown}, sum(w)::BIGINT AS w FROM ({both}) GROUP BY ALL HAVING sum(w) <> 0")
        return name

    def _keys(self, name: str, left: str, right: str, step: Join) -> str:
        """The keys of a join whose rows can have changed."""
        keys = quoted(f"keys of {plain(name)}")
        lefts = ", ".join(f"{one} AS k{i}" for i, (one, _) in enumerate(step.equal))
        rights = ", ".join(two for _, two in step.equal)
        self._change(keys, f"SELECT {lefts} FROM {left} UNION SELECT {rights} FROM {right}")
        return keys

    def _affected(
        self, kept: str, change: str, aliases: list[str], expressions: list[str], keys: str, *, now: bool
    ) -> str:
        """The rows of a side whose key is among these, before the batch or after it. A row with NULL in its key has no
        partner, whatever else changes, so of these the changed ones are enough."""
        shown = ", ".join(map(quoted, aliases))
        same = " AND ".join(f"({one}) = k.k{i}" for i, one in enumerate(expressions))
        rows = f"SELECT {shown}, w FROM {kept} SEMI JOIN {keys} AS k ON {same}"
        if now:
            rows += f" UNION ALL SELECT {shown}, w FROM {change}"
        return f"(SELECT {shown}, sum(w)::BIGINT AS w FROM ({rows}) GROUP BY ALL HAVING sum(w) <> 0)"

    def _kept_of(self, change: str, aliases: list[str], expired: str = "") -> str:
        """The table that keeps what changes have come to; it may be kept already. Arguments: expired: as of
        `KeptTable`."""
        if change not in self._kept:
            table = table_of(self._runner, " ".join(aliases))
            self._keep(change, table, aliases, expired)
            self.opening.append(made(table, self.tables[-1].adds))
        return self._kept[change]

    def _keep(self, change: str, table: str, aliases: list[str], expired: str = "") -> None:
        shown = ", ".join(map(quoted, aliases))
        self.tables.append(KeptTable(table, f"SELECT {shown}, w FROM {change}", folded(table, shown), expired=expired))
        self._kept[change] = table

    def _change(self, name: str, query: str) -> None:
        self.changes.append(Change(name, query))
        self.opening.append(self.changes[-1].statement)


def expiring_of(view: View, runner: str) -> Expiring | None:
    """What there is to the expiry of rows; None: a join within a time has no grace, so none expires."""
    nears = [step.within for step in view.steps if isinstance(step, Join)]
    if not any(one is not None and one.grace_us is not None for one in nears):
        return None
    held = tables_of(runner).held
    return Expiring(view, runner, f"hw.{quoted(f'{held.name}_v{held.version}')}")


def times_of(step: Join) -> Iterator[str]:
    """What a join asks of the times of two rows."""
    if step.within is not None:
        left, right = (f"epoch_us({time})" for time in (step.within.left, step.within.right))
        yield f"{right} BETWEEN {left} - {step.within.before_us} AND {left} + {step.within.after_us}"
    if step.as_of is not None:
        span = quoted(span_of(step.right))
        yield f"({step.as_of}) >= {span}.since"
        yield f"({span}.until IS NULL OR ({step.as_of}) < {span}.until)"
        if step.right.origin == "records":
            yield f"NOT {quoted(step.right.alias)}.{quoted(GONE)}"


def plain(name: str) -> str:
    """A quoted name without its quotes, to be a part of another one."""
    return name.replace('"', "")


def packed(relation: Relation) -> str:
    """The column of a relation's rows, which are in `t`."""
    members = ", ".join(f"{quoted(name)} := t.{quoted(name)}" for name in columns_of(relation))
    return f"struct_pack({members}) AS {quoted(relation.alias)}"


def same_row(relation: Relation) -> str:
    """Whether a row that is kept, in `o`, and a new one, in `t`, are the same row of a table."""
    alias = quoted(relation.alias)
    return " AND ".join(
        f"o.{alias}.{quoted(key)} IS NOT DISTINCT FROM t.{quoted(key)}" for key in identity_of(relation)
    )


def is_direct(view: View) -> bool:
    """Whether its changed rows are those of a batch as they are: no join, and no table among what it reads. A window
    comes after all that."""
    tables = any(one.key or one.origin == "view" for one in view.relations)
    return not tables and not any(isinstance(step, Join) for step in view.steps)


def changed_rows(view: View) -> str:
    """The table of changed rows: a column for each alias, and `w`, which is 1 or -1."""
    return quoted(f"hw changed {view.relation.alias}")
