"""What a relation's rows are made of: the records of its topic, decoded, and those of them that are taken."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import duckdb

from headwater.failures.parking import Place, Trouble
from headwater.log.port import Record
from headwater.schemas.topics import Codecs
from headwater.views.decoding import Decode, Decoder
from headwater.views.described import Records
from headwater.views.folded_states import StateFolder
from headwater.views.nesting import leaves, runner_inside
from headwater.views.plan import Relation, View
from headwater.views.types import PLACE, quoted


class Input(Protocol):
    """Fills the table of one relation, which is named by its alias."""

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes what it keeps, where it is missing, and the table, without rows."""
        ...

    def prepare(self, records: Sequence[Record]) -> Decode:
        """Decodes those of a batch's records that it reads. What comes before `Decode` may be done while another batch
        is worked on, in another thread."""
        ...

    def choose(self, connection: duckdb.DuckDBPyConnection, chosen: Sequence[int] | None) -> None:
        """Makes the table's rows from these records alone, by their places in the batch; None: from all. What it keeps
        is changed in the transaction. Raises: Stopped: at a record that cannot be taken."""
        ...


class Events:
    """Events as rows. Arguments: relation; codecs; alone: whether nothing else than its topic is read."""

    def __init__(self, relation: Relation, codecs: Codecs, alone: bool) -> None:
        self._decoder, self._topic, self._alone = Decoder(relation, codecs), relation.name, alone
        self._rows = quoted(relation.alias)
        self._places: Sequence[int] = ()

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._decoder.prepare(())(connection)

    def prepare(self, records: Sequence[Record]) -> Decode:
        if self._alone:
            return self._decoder.prepare(records)
        places = [i for i, record in enumerate(records) if record.topic == self._topic]
        return partial(self._decode, places, self._decoder.prepare([records[i] for i in places]))

    def _decode(
        self, places: Sequence[int], rest: Decode, connection: duckdb.DuckDBPyConnection
    ) -> dict[Place, Trouble]:
        self._places = places
        return rest(connection)

    def choose(self, connection: duckdb.DuckDBPyConnection, chosen: Sequence[int] | None) -> None:
        if chosen is None:
            return
        if not self._alone:
            taken = set(chosen)
            chosen = [i for i, place in enumerate(self._places) if place in taken]
        connection.execute(
            f"DELETE FROM {self._rows} WHERE {PLACE} NOT IN (SELECT unnest(?::INTEGER[]))", [list(chosen)]
        )


def inputs_of(view: View, runner: str, codecs: Codecs) -> list[Input]:
    """Those of a view. Arguments: runner: whose tables they are; codecs: of the topics."""
    relations = list(leaves(view))
    return [input_of(one, runner, codecs, len(relations) == 1) for one in relations]


def input_of(relation: Relation, runner: str, codecs: Codecs, alone: bool) -> Input:
    if relation.origin == "states":
        return StateFolder(relation, runner_inside(runner, relation.alias), codecs)
    return Records(relation, codecs) if relation.origin == "records" else Events(relation, codecs, alone)
