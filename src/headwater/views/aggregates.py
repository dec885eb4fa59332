"""From the aggregates of a statement to what is stored per group, and how its value is read from that.

| aggregate | stored | read as |
|---|---|---|
| COUNT(*) | `n`, or a count of the rows that pass the FILTER | itself |
| COUNT(x), COUNT_IF(x) | a count | itself |
| SUM(x) | a sum and a count of x | the sum, NULL while the count is 0 |
| AVG(x) | the same | the exact sum by the count |
| MIN(x), MAX(x) | min, max; weighted values where the input takes back | itself |
| ARG_MIN, ARG_MAX(x, y), EARLIEST, LATEST(x) | the x of the least, greatest y that are both not NULL | itself |
| COUNT(DISTINCT x) | weighted values | how many there are |
| BOOL_OR(x), BOOL_AND(x) | two counts | whether some, whether all |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlglot import exp

from headwater.views.folding import Resolved, fold, terms
from headwater.views.plan import Partial, PartialKind
from headwater.views.scope import Found, Place, Scope
from headwater.views.types import VARCHAR, ListOf, SqlType

OURS: Final = {"LATEST": ("arg_max", 1), "EARLIEST": ("arg_min", 1)}
KNOWN: Final = (
    exp.Count,
    exp.Sum,
    exp.Avg,
    exp.Min,
    exp.Max,
    exp.ArgMax,
    exp.ArgMin,
    exp.CountIf,
    exp.LogicalOr,
    exp.LogicalAnd,
)
DECIMALS: Final = re.compile(r"DECIMAL\(38,\s*(\d+)\)")

LEAST_DIGITS: Final = 15
"""So many digits before the point a sum of products has at least."""

ADDING: Final = (exp.Sum, exp.Avg, exp.Count, exp.CountIf)


def is_aggregate(node: exp.Expr) -> bool:
    """Whether it is one of the aggregates, its FILTER left aside."""
    return isinstance(node, KNOWN) or (isinstance(node, exp.Anonymous) and node.name.upper() in OURS)


def aggregates_in(tree: exp.Expr) -> bool:
    return any(is_aggregate(node) for node in tree.walk())


@dataclass(slots=True)
class Partials:
    """What a statement needs per group.

    Arguments: scope; arguments: what each aggregate names; rows: whether one counts rows whatever is in them; written:
    the aggregate that each partial is for.
    """

    scope: Scope
    found: list[Partial] = field(default_factory=list)
    arguments: list[tuple[Found, ...]] = field(default_factory=list)
    rows: bool = False
    written: dict[str, exp.Expr] = field(default_factory=dict)
    current: exp.Expr = field(default_factory=exp.Null)

    def add(self, kind: PartialKind, argument: str | None, filter: str | None, **more: Any) -> exp.Expr:
        """The column of a partial; the same one for the same question."""
        new = Partial("", kind, argument, VARCHAR, filter=filter, **more)
        for one in self.found:
            if replace(one, name="") == new:
                return exp.column(exp.to_identifier(one.name, quoted=True))
        self.found.append(replace(new, name=f"p{len(self.found)}"))
        self.written[self.found[-1].name] = self.current
        return exp.column(exp.to_identifier(self.found[-1].name, quoted=True))

    def value(self, node: exp.Expr) -> exp.Expr:
        """What an aggregate becomes: an expression over the partials that it needs. Raises: BadStatement."""
        where, self.current = None, node.copy()
        if isinstance(node, exp.Filter):
            where, node = node.expression.this, node.this
        self.refuse_what_is_not_kept(node)
        if isinstance(node, exp.Count) and (node.this is None or isinstance(node.this, exp.Star)):
            return self.count_of_rows(node, where)
        argument = node.expressions[0] if isinstance(node, exp.Anonymous) else node.this
        distinct = isinstance(argument, exp.Distinct)
        if isinstance(argument, exp.Distinct):
            argument = argument.expressions[0]
        if isinstance(node, ADDING) and not distinct:
            self.refuse_once_per_element(argument)
        if isinstance(node, (exp.CountIf, exp.LogicalOr, exp.LogicalAnd)):
            return self.of_truth(node, argument, where)
        if is_of_best(node):
            return self.of_best(node, argument, where)
        resolved = self.resolved(argument, where)
        if distinct:
            return whole(self.add("distinct", resolved.sql, resolved.filter, repeated=resolved.repeated, bag=True))
        if isinstance(node, exp.Count):
            return self.count(resolved)
        if isinstance(node, (exp.Min, exp.Max)):
            name = "min" if isinstance(node, exp.Min) else "max"
            sql = f"list_{name}({resolved.sql})" if resolved.repeated else resolved.sql
            return self.add("min" if name == "min" else "max", sql, resolved.filter)
        for one in resolved.found if isinstance(argument, exp.Column) else ():
            if isinstance(one.type, ListOf):
                raise self.scope.statement.error(
                    f"{one.shown} is a list of values without names: SUM(list_sum({argument.sql()})) adds them, and "
                    "UNNEST makes a row of each",
                    argument,
                )
        return self.sum_or_average(resolved, average=isinstance(node, exp.Avg))

    def resolved(self, argument: exp.Expr, where: exp.Expr | None) -> Resolved:
        resolved = fold(self.scope, argument, where)
        self.arguments.append(resolved.found)
        self.rows = self.rows or not resolved.found  # COUNT(1)
        return resolved

    def count_of_rows(self, node: exp.Expr, where: exp.Expr | None) -> exp.Expr:
        self.rows = True
        if where is None:
            return exp.column(exp.to_identifier("n", quoted=True))
        resolved = fold(self.scope, exp.true(), where)
        if resolved.repeated:
            name = resolved.found[0]
            raise self.scope.statement.error(
                f"COUNT(*) counts rows, and {name.shown} has many values in each: COUNT({name.path[-1].wire}) "
                "FILTER (…) counts elements",
                node,
            )
        return whole(self.add("count", None, resolved.filter))

    def of_truth(self, node: exp.Expr, argument: exp.Expr, where: exp.Expr | None) -> exp.Expr:
        """BOOL_OR, BOOL_AND and COUNT_IF, by counting."""
        wanted = exp.Not(this=exp.paren(argument)) if isinstance(node, exp.LogicalAnd) else argument
        both = wanted if where is None else exp.and_(where, exp.paren(wanted))
        resolved, hits = self.resolved(argument, where), fold(self.scope, argument, both)
        hit = self.count(hits)
        if isinstance(node, exp.CountIf):
            return hit
        test = exp.EQ if isinstance(node, exp.LogicalAnd) else exp.GT
        found = test(this=hit, expression=exp.Literal.number(0))
        return unless_empty(self.count(resolved), found)

    def count(self, resolved: Resolved) -> exp.Expr:
        if resolved.repeated:
            return whole(self.add("sum", f"list_count({resolved.sql})", None))
        return whole(self.add("count", resolved.sql, resolved.filter))

    def sum_or_average(self, resolved: Resolved, average: bool) -> exp.Expr:
        if not resolved.repeated:
            total = self.add("sum", resolved.sql, resolved.filter)
            count = self.add("count", resolved.sql, resolved.filter)
        else:
            total = self.add("sum", f"list_sum({resolved.sql})", None)
            counted = f"list_count({resolved.sql})" if average else f"list_sum({resolved.sql})"
            count = self.add("sum" if average else "count", counted, None)
        return unless_empty(count, exp.Div(this=total, expression=count.copy()) if average else total)

    def of_best(self, node: exp.Expr, argument: exp.Expr, where: exp.Expr | None) -> exp.Expr:
        """ARG_MIN, ARG_MAX, EARLIEST and LATEST."""
        if isinstance(node, exp.Anonymous):
            kind = "arg_max" if OURS[node.name.upper()][0] == "arg_max" else "arg_min"
            by: exp.Expr = exp.column("_time")
            if not any(one.wire == "_time" for place in self.scope.places for one in place.metadata):
                raise self.scope.statement.error(
                    f"the rows of views and states have no time: ARG_MAX({argument.sql()}, …)", node
                )
        else:
            kind, by = ("arg_max" if isinstance(node, exp.ArgMax) else "arg_min"), node.expression
        resolved, best = self.resolved(argument, where), fold(self.scope, by)
        if resolved.repeated or best.repeated:
            listed = ".".join((resolved if resolved.repeated else best).found[0].chain[0])
            raise self.scope.statement.error(f"which element of {listed}? Write FROM …, UNNEST({listed}) AS item", node)
        there = f"({resolved.sql}) IS NOT NULL AND ({best.sql}) IS NOT NULL"
        filter = there if resolved.filter is None else f"({resolved.filter}) AND {there}"
        ties = tuple(place.place_in_log(name).sql("duckdb") for place in self.scope.places for name in place.ties)
        kinds: PartialKind = "arg_max" if kind == "arg_max" else "arg_min"
        return self.add(kinds, resolved.sql, filter, by=best.sql, by_type=VARCHAR, ties=(*ties, resolved.sql))

    def refuse_what_is_not_kept(self, node: exp.Expr) -> None:
        """Raises BadStatement for arguments that an aggregate cannot have here."""
        error = self.scope.statement.error
        if any(node.args.get(word) for word in ("count",)) or (
            isinstance(node, exp.Anonymous) and len(node.expressions) != OURS[node.name.upper()][1]
        ):
            raise error(f"{node.sql()} has too many arguments", node)
        given = node.expressions or [node.this]
        if isinstance(node, (exp.ArgMax, exp.ArgMin)):
            given = [node.this, node.expression]
        if None in given and not isinstance(node, exp.Count):
            raise error(f"{node.sql()} has too few arguments", node)
        inner = node.this if isinstance(node.this, exp.Expr) else None
        if isinstance(inner, exp.Distinct) and (not isinstance(node, exp.Count) or len(inner.expressions) != 1):
            raise error("DISTINCT is kept for COUNT(DISTINCT x) only; for several columns COUNT(DISTINCT (x, y))", node)
        if node.find(exp.Order) is not None:
            raise error("an aggregate with ORDER BY cannot be maintained: ARG_MIN, ARG_MAX, EARLIEST, LATEST", node)
        nested = [one for one in node.walk() if one is not node and is_aggregate(one)]
        if nested:
            raise error(f"{nested[0].sql()} is inside of another aggregate: make a view of the inner one", nested[0])

    def refuse_once_per_element(self, argument: exp.Expr) -> None:
        """Raises BadStatement where UNNEST has made rows of elements, and the events' own values would be added once
        for each."""
        leaves = leaf_places(self.scope)
        if not leaves and not any(place.repeated for place in self.scope.places):
            return
        for term in terms(argument):
            nodes = list(term.find_all(exp.Column))
            found = [self.scope.find(node, tuple(part.name for part in node.parts)) for node in nodes]
            self.refuse_repeated(nodes, found)
            for leaf in leaves:
                own = [one for one in found if event_of(one.place) is event_of(leaf)]  # a joined row is none of it
                if own and not any(one.place is leaf for one in own):
                    name = own[0].shown
                    raise self.scope.statement.error(
                        f"{name} would count once per element of {leaf.shown}, not once per event: make a view of it "
                        f"without UNNEST; COUNT(*) counts elements, COUNT(DISTINCT {nodes[0].sql()}) counts each once",
                        nodes[0],
                    )

    def refuse_repeated(self, nodes: Sequence[exp.Column], found: Sequence[Found]) -> None:
        """Raises BadStatement where a view that is read has made rows of elements, as above. Arguments: nodes: a
        term's names; found: what each means."""
        for place in dict.fromkeys(one.place for one in found):
            own = [one for one in found if one.place is place and one.path]
            if own and all(one.path[0].wire in place.repeated for one in own):
                raise self.scope.statement.error(
                    f"{own[0].shown} is in {place.shown} once per element of a list, and would count as often: make a "
                    f"view of it without UNNEST; COUNT(*) counts elements, COUNT(DISTINCT {nodes[0].sql()}) counts "
                    "each once",
                    nodes[0],
                )


def leaf_places(scope: Scope) -> list[Place]:
    """The places made by UNNEST from which no other is made."""
    parents = {id(place.list_of.place) for place in scope.places if place.list_of is not None}
    return [place for place in scope.places if place.list_of is not None and id(place) not in parents]


def event_of(place: Place) -> Place:
    """The relation whose rows have the list that a place is the elements of, or the place itself."""
    return place if place.list_of is None else event_of(place.list_of.place)


def is_of_best(node: exp.Expr) -> bool:
    return isinstance(node, (exp.ArgMax, exp.ArgMin, exp.Anonymous))


def whole(count: exp.Expr) -> exp.Expr:
    """A count as a BIGINT that is 0 where there is nothing: what is kept says nothing of groups without a value."""
    zero = exp.Coalesce(this=count, expressions=[exp.Literal.number(0)])
    return exp.cast(zero, "BIGINT")


def unless_empty(count: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.case().when(exp.GT(this=count, expression=exp.Literal.number(0)), value)


def too_fine(written: exp.Expr, kind: SqlType) -> str | None:
    """Why a sum of products is refused: each factor adds its digits after the point, and of 38 so few are left before
    it that an ordinary sum would not fit. Arguments: written: the aggregate; kind: of its sum."""
    found = DECIMALS.fullmatch(kind.sql)
    if found is None or 38 - int(found[1]) >= LEAST_DIGITS or not multiplies(written):
        return None
    return (
        f"{written.sql()} has {found[1]} digits after the point, as many as its factors together: of 38 that leaves "
        f"{38 - int(found[1])} before it: cast a product to fewer, (a * b)::DECIMAL(38,9) * c"
    )


def multiplies(node: exp.Expr) -> bool:
    """Whether it is a product whose type nobody has said."""
    if isinstance(node, exp.Cast):
        return False
    return isinstance(node, exp.Mul) or any(map(multiplies, node.iter_expressions()))
