"""What stands after FROM and WHERE in Flink: topics as tables, elements of lists, joins, and the functions of windows.

A list becomes rows by UNNEST. A join is Flink's regular join, which keeps both sides for good, as headwater does: also
that of two streams within a time, since an interval join would drop what its watermark has passed. Of a session's rows
a view is made first, since those that do not count must be in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headwater.views.flink.expressions import Path, Rules, Translation, Typed, Untranslatable, path_of, tree_of
from headwater.views.flink.functions import FUNCTIONS
from headwater.views.flink.operators import OPERATORS
from headwater.views.flink.sources import ROWTIME, TYPE, Watermark, condition, interval
from headwater.views.flink.types import flink_type, ticked
from headwater.views.plan import Join, Key, Relation, Unnest, View, Window
from headwater.views.types import VARCHAR, ListOf, MapOf, Scalar, SqlType, StructOf

RULES: Final[Rules] = {**OPERATORS, **FUNCTIONS}
WINDOW: Final = "win"
KEYS: Final = "hw_keys"
TIMES: Final = ("window_start", "window_end")
LOCAL: Final = Scalar("TIMESTAMP")
"""The time of a window in Flink: without a zone, in that of the session, which is UTC."""


@dataclass(slots=True)
class Elements:
    """The elements of a list as rows. Arguments: alias; of: the list; outer: whether rows without elements stay;
    names: of their columns; counted: whether their place in the list is needed."""

    alias: str
    of: str
    item: SqlType
    outer: bool
    counted: bool = False

    @property
    def place(self) -> str:
        return f"{ticked(self.alias)}.`hw_place`"

    @property
    def sql(self) -> str:
        names = [one.wire for one in self.item.members] if isinstance(self.item, StructOf) else ["item"]
        columns = ", ".join(map(ticked, [*names, *(["hw_place"] if self.counted else [])]))
        how, on = ("LEFT JOIN", " ON TRUE") if self.outer else ("CROSS JOIN", "")
        numbered = " WITH ORDINALITY" if self.counted else ""
        return f"{how} UNNEST({self.of}){numbered} AS {ticked(self.alias)} ({columns}){on}"


@dataclass(slots=True)
class Rows:
    """The rows that a view is made of, before they are gathered.

    Arguments: view; tables: what its relations are called, by alias. Raises: Untranslatable.
    """

    view: View
    tables: Mapping[str, str]
    sources: list[Elements | str] = field(default_factory=list)
    """What stands after the first relation: elements of lists, and joins."""
    folded: dict[str, Elements] = field(default_factory=dict)
    """The lists that are folded within their events, by their text."""
    variables: dict[str, Elements] = field(default_factory=dict)
    window: Window | None = None

    def __post_init__(self) -> None:
        for step in self.view.steps:
            self.add(step)

    @property
    def translation(self) -> Translation:
        """Of expressions over the columns."""
        return Translation(self.column, RULES)

    def where(self, *more: str | None) -> str:
        """Which rows count. Arguments: more: what else must be true of them."""
        of_types = None if self.joins else condition(self.view.relation, self.view.relation.alias)
        wheres = [one for one in [of_types, *more] if one is not None]
        if self.view.where is not None:
            found = self.translation.condition(self.view.where)
            wheres.append(f"({found})" if wheres else found)
        return f"\n  WHERE {' AND '.join(wheres)}" if wheres else ""

    @property
    def joins(self) -> bool:
        return len(self.view.relations) > 1

    @property
    def elements(self) -> list[Elements]:
        """Of all lists, those that are folded last."""
        return [one for one in self.sources if isinstance(one, Elements)] + list(self.folded.values())

    def add(self, step: Unnest | Join | Window) -> None:
        if isinstance(step, Join):
            self.sources.append(joined(step, self.relation(step.right), self.translation))
            return
        window = step if isinstance(step, Window) else step.window
        if window is None:
            assert isinstance(step, Unnest)
            found = self.translation.text(step.of)
            assert isinstance(found.type, ListOf), "DuckDB has bound it"
            self.sources.append(Elements(step.alias, found.sql, found.type.of, step.outer))
            return
        if path_of(tree_of(window.time)) != (self.view.relation.alias, "_time"):
            raise Untranslatable("only windows by _time translate to Flink SQL, which the watermark is about")
        if self.joins:
            raise Untranslatable("windows over joins do not translate to Flink SQL: their rows have no watermark")
        if window.kind == "session" and window.grace_us is None:
            raise Untranslatable(
                "SESSION without a grace does not translate to Flink SQL, which closes sessions by the watermark: "
                "SESSION(_time, gap, grace => …)"
            )
        if window.kind == "session" and self.sources:
            raise Untranslatable("SESSION beside UNNEST does not translate to Flink SQL")
        self.window = window

    @property
    def watermark(self) -> Watermark | None:
        """What the windows need. Without a grace nothing is ever late, so any delay does."""
        return None if self.window is None else Watermark(self.window.grace_us or 0)

    @property
    def sessions(self) -> bool:
        return self.window is not None and self.window.kind == "session"

    def relation(self, relation: Relation) -> str:
        """A relation of a join, with the records that are meant alone: an outer join must not see others."""
        table, alias = ticked(self.tables[relation.alias]), ticked(relation.alias)
        only = condition(relation, relation.alias)
        return f"{table} AS {alias}" if only is None else f"(SELECT * FROM {table} AS {alias} WHERE {only}) AS {alias}"

    def source(self) -> str:
        parts = [one if isinstance(one, str) else one.sql for one in (*self.sources, *self.folded.values())]
        if self.joins:
            return "\n  ".join([self.relation(self.view.relation), *parts])
        alias = ticked(self.view.relation.alias)
        table = ticked(self.tables[self.view.relation.alias])
        if self.window is not None:
            spans = [interval(self.window.size_us)]
            if self.window.kind == "hop":
                spans.insert(0, interval(self.window.advance_us))
            of = f"TABLE {table}"
            if self.sessions:
                of = (
                    f"TABLE {ticked(self.rows_of_sessions)}{f' PARTITION BY {ticked(KEYS)}' if self.own_keys() else ''}"
                )
            name = self.window.kind.upper()
            table = f"TABLE({name}({of}, DESCRIPTOR({ticked(ROWTIME)}), {', '.join(spans)}))"
        return "\n  ".join([f"{table} AS {alias}", *parts])

    @property
    def rows_of_sessions(self) -> str:
        return f"{self.view.name}_rows"

    def own_keys(self) -> list[Key]:
        """The keys of groups that are not the times of a window."""
        assert self.view.grouping is not None, "a window has groups"
        return [one for one in self.view.grouping.keys if last_of(one.expression) not in TIMES]

    def of_sessions(self) -> str:
        """Defines the rows that sessions are made of: those that count alone, with their keys as one column, since
        Flink 2.2 does not find the second of several in a view."""
        alias = ticked(self.view.relation.alias)
        listed = [f"{alias}.*"]
        keys = [(ticked(one.name), self.translation.text(one.expression)) for one in self.own_keys()]
        if keys:
            kind = ", ".join(f"{name} {flink_type(found.type)}" for name, found in keys)
            listed.append(f"CAST(ROW({', '.join(found.sql for _, found in keys)}) AS ROW<{kind}>) AS {ticked(KEYS)}")
        table = ticked(self.tables[self.view.relation.alias])
        return (
            f"CREATE TEMPORARY VIEW {ticked(self.rows_of_sessions)} AS\n"
            f"SELECT {', '.join(listed)}\nFROM {table} AS {alias}{self.where()}"
        )

    def column(self, path: Path) -> Typed:
        """What a column of the plan is called here, and its type."""
        alias, *names = path
        relation = next((one for one in self.view.relations if one.alias == alias), None)
        if relation is not None:
            if names[0] == "_type":
                return Typed(f"{ticked(alias)}.{ticked(TYPE)}" if relation.origin == "events" else "''", VARCHAR)
            kind = next(one.type for one in relation.columns if one.name == names[0])
            return inside(f"{ticked(alias)}.{ticked(names[0])}", kind, names[1:])
        if alias == WINDOW:
            return Typed(f"{ticked(self.view.relation.alias)}.{ticked(names[-1])}", LOCAL)
        elements = self.variables.get(alias)
        if elements is None:
            elements = next(one for one in self.elements if one.alias == alias)
            names = names[1:]  # "item", which is the whole element
        if not isinstance(elements.item, StructOf):
            return inside(f"{ticked(elements.alias)}.`item`", elements.item, names)
        if not names:
            raise Untranslatable("an element as a whole does not translate to Flink SQL: write its fields")
        kind = next(one.type for one in elements.item.members if one.wire == names[0])
        return inside(f"{ticked(elements.alias)}.{ticked(names[0])}", kind, names[1:])


def joined(join: Join, right: str, rows: Translation) -> str:
    """A join with one more relation. Arguments: right: as it stands after FROM. Raises: Untranslatable."""
    if join.as_of is not None:
        raise Untranslatable(
            "FOR SYSTEM_TIME AS OF does not translate to Flink SQL: its temporal join answers when the watermark "
            "passes, and what comes later corrects nothing"
        )
    if join.within is not None and join.within.grace_us is not None:
        raise Untranslatable(
            "WITHIN with a grace does not translate to Flink SQL, whose interval join decides what is late by the "
            "watermark of all partitions; without one nothing is late in both"
        )
    conditions = [rows.condition(f"({left}) = ({other})") for left, other in join.equal]
    if join.on != "true":
        conditions.append(f"({rows.condition(join.on)})")
    if join.within is not None:
        at, of = rows.text(join.within.left).sql, rows.text(join.within.right).sql
        conditions.append(
            f"{of} BETWEEN {at} - {interval(join.within.before_us)} AND {at} + {interval(join.within.after_us)}"
        )
    side = "" if join.side == "inner" else f"{join.side.upper()} "
    return f"{side}JOIN {right} ON {' AND '.join(conditions)}"


def last_of(expression: str) -> str:
    """The last name of a column; "": it is another expression."""
    return (path_of(tree_of(expression)) or ("",))[-1]


def inside(sql: str, kind: SqlType, names: list[str]) -> Typed:
    """A field of a field."""
    for name in names:
        if isinstance(kind, MapOf) or not isinstance(kind, StructOf):
            raise Untranslatable(f"{name} of {sql} does not translate to Flink SQL")
        kind = next(one.type for one in kind.members if one.wire == name)
        sql = f"{sql}.{ticked(name)}"
    return Typed(sql, kind)
