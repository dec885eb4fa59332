"""Which records a statement reads, and which parts of them.

An event is a row if its type has what the statement is about: every field that stands in GROUP BY, or without groups
in SELECT; and where no aggregate counts rows as such, at least one of the fields that are aggregated. So a total by
`orderId` has no row of an order that was only cancelled, and no row without an id. A field inside COALESCE, CASE or
IS NULL may be missing: the statement says what is then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from headwater.views.aggregates import Partials
from headwater.views.from_clause import FromClause, Read, Step
from headwater.views.history import READ
from headwater.views.plan import Column, EventType, Field, Join, Relation, Unnest
from headwater.views.plan import Step as PlanStep
from headwater.views.scope import Found, Place, cut
from headwater.views.sources import SourceType
from headwater.views.statements import Statement
from headwater.views.types import METADATA, SqlType


@dataclass(frozen=True, slots=True)
class Needs:
    """What a statement is about. Arguments: trees: resolved expressions; partials: None where nothing is gathered."""

    trees: Sequence[exp.Expr]
    partials: Partials | None


def relation_of(statement: Statement, read: Read, clause: FromClause, needs: Needs, retracts: bool) -> Relation:
    """A relation with the records and fields that are used. Raises: BadStatement."""
    for place in clause.scope.places:
        if place.list_of is not None and not place.touched:
            clause.scope.note(place.list_of)
    place, source = read.place, read.source
    if read.place.outputs is not None and source.inlined is not None:
        return with_places(source.inlined.relation, read.place)
    if source.origin != "view":
        for name in source.key:  # it is what a later record is compared with
            place.used.setdefault(name, set()).add(())
    metadata = {one.wire: one.type for one in source.metadata}
    types = read.types
    if source.origin == "events":
        types = taking_part(statement, read, clause, needs)
    columns = []
    for wire in sorted(place.used):
        columns.append(Column(wire, metadata[wire] if wire in metadata else column_type(statement, read, types, wire)))
    fields = [tuple(fields_of(one, place)) for one in types]
    return Relation(
        alias=place.alias,
        name=source.topic or source.name,
        origin=source.origin,
        columns=tuple(columns),
        types=tuple(EventType(one.name, one.cls, found) for one, found in zip(types, fields, strict=True))
        if source.origin != "view"
        else (),
        key=source.key,
        retracts=source.retracts,
        view=source.view,
    )


def with_places(relation: Relation, place: Place) -> Relation:
    """The relation of a view that is read as its topic, with the columns that tell of a record, if used."""
    there = {one.name for one in relation.columns}
    more = [Column(name, METADATA[name]) for name in READ if name in place.used and name not in there]
    return replace(relation, columns=(*relation.columns, *more))


def fields_of(one: SourceType, place: Place) -> Iterable[Field]:
    """How a type's records give the columns that are used."""
    for member in one.members:
        if member.wire in place.used:
            yield Field(member.wire, member.wire, cut(member.type, place.used[member.wire]))


def column_type(statement: Statement, read: Read, types: Sequence[SourceType], wire: str) -> SqlType:
    """The type of a column, which all types must agree on. Raises: BadStatement."""
    place = read.place
    found: dict[SqlType, str] = {}
    for one in types:
        for member in one.members:
            if member.wire == wire:
                found.setdefault(cut(member.type, place.used[wire]), one.name)
    if len(found) > 1:
        ways = " and ".join(f"{kind.sql} in {name}" for kind, name in found.items())
        raise statement.error(f"{wire} is {ways}: choose with WHERE _type = …", read.written)
    if found:
        return next(iter(found))
    return next(cut(one.type, place.used[wire]) for one in place.members if one.wire == wire)


def taking_part(statement: Statement, read: Read, clause: FromClause, needs: Needs) -> tuple[SourceType, ...]:
    """The event types that are read. Raises: BadStatement: there is none."""
    known = {one.wire for one in read.source.metadata}
    required = {wire for tree in needs.trees for wire in required_of(tree, read.place, clause.scope.places)} - known
    types = [one for one in read.types if required <= wires(one)]
    anything = aggregated(read, needs.partials, known)
    if anything:
        types = [one for one in types if anything & wires(one)]
    if not types:
        missing = "; ".join(f"{one.name} has no {', '.join(sorted(required - wires(one)))}" for one in read.types)
        raise statement.error(
            f"no event type of {read.source.name} has all that a row is made of: {missing}; where a field may be "
            "missing, write COALESCE(field, …)",
            read.written,
        )
    return tuple(types)


def wires(one: SourceType) -> set[str]:
    return {member.wire for member in one.members}


def aggregated(read: Read, partials: Partials | None, known: set[str]) -> set[str]:
    """The fields of a relation of which an event must have at least one, since nothing else of it is aggregated."""
    if partials is None or partials.rows:
        return set()
    each = [
        {wire for place, wire in map(root_of, arguments) if place is read.place} for arguments in partials.arguments
    ]
    named = [one for one in each if one]
    return set() if any(one <= known for one in named) else {wire for one in named for wire in one}


def root_of(found: Found) -> tuple[Place, str]:
    """The relation and column that a value comes from, however many lists are between."""
    outer = found.place.list_of
    return (found.place, found.path[0].wire) if outer is None else root_of(outer)


def required_of(tree: exp.Expr, place: Place, places: Sequence[Place]) -> Iterator[str]:
    """The columns of a relation that an expression cannot do without."""
    by_alias = {one.alias: one for one in places}
    for node in tree.find_all(exp.Column):
        named = by_alias.get(node.table)
        if named is None or can_be_missing(node, tree):
            continue
        if named is place:
            yield node.name
        elif named.list_of is not None:
            root, wire = root_of(named.list_of)
            if root is place:
                yield wire


def can_be_missing(node: exp.Expr, tree: exp.Expr) -> bool:
    """Whether the expression says what is to be where this value is NULL."""
    while node is not tree and node.parent is not None:
        node = node.parent
        if isinstance(node, (exp.Coalesce, exp.Case, exp.If, exp.Is, exp.Nullif)):
            return True
    return isinstance(node, (exp.Coalesce, exp.Case, exp.If, exp.Is, exp.Nullif))


def step_of(step: Step, relations: dict[int, Relation]) -> PlanStep:
    """A step after the first relation."""
    if isinstance(step, Unnest):
        return step
    join = step.join
    assert join is not None, "only the first relation is not joined"
    on = " AND ".join(f"({one})" for one in join.on) or "true"
    right = replace(relations[id(step)], history=join.as_of is not None)
    return Join(right, join.side, tuple(join.equal), on, join.within, join.as_of)
