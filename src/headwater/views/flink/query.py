"""A view's plan as one SELECT of Flink SQL.

    SELECT outputs FROM (SELECT keys, partials FROM source … GROUP BY keys) WHERE having

A list that is folded within its event becomes rows, too, `UNNEST … WITH ORDINALITY`: an aggregate over elements takes
all of them, and one over events takes the first row of each event only. The value of the greatest or least row of a
group is the first of its rows in that order, `best`, which is joined with the groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlglot import exp

from headwater.views.flink.expressions import Translation, Typed, Untranslatable, tree_of
from headwater.views.flink.rows import KEYS, LOCAL, RULES, Elements, Rows, last_of
from headwater.views.flink.sources import interval
from headwater.views.flink.types import DECIMAL, WHOLE, digits_of, flink_type, ticked
from headwater.views.plan import Grouping, Key, Partial, View
from headwater.views.types import BIGINT, DOUBLE, TIMESTAMP, ListOf, Scalar

FOLDS: Final = {"list_sum": "SUM", "list_count": "COUNT", "list_min": "MIN", "list_max": "MAX"}


class Fold(NamedTuple):
    """An aggregate. Arguments: function; argument: "" for rows; filter; over: the lists whose elements it takes."""

    function: str
    argument: str
    filter: str | None
    over: tuple[str, ...]


@dataclass(slots=True)
class Query:
    """Makes the SELECT of one view. Arguments: view; tables: what its relations are called, by alias."""

    view: View
    tables: Mapping[str, str]
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self.rows = Rows(self.view, self.tables)

    @property
    def before(self) -> list[str]:
        """Statements that its own needs."""
        return [self.rows.of_sessions()] if self.rows.sessions else []

    def sql(self) -> str:
        """Raises: Untranslatable."""
        if self.view.grouping is not None:
            return self.grouped(self.view.grouping)
        if self.rows.window is not None:
            raise Untranslatable("a window without groups does not translate to Flink SQL")
        return f"SELECT{self.outputs(self.rows.translation)}\nFROM {self.rows.source()}{self.rows.where()}"

    def outputs(self, translation: Translation) -> str:
        listed = []
        for one in self.view.output:
            found, kind = translation.text(one.expression), flink_type(one.type)
            if kind is None:
                raise Untranslatable(f"{one.name} is {one.type.sql}, which does not translate to Flink SQL")
            value = found.sql if flink_type(found.type) == kind else f"CAST({found.sql} AS {kind})"
            listed.append(f"\n  {value} AS {ticked(one.name)}")
        return ",".join(listed)

    def grouped(self, grouping: Grouping) -> str:
        if not grouping.keys:
            raise Untranslatable("a view without GROUP BY has one row without a key, which no topic can hold")
        rows = self.rows.translation
        columns: dict[str, Typed] = {}
        by = {}
        for key in grouping.keys:
            found = rows.text(key.expression)
            if self.rows.sessions and key in self.rows.own_keys():
                by[KEYS] = f"{ticked(self.view.relation.alias)}.{ticked(KEYS)}"
                columns[key.name] = Typed(f"`g`.{ticked(KEYS)}.{ticked(key.name)}", found.type)
                continue
            columns[key.name] = self.key_outside(key, found, grouping.keys)
            if not self.is_end_of_open_window(key):
                by[key.name] = found.sql
        inner = [f"{one} AS {ticked(name)}" for name, one in by.items()]
        best = [one for one in grouping.partials if one.by is not None]
        joined = "".join(self.best(one, by) for one in best)
        for one in best:
            columns[one.name] = Typed(ticked(one.name), one.type)
        folds = {one.name: self.fold(one) for one in grouping.partials if one.by is None}
        used = {node.name for one in self.over_groups() for node in tree_of(one).find_all(exp.Column)}
        folds = {name: one for name, one in folds.items() if name in used}
        if "n" in used or not folds:
            folds["n"] = Fold("COUNT", "", None, ())
        self.count_places(list(folds.values()))
        for name, fold in folds.items():
            inner.append(f"{self.aggregate(fold)} AS {ticked(name)}")
            columns[name] = Typed(ticked(name), BIGINT)
        for partial in grouping.partials:
            if (
                partial.name in folds
                and partial.kind not in ("count", "distinct")
                and folds[partial.name].function != "COUNT"
            ):
                columns[partial.name] = Typed(ticked(partial.name), partial.type)
        groups = Translation(lambda path: columns[path[-1]], RULES)
        having = "" if grouping.having is None else f"\nWHERE {groups.condition(grouping.having)}"
        listed, where = ", ".join(inner), "" if self.rows.sessions else self.rows.where()
        return (
            f"SELECT{self.outputs(groups)}\nFROM (\n  SELECT {listed}\n  FROM {self.rows.source()}{where}\n"
            f"  GROUP BY {', '.join(by.values())}\n) AS `g`{joined}{having}"
        )

    def best(self, partial: Partial, by: Mapping[str, str]) -> str:
        """The values of the greatest or least rows of groups, as a join with the groups. Arguments: by: the keys.

        Asked for the first row alone in an order by several columns, Flink 2.2 plans as if it never changed, and takes
        nothing back. So the first two are kept, and one is taken.
        """
        rows = self.rows.translation
        if self.rows.window is not None and self.rows.window.grace_us is not None:
            raise Untranslatable("ARG_MAX, LATEST and the like in a window with a grace do not translate to Flink SQL")
        assert partial.argument is not None, "it has one"
        assert partial.by is not None, "it is compared by something"
        name, down = partial.name, " DESC" if partial.kind == "arg_max" else ""
        order = ", ".join(f"{rows.text(one).sql}{down}" for one in (partial.by, *partial.ties))
        where = self.rows.where(None if partial.filter is None else f"({rows.condition(partial.filter)})")
        keys = [f"{one} AS {ticked(f'{name}_{key}')}" for key, one in by.items()]
        ranked = f"ROW_NUMBER() OVER (PARTITION BY {', '.join(by.values())} ORDER BY {order}) AS `hw_rank`"
        listed = ", ".join([*keys, f"{rows.text(partial.argument).sql} AS {ticked(name)}", ranked])
        if flink_type(partial.type) == "BOOLEAN" or not isinstance(partial.type, Scalar):
            raise Untranslatable("ARG_MAX, LATEST and the like of a BOOLEAN or a list do not translate to Flink SQL")
        same = " AND ".join(f"`g`.{ticked(key)} = {ticked(f'{name}_{key}')}" for key in by)
        named = ", ".join(ticked(f"{name}_{key}") for key in by)
        return (
            f"\nLEFT JOIN (\n  SELECT {named}, MAX({ticked(name)}) FILTER (WHERE `hw_rank` = 1) AS {ticked(name)}\n"
            f"  FROM (\n  SELECT * FROM (\n  SELECT {listed}\n  FROM {self.rows.source()}{where}\n"
            f"  ) WHERE `hw_rank` <= 2\n  ) GROUP BY {named}\n) AS {ticked(f'b_{name}')} ON {same}"
        )

    def key_outside(self, key: Key, found: Typed, keys: Sequence[Key]) -> Typed:
        """What a key is over the groups. Arguments: found: in their rows; keys: all."""
        if found.type != LOCAL or self.rows.window is None:
            return Typed(ticked(key.name), found.type)
        time = ticked(key.name)
        if self.is_end_of_open_window(key):
            starts = next(one.name for one in keys if last_of(one.expression) == "window_start")
            time = f"{ticked(starts)} + {interval(self.rows.window.size_us)}"
        return Typed(f"CAST({time} AS TIMESTAMP_LTZ(6))", TIMESTAMP)

    def is_end_of_open_window(self, key: Key) -> bool:
        """Whether it is computed from the start: grouped by both, Flink would close windows and drop what is late, and
        without a grace nothing is."""
        window = self.rows.window
        return window is not None and window.grace_us is None and last_of(key.expression) == "window_end"

    def over_groups(self) -> Iterator[str]:
        """The expressions over keys and partials."""
        yield from (one.expression for one in self.view.output)
        if self.view.grouping is not None and self.view.grouping.having is not None:
            yield self.view.grouping.having

    def fold(self, partial: Partial) -> Fold:
        """An aggregate of Flink that gives what a partial does. Raises: Untranslatable."""
        rows = self.rows.translation
        filter = None if partial.filter is None else rows.condition(partial.filter)
        if partial.argument is None:
            return Fold("COUNT", "", filter, ())
        tree, inner = tree_of(partial.argument), ""
        if isinstance(tree, exp.Func) and not partial.repeated and (found := listed_in(tree)) is not None:
            inner, tree = found
        over: tuple[str, ...] = ()
        if inner or partial.repeated:
            tree, filter, over = self.opened(tree)
        value = rows.of(tree)
        function = {"sum": "SUM", "count": "COUNT", "min": "MIN", "max": "MAX", "distinct": "COUNT"}[partial.kind]
        if inner == "COUNT":
            function = "COUNT"
        argument = summable(value) if function == "SUM" else value.sql
        return Fold(function, f"DISTINCT {argument}" if partial.kind == "distinct" else argument, filter, over)

    def opened(self, tree: exp.Expr) -> tuple[exp.Expr, str | None, tuple[str, ...]]:
        """What a list of values is made of: the value of an element, the condition, and the lists it goes through."""
        rows, over = self.rows.translation, list[str]()
        while True:
            tree = unwrapped(tree)
            if not isinstance(tree, exp.Comprehension):
                raise Untranslatable(f"{tree.sql('duckdb')} does not translate to Flink SQL")
            variable, of = tree.expression.name, rows.of(tree.args["iterator"])
            assert isinstance(of.type, ListOf), "DuckDB has bound it"
            found = self.rows.folded.get(of.sql)
            if found is None:
                found = Elements(f"e{len(self.rows.folded)}", of.sql, of.type.of, True)
                self.rows.folded[of.sql] = found
            self.rows.variables[variable] = found
            over.append(found.alias)
            condition = tree.args.get("condition")
            filter = None if condition is None else rows.of_truth(condition).sql
            tree = tree.this
            if not isinstance(unwrapped(tree), exp.Comprehension):
                return tree, filter, tuple(over)

    def count_places(self, folds: list[Fold]) -> None:
        """Numbers the elements where an aggregate must not take all of their rows."""
        for one in self.rows.folded.values():
            one.counted = any(one.alias not in fold.over for fold in folds)

    def aggregate(self, fold: Fold) -> str:
        conditions = [] if fold.filter is None else [f"({fold.filter})"]
        for one in self.rows.folded.values():
            if one.alias not in fold.over:
                conditions.append(f"({one.place} IS NULL OR {one.place} = 1)")
        only = f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
        return f"{fold.function}({fold.argument or '*'}){only}"


def listed_in(tree: exp.Func) -> tuple[str, exp.Expr] | None:
    """The function that folds a list of values within an event, and the list."""
    name = tree.sql("duckdb").partition("(")[0].lower()
    if name not in FOLDS:
        return None
    return FOLDS[name], tree.this if isinstance(tree.this, exp.Expr) else tree.expressions[0]


def unwrapped(tree: exp.Expr) -> exp.Expr:
    """A list of values without what stands around it: brackets, and what makes one list of several."""
    while True:
        if isinstance(tree, exp.Flatten) or (isinstance(tree, exp.Anonymous) and tree.name.lower() == "flatten"):
            tree = tree.this if isinstance(tree.this, exp.Expr) else tree.expressions[0]
        elif isinstance(tree, exp.Array) and len(tree.expressions) == 1:
            tree = tree.expressions[0]
        else:
            return tree


def summable(value: Typed) -> str:
    """A number whose sum Flink keeps exactly. Whole numbers are added as decimals, which have more digits."""
    if value.type == DOUBLE:
        return value.sql
    if value.type in WHOLE:
        return f"CAST({value.sql} AS DECIMAL(38, 0))"
    if digits_of(value.type) is None or DECIMAL.fullmatch(getattr(value.type, "name", "")) is None:
        raise Untranslatable(f"the sum of {value.sql} does not translate to Flink SQL")
    return value.sql
