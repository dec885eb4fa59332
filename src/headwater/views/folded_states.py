"""The states of an aggregate as rows of a view: its events, folded by its own `@evolves` methods.

They are folded anew from `<entity>-events` and not read from the owners' `<entity>-state`, so a view is as far as its
positions in the events say: a receipt, a time and a place in the log mean the same as for every other view. The states
are kept in the file of views, in the transaction of the positions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import duckdb
import msgspec
import pyarrow as pa

from headwater.entities.behaviour import Behaviour
from headwater.errors import BadData
from headwater.failures.parking import Place, Trouble, place_of
from headwater.log.port import Record
from headwater.projections.entity_table import aggregate_table, state_after
from headwater.projections.folding import Call, Stopped, failure
from headwater.projections.gathering import Gathered
from headwater.schemas.topics import Codecs
from headwater.views.decoding import Decode
from headwater.views.fitting import unfit
from headwater.views.kept import VERSION, changed_states, folded, made, span_of, states_of
from headwater.views.metadata import TIME
from headwater.views.plan import Relation
from headwater.views.settling import settled_fields
from headwater.views.types import literal, quoted

FOLDED = "hw_folded"
"""What the states that a batch has changed are registered as."""


class Version(NamedTuple):
    """A state that an entity had. Arguments: entity; text: it, as JSON; record: of the event that led to it; time: the
    event's."""

    entity: str
    text: str
    record: Record
    time: datetime


class StateFolder:
    """Fills the table of one relation of states, which is named by its alias: one row for each state that changed.

    Arguments: relation; runner: whose tables they are; codecs.
    """

    def __init__(self, relation: Relation, runner: str, codecs: Codecs) -> None:
        [self._type] = relation.types
        assert self._type.cls is not None
        self._relation, self._behaviour = relation, Behaviour(self._type.cls, codecs)
        (self._topic,) = aggregate_table("", self._behaviour).topics
        self._states, self._changed = states_of(relation, runner), changed_states(relation)
        self._calls: Sequence[Call] = ()
        self._records: Sequence[Record] = ()

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the table of states, where it is missing."""
        self._change(connection, {}, {})
        connection.execute(made(self._states.name, self._states.adds))
        self._fill(connection, [])

    def prepare(self, records: Sequence[Record]) -> Decode:
        """Reads the events of a batch. See `Input`."""
        gathered = self._topic.gather([one for one in records if one.topic == self._topic.name])
        return partial(self._decode, records, gathered)

    def _decode(
        self, records: Sequence[Record], gathered: Gathered, connection: duckdb.DuckDBPyConnection
    ) -> dict[Place, Trouble]:
        self._records, self._calls = records, gathered.calls
        return gathered.troubles

    def choose(self, connection: duckdb.DuckDBPyConnection, chosen: Sequence[int] | None) -> None:
        """Folds the events of these records, None: of all. Raises: Stopped: at one that a method does not go with."""
        calls = self._calls
        if chosen is not None:
            places = {place_of(self._records[i]) for i in chosen}
            calls = [call for call in calls if place_of(call[0]) in places]
        old, versions = self._load(connection, {str(call[4][0]) for call in calls}), list[Version]()
        states = {entity: self._behaviour.decode_state(text.encode()) for entity, text in old.items()}
        for call in calls:
            record, event, meta, _, (entity,) = call
            assert meta is not None, "the topic's listeners want it"
            state = states.get(entity) or self._behaviour.new(entity)
            try:
                states[entity] = state_after(self._behaviour, state, event, meta)
                self._refuse_unfit(states[entity], record)
            except Exception as error:  # an author's method may raise anything
                raise Stopped(record, failure(call, error)) from error
            text = self._behaviour.encode_state(states[entity]).decode()
            versions.append(Version(entity, text, record, meta.time))
        last = {one.entity: one for one in versions}
        self._change(connection, old, {entity: one.text for entity, one in last.items()})
        self._fill(connection, versions if self._relation.history else list(last.values()))

    def _load(self, connection: duckdb.DuckDBPyConnection, ids: Collection[str]) -> dict[str, str]:
        """The states of these entities, as JSON."""
        if not ids:
            return {}
        wanted = f"(FROM {self._states.name} WHERE id IN (SELECT unnest(?::VARCHAR[])))"
        found = connection.execute(folded(wanted, "id, state"), [list(ids)]).fetchall()
        return {entity: text for entity, text, _ in found}

    def _change(self, connection: duckdb.DuckDBPyConnection, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        weights = [-1] * len(old) + [1] * len(new)
        columns = {
            "id": pa.array([*old, *new], pa.string()),
            "state": pa.array([*old.values(), *new.values()], pa.string()),
            "w": pa.array(weights, pa.int64()),
        }
        connection.register(FOLDED, pa.table(columns))
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {self._changed} AS FROM {FOLDED}")
        finally:
            connection.unregister(FOLDED)

    def _fill(self, connection: duckdb.DuckDBPyConnection, versions: Sequence[Version]) -> None:
        """Makes the rows of states; a table that keeps what was has all that they went through, and since when."""
        entities, records = [one.entity for one in versions], [one.record for one in versions]
        columns = {
            "v": pa.array([one.text for one in versions], pa.string()),
            "_topic": pa.array([one.topic for one in records], pa.string()),
            "_partition": pa.array([one.partition for one in records], pa.int32()),
            "_offset": pa.array([one.offset for one in records], pa.int64()),
            "_key": pa.array(entities, pa.string()),
            "_entity_id": pa.array(entities, pa.string()),
            "since": pa.array([one.time for one in versions], TIME),
        }
        fields = settled_fields(self._type)
        listed = ", ".join(
            f"{fields.get(one.name, quoted(one.name))} AS {quoted(one.name)}" for one in self._relation.columns
        )
        if self._relation.history:
            listed += f", {VERSION} AS {quoted(span_of(self._relation))}"
        structure = msgspec.json.encode({one.wire: one.type.structure for one in self._type.fields}).decode()
        connection.register(FOLDED, pa.table(columns))
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {quoted(self._relation.alias)} AS SELECT {listed} FROM"
                f" (SELECT *, from_json(v, {literal(structure)}) AS x FROM {FOLDED})"
            )
        finally:
            connection.unregister(FOLDED)

    def _refuse_unfit(self, state: Any, record: Record) -> None:
        """Raises: BadData: a number of a state that does not fit its type of SQL."""
        content = msgspec.to_builtins(state, builtin_types=(Decimal,))
        for field in self._type.fields:
            for why in unfit(content.get(field.wire), field.type):
                raise BadData(why, topic=record.topic, partition=record.partition, offset=record.offset)
