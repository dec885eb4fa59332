"""What a view can read, by name: topics of events, states of aggregates, what others write, and other views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from headwater.entities.aggregate import Aggregate
from headwater.log.topology import events_topic, state_topic
from headwater.messages.declare import Event, family_of, members_of
from headwater.views.declared import members_of_class, type_of_sql
from headwater.views.plan import Join, Origin, Unnest, View
from headwater.views.statements import Statement
from headwater.views.types import FROM_JSON, METADATA, ListOf, MapOf, Member, Scalar, SqlType, StructOf, scalars_of


@dataclass(frozen=True, slots=True)
class SourceType:
    """One kind of record in a source. Arguments: name: the event's wire name; cls: its class; members: its fields."""

    name: str
    cls: type[Any] | None
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Something that stands after FROM.

    Arguments: name: of the topic or view; origin; types: what its records may be; metadata: what is known of each
    beside its fields; key: names of the members that identify a row, none: rows are only added; retracts: whether a
    row can go again; topic: where its name is another; inlined: the view, where its rows are rows of a topic with other
    columns, so that reading it is reading the topic; view: it, whatever its rows are.
    """

    name: str
    origin: Origin
    types: tuple[SourceType, ...]
    metadata: tuple[Member, ...] = ()
    key: tuple[str, ...] = ()
    retracts: bool = False
    topic: str | None = None
    inlined: View | None = None
    view: View | None = None


PYTHON_NAMES = {"_type": "eventType"}
ALL_METADATA = tuple(Member(name, PYTHON_NAMES.get(name, name), kind) for name, kind in METADATA.items())
OF_STATES = tuple(
    Member(name, name, METADATA[name]) for name in ("_topic", "_partition", "_offset", "_key", "_entity_id")
)


class Catalogue:
    """All that can be read, by name. `aliases`: other names of the same."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self.sources = {one.name: one for one in sources}

    def find(self, name: str) -> Source | None:
        """The source of a name: as it is written, otherwise without regard to case, as in SQL."""
        if name in self.sources:
            return self.sources[name]
        alike = [one for known, one in self.sources.items() if known.lower() == name.lower()]
        return alike[0] if len(alike) == 1 else None

    def add(self, source: Source) -> None:
        """Makes one more source known."""
        self.sources[source.name] = source

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)


def catalogue_of(events: Iterable[type[Event]], aggregates: Iterable[tuple[str, type[Aggregate[Any]]]]) -> Catalogue:
    """The topics that an app's classes describe.

    Arguments: events: families or members of families; aggregates: entity types with their classes.
    """
    found = Catalogue()
    for event in events:
        found.add(source_of_family(cast(type[Event], family_of(event))))
    for entity, aggregate in aggregates:
        found.add(source_of_states(entity, aggregate))
    return found


def source_of_family(family: type[Event]) -> Source:
    entity = family.__hw__.entity
    assert entity is not None, "a family names its entity"
    types = (SourceType(one.__hw__.wire_name, one, members_of_class(one)) for one in members_of(family))
    return Source(events_topic(entity), "events", tuple(types), ALL_METADATA)


def source_of_states(entity: str, aggregate: type[Aggregate[Any]]) -> Source:
    """The states of an aggregate as a table, one row per entity."""
    return Source(
        state_topic(entity),
        "states",
        (SourceType("", aggregate, members_of_class(aggregate)),),
        OF_STATES,
        ("id",),
        True,
    )


def source_of_declaration(statement: Statement) -> Source:
    """What others write, as a statement describes it. Raises: BadStatement."""
    members = tuple(Member(one.name, one.name, type_of_sql(one.type)) for one in statement.columns)
    for column, member in zip(statement.columns, members, strict=True):
        for one in scalars_of(member.type):
            if one.name not in FROM_JSON and not one.name.startswith("DECIMAL("):
                known = ", ".join(["DECIMAL(digits, scale)", *sorted(FROM_JSON)])
                raise statement.text.error(f"{one.name} is not read from JSON; there are: {known}", column.start)
    key = tuple(one.name for one in statement.columns if one.key)
    if statement.kind == "stream" and key:
        start = next(one.start for one in statement.columns if one.key)
        raise statement.text.error(
            "a stream has no key: its rows are only added; CREATE TABLE describes rows that change", start
        )
    if statement.kind == "table" and not key:
        raise statement.error_at(
            "", "a table of others needs a key, which tells whose row a record replaces: name TYPE PRIMARY KEY"
        )
    topic = str(statement.options.get("topic") or statement.name)
    return Source(statement.name, "records", (SourceType("", None, members),), ALL_METADATA, key, bool(key), topic)


def source_of_view(view: View) -> Source:
    """The rows of a view, for others that read it. What a stream that joins has written is read from its topic."""
    if view.target == "stream" and any(isinstance(step, Join) for step in view.steps):
        written = tuple(Member(one.name, one.name, as_written(one.type)) for one in view.output)
        return Source(view.name, "records", (SourceType("", None, written),), ALL_METADATA, topic=view.topic)
    members = tuple(Member(one.name, one.name, one.type) for one in view.output)
    plain = view.grouping is None and all(isinstance(step, Unnest) for step in view.steps) and not view.retracts
    types = (SourceType("", None, members),)
    return Source(view.name, "view", types, (), view.key, view.retracts, inlined=view if plain else None, view=view)


def as_written(kind: SqlType) -> SqlType:
    """The type that values have when they are read from JSON again."""
    if isinstance(kind, ListOf | MapOf):
        return replace(kind, of=as_written(kind.of))
    if isinstance(kind, StructOf):
        return StructOf(tuple(replace(one, type=as_written(one.type)) for one in kind.members))
    return Scalar("DECIMAL(38,0)") if kind.name == "HUGEINT" else kind
