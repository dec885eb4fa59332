"""How a view takes part in the reading of a batch: decode, then add to its state in the transaction of the positions.

    prepare: records ─► their texts, looked through; while the batch before is folded
    gather: texts ─► rows in a table of the connection for each relation, and what cannot be read
    fold:   rows, without those of records that are set aside ─► changes ─► what is kept (see `state`, `joining`),
            and what came too late (see `clock`)

It is the `Work` of a read model, so positions, dead letters, held keys and notes are those of every read model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn, cast

import duckdb

from headwater.errors import Failed
from headwater.failures.parking import Parking, Place, Trouble, place_of, where_of
from headwater.log.port import Record, TopicPartition
from headwater.projections.folding import Call, Stopped
from headwater.projections.gathering import Gathered
from headwater.schemas.topics import PLAIN, Codecs
from headwater.stores.port import Loading
from headwater.views.clock import Clock
from headwater.views.decoding import Decode
from headwater.views.failing import OF_VALUES
from headwater.views.file import ViewFile, ViewLoading, translated
from headwater.views.file_tables import write_marks
from headwater.views.inputs import inputs_of
from headwater.views.kept import Compiled
from headwater.views.late import told_late
from headwater.views.merging import Merging, MergingAndClosing
from headwater.views.plan import View
from headwater.views.repartitioning import as_read, reached_in
from headwater.views.room import TRIED
from headwater.views.routes import routes_of
from headwater.views.sharing import VARIABLE


class ViewWork:
    """Arguments: view; compiled; file: where it is kept, with a connection that nobody else works with; runner: whose
    tables they are; codecs: of the topics."""

    def __init__(self, view: View, compiled: Compiled, file: ViewFile, runner: str, codecs: Codecs = PLAIN) -> None:
        self._view, self._compiled, self._file = view, compiled, file
        self._inputs = inputs_of(view, runner, codecs)
        self._runner, self._aliases = runner, [route.relation.alias for route in routes_of(view)] if view.shared else []
        self._records: Sequence[Record] = ()
        self._merging: Merging | MergingAndClosing
        self._late = True

    def open(self, partitions: Mapping[str, int]) -> None:
        """Makes what the view keeps, where it is missing. Arguments: partitions: how many each of its topics has."""
        compiled = self._compiled
        with self._file.writing() as connection:
            for one in self._inputs:
                one.open(connection)
            for statement in compiled.opening:
                connection.execute(statement)
            if compiled.closing is None:
                self._merging = Merging(compiled.tables, connection, compiled.floors, partitions)
            else:
                of_topic = partitions[self._view.relation.name]
                self._merging = MergingAndClosing(compiled.tables, compiled.closing, of_topic, connection)

    def late(self, *, again: bool = False) -> Mapping[TopicPartition, int] | None:
        """How many records came too late so far, by partition, also those that were read here once and are another
        process's now; None: as many as when it was asked last, unless it is asked again."""
        if not self._compiled.clocks or not (self._late or again):
            return None
        self._late, counts = False, Counter[TopicPartition]()
        with self._file.aside() as connection:
            for clock in self._compiled.clocks:
                for partition, count in connection.execute(clock.counts).fetchall():
                    counts[TopicPartition(clock.topic, partition)] += count
        return counts

    def prepare(self, records: Sequence[Record]) -> Callable[[], Gathered]:
        """Decodes a batch. What `fold` is given next is a part of it."""
        # Not by `zip`, which is one call, and keeps Python's lock from the thread that works on the batch before.
        calls = cast("list[Call]", [(record,) for record in records])
        return partial(self._gathered, records, calls, self._decode(records))

    def _gathered(self, records: Sequence[Record], calls: list[Call], decode: Decode) -> Gathered:
        with self._file.working() as connection:
            troubles = decode(connection)
        self._records = records
        return Gathered(calls, troubles)

    def fold(self, loading: Loading, calls: Sequence[Call], parking: Parking) -> None:
        """Adds the rows of these records to what is kept, and tells `parking` which came too late. Raises: Stopped:
        at a record that an expression of the view does not go with."""
        chosen = None
        if len(calls) < len(self._records):
            places = {place_of(call[0]) for call in calls}
            chosen = [i for i, one in enumerate(self._records) if place_of(one) in places]
        self._add(loading, chosen, parking)

    def fold_carefully(
        self, loading: Loading, records: Sequence[Record], gathered: Gathered, parking: Parking, *, saving: bool
    ) -> None:
        """Adds the rows of all records but those that are set aside, which it tells to `parking`. Raises: as `fold`."""
        chosen = []
        for i, record in enumerate(records):
            if parking.parks(record):
                continue
            trouble = gathered.troubles.get(place_of(record))
            if trouble is not None:
                parking.fail(record, trouble)
            else:
                chosen.append(i)
        self._add(loading, chosen, parking)

    def _decode(self, records: Sequence[Record]) -> Decode:
        if not self._aliases:
            return partial(decode_all, [one.prepare(records) for one in self._inputs])
        routed = []
        for alias, one in zip(self._aliases, self._inputs, strict=True):
            read = [as_read(record, alias) for record in records]
            routed.append((read, one.prepare(read)))
        return partial(self._decode_routed, records, routed)

    def _decode_routed(
        self,
        records: Sequence[Record],
        routed: Sequence[tuple[Sequence[Record], Decode]],
        connection: duckdb.DuckDBPyConnection,
    ) -> dict[Place, Trouble]:
        troubles: dict[Place, Trouble] = {}
        if records:  # all of one partition
            connection.execute(f"SET VARIABLE {VARIABLE} = {records[0].partition:d}")
        for read, decode in routed:
            found = decode(connection)
            if found:
                for record, origin in zip(records, read, strict=True):
                    if (trouble := found.get(place_of(origin))) is not None:
                        troubles[place_of(record)] = trouble
        return troubles

    def _add(self, loading: Loading, chosen: list[int] | None, parking: Parking) -> None:
        assert isinstance(loading, ViewLoading)
        connection = loading.connection
        with translated(self._file.path):
            try:
                self._choose(connection, chosen)
                for table in self._compiled.tables:
                    self._merging.add(connection, table)
            except OF_VALUES as error:
                self._stop(range(len(self._records)) if chosen is None else chosen, error)
            self._merging.look(connection)
            if self._aliases:
                taken = self._records if chosen is None else [self._records[i] for i in chosen]
                marks = {(one.partition, topic, p): at for one in taken for topic, p, at in reached_in(one)}
                write_marks(connection, self._runner, marks)
            clocks = self._compiled.clocks
            for clock in clocks:
                self._remember(connection, clock, parking)
            for clock in clocks:
                self._tell_late(connection, clock, parking)
            for statement in [statement for clock in clocks for statement in clock.advance]:
                connection.execute(statement)

    def _remember(self, connection: duckdb.DuckDBPyConnection, clock: Clock, parking: Parking) -> None:
        """Keeps the clock for records that are set aside."""
        aside = [one for one in self._records if one.topic == clock.topic and place_of(one) in parking.rows]
        if aside:
            if clock.release:
                connection.execute(clock.release)
            connection.execute(clock.remember, [[one.partition for one in aside], [one.offset for one in aside]])

    def _tell_late(self, connection: duckdb.DuckDBPyConnection, clock: Clock, parking: Parking) -> None:
        """Tells `parking` what came too late."""
        late = connection.execute(clock.told).fetchall()
        self._late = self._late or bool(late)
        if self._view.late == "drop" or not late:
            return
        records = {place_of(one): one for one in self._records}
        for partition, offset, *what in late:
            record = records[clock.topic, partition, offset]
            if not parking.excludes(record):
                parking.fail(record, told_late(self._view, clock, record, *what))

    def _choose(self, connection: duckdb.DuckDBPyConnection, chosen: Sequence[int] | None) -> None:
        """Makes the changes that the rows of these records are, None: of all."""
        for one in self._inputs:
            try:
                one.choose(connection, chosen)
            except Stopped as stopped:
                raise Stopped(self._routed(stopped.record), stopped.cause) from stopped
        for change in self._compiled.changes:
            connection.execute(change.statement)

    def _routed(self, record: Record) -> Record:
        """The record of the batch that another one was read from."""
        if not self._aliases:
            return record
        origins = {place_of(as_read(one, alias)): one for one in self._records for alias in self._aliases}
        return origins[place_of(record)]

    def _stop(self, chosen: Sequence[int], error: duckdb.Error) -> NoReturn:
        """Looks for the first record with which the others cannot be added: the transaction itself is lost. Raises:
        Stopped, or the error again if it does not come again."""
        with self._file.aside() as connection:
            self._decode(self._records)(connection)
            least, most = 0, len(chosen)
            if self._fails(connection, []) or not self._fails(connection, chosen):
                raise error
            while most - least > 1:  # it goes well with `least` of them, and not with `most`
                middle = (least + most) // 2
                least, most = (least, middle) if self._fails(connection, chosen[:middle]) else (middle, most)
        record = self._records[chosen[least]]
        failed = Failed(f"view {self._view.name}", where_of(record), f"{error}; correct the statement and start again")
        failed.__cause__ = error
        raise Stopped(record, failed) from error

    def _fails(self, connection: duckdb.DuckDBPyConnection, chosen: Sequence[int]) -> bool:
        connection.execute("BEGIN")
        try:
            self._choose(connection, chosen)
            for table in self._compiled.tables:
                connection.execute(f"CREATE OR REPLACE TEMP TABLE {TRIED} AS {table.adds}")
                self._merging.tried(connection, table)
        except OF_VALUES:
            return True
        finally:
            connection.execute("ROLLBACK")
        return False


def decode_all(parts: Sequence[Decode], connection: duckdb.DuckDBPyConnection) -> dict[Place, Trouble]:
    troubles: dict[Place, Trouble] = {}
    for decode in parts:
        troubles |= decode(connection)
    return troubles
