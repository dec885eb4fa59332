"""Makes the rows of a read model anew, in tables beside its own: reads the log from its beginning, folds, commits.

    log -> batch -> gather -> apply(lease held, load -> fold -> save, positions) -> progress

Positions, rows and the sign of life of the lease are one transaction, so it may be killed anywhere and goes on where it
was. Nothing else happens: no process and no effect runs, and no group's position is moved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from headwater.environment import Environment
from headwater.failures.held import HeldRecord, Shelves
from headwater.failures.held import tables_of as held_tables
from headwater.failures.parking import Place, place_of
from headwater.log.port import Batch, Log, Positions, TopicPartition
from headwater.operations.rebuild_state import Lease
from headwater.projections.applying import Applying
from headwater.projections.read_model import ReadModel
from headwater.projections.seen import AllNew, Seen
from headwater.projections.seen_rows import Tables, tables_of
from headwater.readers.spans import BATCH_RECORDS, batches_between
from headwater.stores.port import Key, Loading, StaleRunner, TableSchema
from headwater.stores.switching import SwitchingStore, beside, beside_runner

R = TypeVar("R")

LEFT, TOTAL = "headwater_rebuild_left_events", "headwater_rebuild_events"


class Progress(NamedTuple):
    """How far the rows beside are.

    Arguments: done, total: positions of the log, gaps included; rate: of them per second since this process began;
    left_s: how long the rest takes at that rate (None: not known yet).
    """

    done: int
    total: int
    rate: float
    left_s: float | None


Tell = Callable[[Progress], None]


class Throttle:
    """How long to wait so that no more than so many records are read per second, also after a slow time.

    Arguments: per_second: None: as many as can be; now_s: the clock, in seconds.
    """

    def __init__(self, per_second: int | None, now_s: float) -> None:
        self._per_second, self._free_s = per_second, now_s

    @property
    def batch_records(self) -> int:
        """How many records to read at once: what a tenth of a second has, so that the store's other users notice no
        waves."""
        return BATCH_RECORDS if self._per_second is None else max(1, min(BATCH_RECORDS, self._per_second // 10))

    def pause_s(self, records: int, now_s: float) -> float:
        """How long to wait after so many more records."""
        if self._per_second is None:
            return 0.0
        self._free_s = max(self._free_s + records / self._per_second, now_s)
        return self._free_s - now_s


class Beside:
    """`Loading` of the tables beside those that are asked for; of others, of themselves."""

    def __init__(self, loading: Loading, tables: Mapping[TableSchema[Any], TableSchema[Any]]) -> None:
        self._loading, self._tables = loading, tables

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        return self._loading.load(self._tables.get(table, table), keys)

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        self._loading.save(self._tables.get(table, table), rows)

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        self._loading.delete(self._tables.get(table, table), keys)


class Builder:
    """Fills the tables beside those of a read model. Arguments: lease: held; throttle; stop: set by who wants it to
    end."""

    def __init__(
        self,
        model: ReadModel,
        store: SwitchingStore,
        log: Log,
        lease: Lease,
        environment: Environment,
        throttle: Throttle,
        stop: threading.Event,
    ) -> None:
        self._model, self._store, self._log, self._lease = model, store, log, lease
        self._environment, self._throttle, self._stop = environment, throttle, stop
        self._tables: dict[TableSchema[Any], TableSchema[Any]] = {table: beside(table) for table in model.tables}
        self._runner = beside_runner(model.runner)
        self._seen = self._seen_beside()
        self._held = held_tables(model.runner).held
        self._tables[self._held] = beside(self._held)
        self._shelves = Shelves()
        self._applying = Applying(model, self._apply, self._apply, self._held, self._shelves, environment)
        self._discarded: set[Place] = set()
        self._begun_s = environment.monotonic_s()
        self._added = 0
        self._positions: dict[TopicPartition, int] = {}
        self._paused = False

    @property
    def pairs(self) -> Sequence[tuple[TableSchema[Any], TableSchema[Any]]]:
        """The tables and those beside them."""
        return tuple(self._tables.items())

    def open(self) -> str:
        """Makes the tables beside where they are missing. Returns the fingerprint of the code that began them."""
        code = self._store.open_tables(self._runner, list(self._tables.values()), self._model.code)
        self._positions = self._store.positions(self._runner)
        for tp in self._positions:
            where = {"topic": tp.topic, "partition": tp.partition}
            self._shelves.set(tp, self._store.rows(self._tables[self._held], where))
        self._discarded = discarded(self._model, self._store)
        return code

    def _seen_beside(self) -> Seen | AllNew:
        """What recognises copies: beside what the read model itself has seen, and exchanged with it."""
        if self._model.dedupe is None:
            return AllNew(self._store)
        own = tables_of(self._model.runner)
        self._tables |= {table: beside(table) for table in own}
        tables = Tables(beside(own.seen), beside(own.streams), beside(own.tallies))
        return Seen(self._model.dedupe, self._model.as_json, self._runner, tables, self._store, self._environment)

    def run(self, tell: Callable[[Progress], None]) -> bool:
        """Adds all events that the log has now. Returns False where it was asked to stop before.

        Raises: BadData, Failed: an event cannot be applied; those before it are. Lost. Unavailable.
        """
        partitions = partitions_of(self._model, self._log)
        ends, begins = self._log.ends(partitions), self._log.begins(partitions)
        start = {tp: self._positions.get(tp, begins[tp]) for tp in partitions}
        total = sum(ends[tp] - begins[tp] for tp in partitions)
        done = sum(start[tp] - begins[tp] for tp in partitions)
        tell(self._progress(done, total))
        size = self._throttle.batch_records
        batches = batches_between(self._log, start, ends, "rebuilding", self._environment, batch_records=size)
        for batch in batches:
            to = {tp: min(reached, ends[tp]) for tp, reached in batch.reached.items()}
            to = {tp: reached for tp, reached in to.items() if reached > start[tp]}
            self._add(batch, to)
            added = sum(reached - start[tp] for tp, reached in to.items())
            start.update(to)
            done, self._added = done + added, self._added + added
            tell(self._progress(done, total))
            pause_s = self._throttle.pause_s(len(batch.records), self._environment.monotonic_s())
            if self._paused or self._stop.wait(pause_s):
                return all(start[tp] >= ends[tp] for tp in partitions)
        return True

    def _add(self, batch: Batch, to: Positions) -> None:
        """Commits what can be applied, and what is set aside, as the read model's policy says; what an operator has
        discarded is passed over. Raises what is wrong with the first record that may not be set aside."""
        records = self._seen.sift(self._positions, batch.records)
        if self._discarded:
            records = [record for record in records if place_of(record) not in self._discarded]
        gathered = self._model.gather(records)
        gathered.refuse(self._seen.refused(gathered.calls))
        applied = self._applying.batch(self._positions, records, to, gathered)
        self._positions.update(applied.to)
        self._shelves.changed(applied.set_aside)
        if applied.pauses:
            raise min(applied.pauses.items())[1].cause

    def _apply(self, start: Positions, to: Positions, work: Callable[[Loading], None]) -> None:
        """As `Store.apply`, beside, while the lease is held."""

        def held(loading: Loading) -> None:
            self._paused = self._lease.hold(loading).pause
            work(Beside(loading, self._tables))

        try:
            self._seen.apply(self._runner, start, to, held)
        except StaleRunner as error:  # who holds the lease now has begun already
            raise self._lease.lost() from error

    def _progress(self, done: int, total: int) -> Progress:
        took_s = self._environment.monotonic_s() - self._begun_s
        rate = self._added / took_s if took_s > 0 else 0.0
        labels, telemetry = {"read_model": self._model.title}, self._environment.telemetry
        telemetry.gauge(LEFT, labels, float(total - done))
        telemetry.gauge(TOTAL, labels, float(total))
        return Progress(done, total, rate, (total - done) / rate if rate else None)


def dead_letters(model: ReadModel, store: SwitchingStore) -> list[HeldRecord]:
    """The records that could not be applied to the rows beside, in order. Arguments: model: as it is declared."""
    held = beside(held_tables(model.runner).held)
    return [] if store.shown(held.name) is None else store.rows(held, {"failed": True})


def discarded(model: ReadModel, store: SwitchingStore) -> set[Place]:
    """The records that operators have discarded of the rows that queries find now."""
    shown = store.shown(model.tables[0].name)
    if shown is None:
        return set()
    audit = held_tables(shown.runner).audit
    if store.shown(audit.name) is None:
        return set()
    steps = store.rows(audit, {"step": "discarded"})
    return {(step.topic, step.partition, step.record_offset) for step in steps}


def partitions_of(model: ReadModel, log: Log) -> list[TopicPartition]:
    """The partitions that feed a read model."""
    topics = log.topics([topic.name for topic in model.topics])
    return [TopicPartition(topic.name, p) for topic in topics.values() for p in range(topic.partitions)]
