"""What states and rows should be: folded anew from records, by the aggregates and read models of an app."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Protocol

import msgspec

from headwater.app import App
from headwater.entities.behaviour import Behaviour
from headwater.log.port import TopicPartition
from headwater.projections.entity_table import aggregate_tables
from headwater.projections.folding import fold
from headwater.projections.read_model import ReadModel, read_models_of
from headwater.stores.memory import MemoryStore
from headwater.stores.port import Store
from headwater.testing.audit.contents import KeptRecord

RowsFold = Callable[[Sequence[KeptRecord]], Mapping[str, bytes]]
"""The rows of a read model after these records, as `ModelRows.rows`. Where rows are fed by several partitions, the
fold must not depend on the order between them: there is none."""


class StateFold(Protocol):
    """Makes the states of one entity type. `schema`: names their shape."""

    schema: str

    def at(self, entity_id: str, records: Sequence[KeptRecord], counts: Collection[int]) -> Mapping[int, bytes]:
        """The states as JSON after so many of an entity's events. Raises: BadData."""
        ...

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two states are equal: a set may be written in any order."""
        ...


class AggregateFold:
    """The `StateFold` of an aggregate."""

    def __init__(self, behaviour: Behaviour[Any]) -> None:
        self._behaviour, self.schema = behaviour, behaviour.schema

    def at(self, entity_id: str, records: Sequence[KeptRecord], counts: Collection[int]) -> Mapping[int, bytes]:
        """As `StateFold` says."""
        behaviour, found = self._behaviour, dict[int, bytes]()
        state = behaviour.new(entity_id)
        if 0 in counts:
            found[0] = behaviour.encode_state(state)
        for count, recorded in enumerate(behaviour.read_records(records), start=1):
            state = behaviour.evolve(state, recorded.event, lambda meta=recorded.meta: meta)  # type: ignore[misc] # called at once
            if count in counts:
                found[count] = behaviour.encode_state(state)
        return found

    def same(self, one: bytes, other: bytes) -> bool:
        """As `StateFold` says."""
        decode = self._behaviour.decode_state
        return one == other or bool(decode(one) == decode(other))


def state_folds(app: App) -> dict[str, StateFold]:
    """Those of an app's aggregates, by entity type."""
    return {one.entity: AggregateFold(one) for one in app.behaviours.values()}


def models_of(app: App) -> list[ReadModel]:
    """The read models of an app, its aggregates' tables included."""
    models = read_models_of(app.name, app.projections, app.codecs)
    return models + aggregate_tables(app.name, list(app.behaviours.values()), models)


def rows_folds(app: App) -> dict[str, RowsFold]:
    """Those of an app's read models, by the names of their runners."""
    return {model.runner: partial(fold_rows, model) for model in models_of(app)}


def fold_rows(model: ReadModel, records: Sequence[KeptRecord]) -> Mapping[str, bytes]:
    """The rows of a read model after these records: all in one batch, into a store that was empty.

    Raises: BadData, Failed: a record that cannot be read or applied.
    """
    with closing(MemoryStore()) as store:
        store.open_tables(model.runner, model.tables)
        to: dict[TopicPartition, int] = {}
        for topic in model.topics:
            gathered = topic.gather([one for one in records if one.topic == topic.name])
            for _, failure in gathered.stops.values():
                raise failure
            work = partial(fold, schemas=model.tables, calls=gathered.calls)
            store.apply(model.runner, {}, to, work)
        return rows_in(store, model)


def rows_in(store: Store, model: ReadModel) -> dict[str, bytes]:
    """All rows of a read model as they are in a store."""
    found: dict[str, bytes] = {}
    for table in model.tables:
        for row in store.rows(table):
            key = ", ".join(str(getattr(row, name)) for name in table.key)
            found[f"{table.name} {key}"] = msgspec.json.encode(row, order="deterministic")
    return found
