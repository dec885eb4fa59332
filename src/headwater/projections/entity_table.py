"""The table that every aggregate has without asking: one row per entity, its state with `id` and `version`.

Fed from `<entity>-events` by the aggregate's own `@evolves` methods. It is only a copy for lists and SQL: what an
entity decides on is the owner's state, never this one. When fields or code change, the rows are made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from headwater.entities.behaviour import Behaviour, counted
from headwater.entities.schema import code_of_states
from headwater.errors import Misuse
from headwater.messages.builtin import Dropped, Parts, Reverted
from headwater.messages.declare import Event, key_of
from headwater.messages.envelope import Meta
from headwater.messages.upcasting import parts_of
from headwater.projections.declare import table_called
from headwater.projections.folding import Handler, Rows
from headwater.projections.gathering import Listener, Topic, key_tests
from headwater.projections.read_model import ReadModel
from headwater.stores.port import TableSchema


def aggregate_table(app: str, behaviour: Behaviour[Any]) -> ReadModel:
    """The read model of an aggregate; its table is called as its entity type (see `table_called`)."""
    aggregate, entity = behaviour.aggregate, behaviour.entity
    name = table_called(entity)
    table = TableSchema(name, 1, aggregate, ("id",))
    handler = Handler(aggregate.__name__, table, behaviour.new, partial(evolved, behaviour), replaces=True)
    tests = key_tests(table)
    # A record is one version, whatever it is read as.
    events: list[type[Event]] = [*behaviour.events.classes.values(), Parts, Dropped]
    listeners = [
        Listener(event, handler, tests, key=entity_id, keys=None, own=key_of, wants_meta=True) for event in events
    ]
    topic = Topic(entity, listeners, behaviour.events)
    return ReadModel(name, f"{app}-{entity}-table", (table,), (topic,), code_of_states(aggregate), remade=True)


def entity_id(event: Event, meta: Meta) -> str:
    """A record of others may have no key, an event that every entity has carries none."""
    if meta.entity_id or type(event) is Reverted:
        return meta.entity_id
    return next((key_of(one) for _, one in parts_of(event)), "")


def evolved(behaviour: Behaviour[Any], state: Any, event: Event, meta: Meta, rows: Rows) -> Any:
    return state_after(behaviour, state, event, meta)


def state_after(behaviour: Behaviour[Any], state: Any, event: Event, meta: Meta) -> Any:
    """The state after one more event of its topic; the version is the one that the record says."""
    state = behaviour.evolve(state, event, lambda: counted(meta, state.version))
    if meta.version is not None:
        state.version = meta.version
    return state


def aggregate_tables(app: str, behaviours: Sequence[Behaviour[Any]], others: Sequence[ReadModel]) -> list[ReadModel]:
    """The tables of all aggregates. Raises: Misuse: one has the name of a projection's table, or of another's."""
    models = [aggregate_table(app, behaviour) for behaviour in behaviours]
    taken = {table.name: table for other in others for table in other.tables}
    entities: dict[str, str] = {}
    for model, behaviour in zip(models, behaviours, strict=True):
        twin = entities.setdefault(model.title, behaviour.entity)
        if twin != behaviour.entity:
            raise Misuse(
                f"the entity types {twin!r} and {behaviour.entity!r} are both the table {model.title}: let them differ "
                "in letters or digits"
            )
        other = taken.get(model.title)
        if other is not None:
            raise Misuse(
                f"projection {other.row.__qualname__} and the entity type {behaviour.entity!r} are both the table "
                f'{model.title}: give the projection another name, class {other.row.__name__}(hw.Projection, name="…")'
            )
    return models
