"""What stands after FROM: relations, elements of lists, joins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp

from headwater.views.binding import Binder
from headwater.views.elements import once_per_element
from headwater.views.folding import names_in, resolve
from headwater.views.plan import Interval, Side, Unnest, View
from headwater.views.scope import PLACE_IN_LOG, Place, Scope
from headwater.views.sources import Catalogue, Source, SourceType
from headwater.views.statements import Statement
from headwater.views.types import ListOf, Member, SqlType


@dataclass(slots=True, eq=False)
class Read:
    """A relation while the statement is read. Arguments: place; source; types: those of its records that may be of
    interest; written: its name in the statement; join: how it comes to what stands left of it, None: it is the
    first."""

    place: Place
    source: Source
    types: tuple[SourceType, ...]
    written: exp.Expr
    join: Joined | None = None


@dataclass(slots=True, eq=False)
class Joined:
    """How a relation is joined; the names are those of `plan.Join`. In the statement there are `equalities`, of each of
    `equal`; `conditions`, of each of `on`; and `time`, of `as_of`."""

    side: Side
    equal: list[tuple[str, str]] = field(default_factory=list)
    on: list[str] = field(default_factory=list)
    within: Interval | None = None
    as_of: str | None = None
    equalities: list[exp.Expr] = field(default_factory=list)
    conditions: list[exp.Expr] = field(default_factory=list)
    time: exp.Expr = field(default_factory=exp.Null)


Step = Unnest | Read
TABLE_PARTS: Final = frozenset({"this", "db", "catalog", "alias", "within", "version"})


class FromClause:
    """Reads what stands after FROM, and makes its names known to the scope.

    Arguments: reads: the relations, in order; steps: what comes after the first one, in order; inlined: the view that
    is read as the topic that it reads; tables: that topic's columns, with what the view unnests. Raises: BadStatement.
    """

    def __init__(self, statement: Statement, select: exp.Select, catalogue: Catalogue, binder: Binder) -> None:
        self.statement, self.catalogue, self.binder = statement, catalogue, binder
        self.scope = Scope(statement)
        self.reads: list[Read] = []
        self.steps: list[Step] = []
        self.inlined: View | None = None
        self.tables: list[tuple[str, Mapping[str, SqlType]]] = []
        self.limits = list(limits_of_types(select))
        origin = select.args.get("from_")
        if origin is None:
            raise statement.error("a view needs FROM and a topic or another view", select)
        self.reads.append(self.read(origin.this))
        self.refuse_alone(origin.this)
        for join in select.args.get("joins") or ():
            self.add(join)
        if select.args.get("laterals"):
            raise statement.error("LATERAL is not part of views: UNNEST(list) AS item", select.args["laterals"][0])

    def refuse_alone(self, table: exp.Expr) -> None:
        """Raises BadStatement where the first relation says what belongs to one that is joined."""
        if table.args.get("version") is not None:
            raise self.statement.error(
                "FOR SYSTEM_TIME AS OF belongs to a table that is joined, whose row it looks up; a past state of a "
                "view is asked for where the view is read",
                table,
            )
        if table.args.get("within") is not None:
            raise self.statement.error("WITHIN belongs to a stream that is joined", table)

    def read(self, table: exp.Expr) -> Read:
        """A relation. Raises: BadStatement: it is no topic and no view."""
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            raise self.statement.error("here the name of a topic or a view is expected", table)
        alias = table.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            raise self.statement.error("columns get other names in SELECT … AS, not here", table)
        if any(value for key, value in table.args.items() if key not in TABLE_PARTS):
            raise self.statement.error(
                "a topic or view stands here by its name, with AS and WITHIN, nothing else", table
            )
        name = ".".join(part.name for part in table.parts)
        source = self.catalogue.find(name)
        if source is None:
            known = ", ".join(sorted(self.catalogue)) or "none"
            raise self.statement.error(f"there is no topic or view {name}; there are: {known}", table.this)
        types, shown = source.types, table.alias or name
        for qualifier, wanted in self.limits if source.origin == "events" else ():
            if qualifier.lower() in ("", shown.lower()):
                types = tuple(one for one in types if one.name in wanted)
        if not types:
            known = ", ".join(one.name for one in source.types)
            raise self.statement.error(f"no event type passes the conditions on _type; it has: {known}", table.this)
        place = Place(f"r{len(self.reads)}", shown, merged(types), source.metadata)
        if source.view is not None:
            place.repeated = once_per_element(source.view)
        if source.inlined is not None and not self.reads:
            self.inline(source.inlined, place)
        self.enter(place, table)
        return Read(place, source, types, table)

    def inline(self, view: View, place: Place) -> None:
        """Reads a view as the topic that it reads."""
        place.outputs = {one.name: sqlglot.parse_one(one.expression, read="duckdb") for one in view.output}
        tables: list[tuple[str, Mapping[str, SqlType]]] = [
            (view.relation.alias, {one.name: one.type for one in view.relation.columns})
        ]
        for step in view.steps:
            assert isinstance(step, Unnest), "others are not inlined"
            (element,) = self.binder.types(tables, [f"({step.of})[1]"])
            tables.append((step.alias, {"item": element}))
            self.steps.append(step)
        self.inlined, self.tables = view, tables

    def enter(self, place: Place, node: exp.Expr) -> None:
        """Makes a place known. Raises: BadStatement: its name is taken."""
        if self.scope.place(place.shown) is not None:
            raise self.statement.error(
                f"{place.shown} stands here twice: give one another name, {place.shown} AS …", node
            )
        self.scope.places.append(place)

    def add(self, join: exp.Join) -> None:
        if isinstance(join.this, exp.Unnest):
            self.steps.append(self.unnest(join, join.this))
            return
        if join.args.get("method") or join.kind.upper() not in ("", "INNER", "OUTER"):
            word = (join.args.get("method") or join.kind).upper()
            if word == "CROSS":
                raise self.statement.error(
                    "without a condition every row meets every other: JOIN … ON a.x = b.y, or UNNEST(list)", join.this
                )
            raise self.statement.error(
                f"{word} JOIN is not part of views: JOIN, LEFT, RIGHT or FULL JOIN … ON", join.this
            )
        before = [place.alias for place in self.scope.places]
        read = self.read(join.this)
        read.join = self.joined(join, read, before)
        self.reads.append(read)
        self.steps.append(read)

    def unnest(self, join: exp.Join, unnest: exp.Unnest) -> Unnest:
        """One row for each element of a list. Raises: BadStatement."""
        error = self.statement.error
        if unnest.args.get("offset") or len(unnest.expressions) != 1:
            raise error("UNNEST takes one list here, without ORDINALITY", unnest)
        condition = join.args.get("on")
        outer = join.side.upper() == "LEFT"
        if join.side.upper() not in ("", "LEFT") or (condition is not None and condition != exp.true()):
            raise error("UNNEST is joined by a comma, CROSS JOIN, or LEFT JOIN … ON true", unnest)
        (of,) = unnest.expressions
        if not isinstance(of, exp.Column):
            raise error("UNNEST takes a list by its name", unnest)
        found = self.scope.look(of, tuple(part.name for part in of.parts))
        if found.chain or not isinstance(found.type, ListOf):
            raise error(f"{found.shown} is no list ({found.type.sql})", of)
        alias = unnest.args.get("alias")
        shown = found.path[-1].wire if found.path else found.place.shown
        if alias is not None:
            columns = alias.args.get("columns") or ()
            if len(columns) > 1:
                raise error("an element is one column: UNNEST(list) AS item, and item.field", unnest)
            shown = columns[0].name if columns else alias.name
        number = sum(isinstance(one, Unnest) for one in self.steps)
        element = found.type.of
        members = element.members if hasattr(element, "members") else ()
        self.enter(Place(f"u{number}", shown, members, item=element, list_of=found), unnest)
        return Unnest(f"u{number}", found.access().sql("duckdb"), outer)

    def joined(self, join: exp.Join, read: Read, before: list[str]) -> Joined:
        """How a relation is joined. Raises: BadStatement."""
        sides: dict[str, Side] = {"": "inner", "LEFT": "left", "RIGHT": "right", "FULL": "full"}
        side = sides[join.side.upper()]
        if join.args.get("using"):
            raise self.statement.error("write ON a.x = b.x in place of USING (x)", join.this)
        condition = join.args.get("on")
        if condition is None:
            raise self.statement.error("a join needs a condition: JOIN … ON a.x = b.y", join.this)
        joined = Joined(side)
        for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
            resolved = resolve(self.scope, part)
            pair = self.pair(resolved, read.place.alias)
            if pair is None:
                joined.on.append(resolved.sql("duckdb"))
                joined.conditions.append(part.copy())
            else:
                joined.equal.append(pair)
                joined.equalities.append(part.copy())
        if not joined.equal:
            raise self.statement.error(
                "a join needs at least one equality between its two sides: ON a.x = b.y", condition
            )
        self.read_times(join.this, read, joined, before)
        return joined

    def pair(self, part: exp.Expr, alias: str) -> tuple[str, str] | None:
        """The two sides of an equality between what stands left and the new relation."""
        if not isinstance(part, exp.EQ):
            return None
        sides = [(side, {node.table for node in side.find_all(exp.Column)}) for side in (part.this, part.expression)]
        for (left, of_left), (right, of_right) in (sides, sides[::-1]):
            if of_right == {alias} and of_left and alias not in of_left:
                return left.sql("duckdb"), right.sql("duckdb")
        return None

    def read_times(self, table: exp.Expr, read: Read, joined: Joined, before: list[str]) -> None:
        """WITHIN and FOR SYSTEM_TIME AS OF. Raises: BadStatement."""
        error, source = self.statement.error, read.source
        left = [one for one in self.reads if one.place.alias in before]
        streams = all(not one.source.retracts for one in left)
        within, version = table.args.get("within"), table.args.get("version")
        if version is not None:
            if not source.key:
                raise error(
                    f"{source.name} has no key, so there is no row of it at a time: FOR SYSTEM_TIME is for tables",
                    table,
                )
            if joined.side not in ("inner", "left"):
                raise error("FOR SYSTEM_TIME AS OF looks up a row for each one on the left: JOIN or LEFT JOIN", table)
            joined.as_of, joined.time = resolve(self.scope, version.expression).sql("duckdb"), version.expression
        if within is not None:
            if not all(one.source.metadata for one in [left[0], read]):
                raise error("WITHIN compares the times of records, and the rows of a view have none", table)
            if not streams or source.retracts:
                raise error("WITHIN joins two streams; a table is joined without it", table)
            joined.within = self.interval(table, within, left[0].place, read.place)
            self.refuse_some_graces(table, left, joined.within)
        elif streams and not source.retracts:
            raise error(
                f"two streams are joined within a time, else both would have to be kept for ever: JOIN {source.name} "
                "WITHIN INTERVAL 1 HOUR ON …; or make a table of one of them",
                table,
            )

    def interval(self, table: exp.Expr, within: list[exp.Expr], left: Place, right: Place) -> Interval:
        """What WITHIN says. Raises: BadStatement."""
        graces = [one for one in within if isinstance(one, exp.Kwarg) and one.this.name.lower() == "grace"]
        plain = [one for one in within if not isinstance(one, exp.Kwarg)]
        least_us = 1 if len(plain) == 1 else 0
        spans = [interval_us(self.statement, self.binder, one, least_us) for one in plain]
        if not 1 <= len(spans) <= 2 or len(spans) + len(graces) != len(within) or len(graces) > 1:
            raise self.statement.error(
                "it is written WITHIN INTERVAL 1 HOUR, or WITHIN (INTERVAL before, INTERVAL after, grace => INTERVAL "
                "5 MINUTE), in which after and grace may be left out",
                table,
            )
        grace = interval_us(self.statement, self.binder, graces[0].expression, least_us=0) if graces else None
        for place in (left, right) if graces else ():  # it matters which record came before which
            for name in PLACE_IN_LOG:
                place.place_in_log(name)
        return Interval(self.time_of(left), self.time_of(right), spans[0], spans[-1], grace)

    def refuse_some_graces(self, table: exp.Expr, left: list[Read], within: Interval) -> None:
        """Raises BadStatement where one WITHIN has a grace and another one has none."""
        for one in left:
            known = None if one.join is None else one.join.within
            if known is not None and (known.grace_us is None) != (within.grace_us is None):
                raise self.statement.error(
                    "write a grace in each WITHIN or in none: what one of them has left behind, the other would keep",
                    table,
                )

    def time_of(self, place: Place) -> str:
        place.used.setdefault("_time", set()).add(())
        return place.access(["_time"]).sql("duckdb")


def merged(types: Iterable[SourceType]) -> tuple[Member, ...]:
    """The fields of several types as those of one row: the same wire name is the same column."""
    members: dict[tuple[str, str], Member] = {}
    for one in types:
        for member in one.members:
            members.setdefault((member.wire, member.python), member)
    return tuple(members.values())


def limits_of_types(select: exp.Select) -> Iterator[tuple[str, frozenset[str]]]:
    """The event types to which conditions limit a relation, with its name or "": `_type = 'A'`, `o._type IN (…)`."""
    where = select.args.get("where")
    condition = None if where is None else where.this
    for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
        if not isinstance(part, (exp.EQ, exp.In)):
            continue
        node = part.this
        if not isinstance(node, exp.Column) or node.name not in ("_type", "eventType"):
            continue
        values = part.expressions if isinstance(part, exp.In) else [part.expression]
        if all(isinstance(value, exp.Literal) and value.is_string for value in values):
            yield node.table, frozenset(value.name for value in values)


def interval_us(statement: Statement, binder: Binder, node: exp.Expr, least_us: int = 1) -> int:
    """A span of time in microseconds, which is this at least. Raises: BadStatement."""
    if not isinstance(node, exp.Interval) or any(names_in(node)):
        raise statement.error("here a span of time is expected: INTERVAL 1 HOUR", node)
    text = node.sql("duckdb")
    row = binder.session.execute(
        "SELECT datepart('year', i) * 12 + datepart('month', i), "
        f"epoch_us(DATE '2000-01-03' + i) - epoch_us(DATE '2000-01-03') FROM (SELECT {text} AS i)"
    ).fetchone()
    assert row is not None
    if row[0] or row[1] < least_us:
        raise statement.error(
            f"a span of time here is {'above' if least_us else 'not below'} 0, and in days or less: months are not all "
            "the same",
            node,
        )
    return int(row[1])
