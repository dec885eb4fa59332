"""The two sides that a preview compares: code that folds the history in this process, and states as they are stored.

A third, code in another folder, is `LocalSide` again, in a process of its own (`cli.other_code`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Protocol

import msgspec

from headwater.entities.behaviour import Behaviour
from headwater.environment import Environment
from headwater.errors import HeadwaterError
from headwater.log.port import Log, Positions, TopicPartition
from headwater.log.topology import state_topic
from headwater.operations.shadow import Folded, Place, Shadow, Traced, digest_of, fields_of, plain, run_shadow
from headwater.owners.state_record import StateRecord, decode_value
from headwater.projections.folding import Call, Stopped, fold
from headwater.projections.read_model import ReadModel
from headwater.projections.seen import seen_by
from headwater.readers.spans import batches_between
from headwater.stores.memory import MemoryStore
from headwater.stores.port import Store

Rows = dict[str, dict[str, Any]]
"""Row key as text -> the row as JSON has it."""


class Side(Protocol):
    """What a preview asks of the code, or the states, that there are now."""

    def schemas(self, entity: str) -> set[str]:
        """Of the states of an entity type; none: it has no such type."""
        ...

    def fields(self, entity: str) -> list[str]:
        """The names of a state's fields."""
        ...

    def folded(self, entity: str, ends: Positions, names: Sequence[str]) -> dict[str, Folded]:
        """All states after the events before `ends`, as far as they are known. Arguments: names: of the fields that
        count."""
        ...

    def traced(self, entity: str, ends: Positions, ids: Collection[str]) -> dict[str, list[Traced]]:
        """The states of these entities after each event, as far as they are known, oldest first."""
        ...

    def rows(self, table: str, ends: Positions) -> Rows | None:
        """The rows of a projection's table after the events before `ends`; None: there is no such table."""
        ...


class LocalSide:
    """The code of this process, over a log. Arguments: behaviours: by entity type; models: read models."""

    def __init__(
        self, behaviours: Mapping[str, Behaviour[Any]], models: Sequence[ReadModel], log: Log, environment: Environment
    ) -> None:
        self._behaviours, self._log, self._environment = behaviours, log, environment
        self._models = {table.name: model for model in models for table in model.tables}

    def schemas(self, entity: str) -> set[str]:
        found = self._behaviours.get(entity)
        return set() if found is None else {found.schema}

    def fields(self, entity: str) -> list[str]:
        return fields_of(self._behaviours[entity])

    def shadow(self, entity: str, ends: Positions) -> Shadow:
        """The fold itself."""
        return self._run(Shadow(self._behaviours[entity]), ends)

    def folded(self, entity: str, ends: Positions, names: Sequence[str]) -> dict[str, Folded]:
        return self.shadow(entity, ends).folded(names)

    def traced(self, entity: str, ends: Positions, ids: Collection[str]) -> dict[str, list[Traced]]:
        return self._run(Shadow(self._behaviours[entity], ids, traced=True), ends).traces

    def rows(self, table: str, ends: Positions) -> Rows | None:
        model = self._models.get(table)
        return None if model is None else self.rows_of(model, ends)[0].get(table)

    def rows_of(self, model: ReadModel, ends: Positions) -> tuple[dict[str, Rows], list[HeadwaterError]]:
        """The rows of a read model's tables, and what stopped it, if anything did."""
        failures: list[HeadwaterError] = []
        with closing(MemoryStore()) as store:
            seen = seen_by(model, store, self._environment)
            store.open_tables(model.runner, [*model.tables, *seen.tables])
            starts, positions = self._log.begins(list(ends)), dict[TopicPartition, int]()
            for batch in batches_between(self._log, starts, ends, "previewing", self._environment):
                calls: list[Call] = []
                records = seen.sift(positions, batch.records)
                for topic in model.topics:
                    gathered = topic.gather([one for one in records if one.topic == topic.name])
                    failures += [failure for _, failure in gathered.stops.values()]
                    calls += gathered.calls
                failures += seen.refused(calls)
                try:
                    work = partial(fold, schemas=model.tables, calls=calls)
                    seen.apply(model.runner, positions, batch.reached, work)
                    positions.update(batch.reached)
                except Stopped as stopped:
                    failures.append(stopped.cause)
                if failures:
                    break
            return stored_rows(store, model), failures

    def _run(self, shadow: Shadow, ends: Positions) -> Shadow:
        return run_shadow(shadow, self._log, self._log.begins(list(ends)), ends, self._environment)


class StoredSide:
    """The states in `<entity>-state`, and the rows in a store. The log keeps some of the older state records: they
    narrow down where a state begins to differ.

    Arguments: behaviours, models: of the code that is previewed: what is stored is read as it reads it; store: of the
    read models (None: there is none); positions: how far their rows are.
    """

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour[Any]],
        models: Sequence[ReadModel],
        log: Log,
        store: Store | None,
        environment: Environment,
    ) -> None:
        self._behaviours, self._log, self._store, self._environment = behaviours, log, store, environment
        self._models = {table.name: model for model in models for table in model.tables}
        self._schemas: dict[str, set[str]] = {}
        self._fields: dict[str, list[str]] = {}
        self._newest: dict[str, dict[str, StateRecord]] = {}

    def schemas(self, entity: str) -> set[str]:
        return {record.schema for record in self._records(entity).values()}

    def fields(self, entity: str) -> list[str]:
        found: dict[str, None] = {}
        for record in self._records(entity).values():
            found.update(dict.fromkeys(msgspec.json.decode(record.state)))
        return [name for name in found if name not in ("id", "version")]

    def folded(self, entity: str, ends: Positions, names: Sequence[str]) -> dict[str, Folded]:
        return {
            id: Folded(record.version, digest_of(self._plain(entity, record), names))
            for id, record in self._records(entity).items()
            if record.version
        }

    def traced(self, entity: str, ends: Positions, ids: Collection[str]) -> dict[str, list[Traced]]:
        found: dict[str, list[Traced]] = {}
        for record, offset, partition in self._read(entity):
            if record.id in ids and record.version:
                place = Place(state_topic(entity), partition, offset, "")
                found.setdefault(record.id, []).append(Traced(record.version, place, self._plain(entity, record)))
        return found

    def rows(self, table: str, ends: Positions) -> Rows | None:
        model = self._models[table]
        if self._store is None or not self._store.positions(model.runner):
            return None
        return stored_rows(self._store, model)[table]

    def _records(self, entity: str) -> dict[str, StateRecord]:
        if entity not in self._newest:
            self._newest[entity] = {record.id: record for record, _, _ in self._read(entity)}
        return self._newest[entity]

    def _read(self, entity: str) -> Iterator[tuple[StateRecord, int, int]]:
        """All state records that are there, each with its offset and partition."""
        topic = self._log.topics([state_topic(entity)]).get(state_topic(entity))
        if topic is None:
            return
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        begins, ends = self._log.begins(partitions), self._log.ends(partitions)
        for batch in batches_between(self._log, begins, ends, "reading states", self._environment, envelopes=False):
            for one in batch.records:
                yield decode_value(one.value or b""), one.offset, one.partition

    def _plain(self, entity: str, record: StateRecord) -> dict[str, Any]:
        """Its own fields, sets in order where the code can read them."""
        said: dict[str, Any] = msgspec.json.decode(record.state)
        try:
            read = plain(self._behaviours[entity].decode_state(record.state))
        except msgspec.DecodeError:
            return said
        return {name: read.get(name, value) for name, value in said.items()}


def stored_rows(store: Store, model: ReadModel) -> dict[str, Rows]:
    """The rows of a read model, by table."""
    return {
        table.name: {", ".join(str(getattr(row, name)) for name in table.key): plain(row) for row in store.rows(table)}
        for table in model.tables
    }
