"""Runs a read model in the reading loop: batch in, one transaction of rows and positions out.

    batch -> gather (decode, keys) -> store.apply(load -> fold -> save, positions) -> a heartbeat

The store's position is the truth; the group's committed position only follows it now and then, so that tools
of the log show the lag. At a record that cannot be read or whose handler fails, everything before it is
committed first; then the loop stops there, and the note in the store says why to other processes. A worker that
waits for the log or the store to come back still runs, and its note says for what it waits.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from headwater.environment import SYSTEM, Environment
from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.port import Aborted, Batch, Fence, Fenced, Log, Positions, Record, TopicPartition, Writer
from headwater.projections.folding import Call, Stopped, fold, fold_one_by_one
from headwater.projections.gathering import Gathered
from headwater.projections.read_model import ReadModel
from headwater.projections.waiting import HEARTBEAT_S, Progress, lives
from headwater.readers.loop import ReadingLoop, Status
from headwater.stores.port import RunnerNote, RunnerState, Store

logger = logging.getLogger("headwater.projections")

BATCH_RECORDS = 10_000
"""A row is written once per batch, however many of its events change it. Where there is little to do, it is short."""

SHADOW_S = 5.0

Stops = dict[TopicPartition, tuple[int, HeadwaterError]]


class ProjectionRunner:
    """A `BatchHandler` that keeps one read model. Makes its tables in the store.

    Arguments: model; log; store; worker: names this process among those that share the runner; environment.
    Raises: Misuse: the shape of a table changed without a new version, or the store belongs to another log.
    """

    def __init__(
        self, model: ReadModel, log: Log, store: Store, *, worker: str = "", environment: Environment = SYSTEM
    ) -> None:
        self.model, self.progress = model, Progress()
        self._log, self._store, self._environment = log, store, environment
        self._worker = f"{socket.gethostname()}/{os.getpid()}/{worker or environment.new_id()}"
        self._positions: dict[TopicPartition, int] = {}
        self._owned: set[TopicPartition] = set()
        self._state: RunnerState = "running"
        self._failure: str | None = None
        self._status: Status | None = None
        self._noted_s = self._shadowed_s = environment.monotonic_s()
        self._shadow: dict[TopicPartition, int] = {}
        self._writer: Writer | None = None
        open_tables(model, log, store)
        for note in store.notes(model.runner):  # what the dead said is of the past now
            if note.state != "running" or not lives(note, environment):
                store.note(model.runner, replace(note, state="stopped", failure=None))
        self._note()

    def loop(self) -> ReadingLoop:
        """The loop that feeds it; waiting readers of this process are woken after each round."""
        loop = ReadingLoop(
            self._log,
            self.model.runner,
            [topic.name for topic in self.model.topics],
            self,
            name=self.model.runner,
            wake=self._round_ended,
            batch_records=BATCH_RECORDS,
            environment=self._environment,
        )
        self._status = loop.status
        return loop

    @property
    def failures(self) -> Mapping[int, str]:
        """None: what it cannot go on with stops all of it."""
        return {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        """Where the store stands; the beginning, where it never was."""
        stored = self._store.positions(self.model.runner)
        ends = self._log.ends(partitions, committed=False)
        for partition in partitions:
            if stored.get(partition, 0) > ends[partition]:
                raise Misuse(
                    f"read model {self.model.title} has read {partition} up to {stored[partition]}, but it ends at "
                    f"{ends[partition]}: the topic was made anew. Delete the store; it is made again from the log"
                )
            self._positions.pop(partition, None)
            if partition in stored:
                self._positions[partition] = self._shadow[partition] = stored[partition]
        self._owned.update(partitions)
        self._note()
        missing = [partition for partition in partitions if partition not in stored]
        begins = self._log.begins(missing) if missing else {}
        return {partition: stored.get(partition, begins.get(partition, 0)) for partition in partitions}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._owned.difference_update(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)
            self._shadow.pop(partition, None)
        self._note()

    def idle(self, fence: Fence) -> None:
        self._look()
        self._commit_shadow(fence, HEARTBEAT_S)

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Raises: BadData, Failed: after what comes before the record was committed. Aborted: the store stands
        elsewhere. Misuse, Unavailable: of the store; nothing was committed."""
        try:
            calls, stops = self._gather(batch.records)
            self._apply(batch.reached, calls, stops)
            if stops:
                raise min(stops.items())[1][1]
        except (Aborted, Fenced, Unavailable):
            raise
        except BaseException as error:
            self._say("failed", f"{type(error).__name__}: {error}")
            raise
        self._shadow.update(batch.reached)
        self._commit_shadow(fence, SHADOW_S)

    def close(self) -> None:
        """Says that this worker is gone. A failure stays to be read."""
        if self._state != "failed":
            self._say("stopped", None)
        if self._writer is not None:
            self._writer.close()

    def _gather(self, records: Sequence[Record]) -> Gathered:
        """Topic by topic; the order within each partition is kept."""
        topics = self.model.topics
        if len(topics) == 1:
            return topics[0].gather(records)
        calls: list[Call] = []
        stops: Stops = {}
        for topic in topics:
            gathered = topic.gather([record for record in records if record.topic == topic.name])
            calls += gathered.calls
            stops |= gathered.stops
        return Gathered(calls, stops)

    def _apply(self, reached: Positions, calls: list[Call], stops: Stops) -> None:
        """Commits the calls before all stops; a handler that fails becomes a stop of its own.

        Each attempt begins with the rows as they are stored: what a failed one has changed is rolled back. Where the
        store refuses a row, the next attempt looks after which event it came there.
        """
        way = fold
        while True:
            to = {partition: stops[partition][0] if partition in stops else n for partition, n in reached.items()}
            part = [call for call in calls if before(call, stops)] if stops else calls
            try:
                work = partial(way, schemas=self.model.tables, calls=part)
                self._store.apply(self.model.runner, self._positions, to, work)
            except Stopped as stopped:
                record = stopped.record
                stops[TopicPartition(record.topic, record.partition)] = record.offset, stopped.cause
            except Misuse:
                if way is fold_one_by_one:
                    raise
                way = fold_one_by_one
            else:
                self._positions.update(to)
                return

    def _round_ended(self) -> None:
        """What stopped the loop, or what it waits for, is known in the store before who waits here looks again."""
        self._look()
        self.progress.wake()

    def _look(self) -> None:
        """Says in the store what the loop says of itself. A failure is over with the first success, not with the next
        attempt."""
        status = self._status
        if status is not None and status.state in ("failed", "retrying"):
            self._say("failed" if status.state == "failed" else "running", status.last_failure)
        else:
            self._say("running", None)

    def _say(self, state: RunnerState, failure: str | None) -> None:
        """Notes what is new at once, and what is not with the next heartbeat."""
        if (self._state, self._failure) != (state, failure):
            self._state, self._failure = state, failure
            self._note()
        else:
            self._beat()

    def _beat(self) -> None:
        if self._environment.monotonic_s() - self._noted_s >= HEARTBEAT_S:
            self._note()

    def _note(self) -> None:
        self._noted_s = self._environment.monotonic_s()
        failure = self._failure and self._failure.encode(errors="backslashreplace").decode()  # words of anybody
        note = RunnerNote(self._worker, self._state, failure, self._environment.now(), frozenset(self._owned))
        try:
            self._store.note(self.model.runner, note)
        except Unavailable as error:  # others take this worker for dead then; its work must not end with its note
            logger.warning("%s cannot say that it is %s: %s", self.model.runner, self._state, error)

    def _commit_shadow(self, fence: Fence, every_s: float) -> None:
        now_s = self._environment.monotonic_s()
        if not self._shadow or now_s - self._shadowed_s < every_s:
            return
        self._shadowed_s = now_s
        positions, self._shadow = self._shadow, {}
        if self._writer is None:
            self._writer = self._log.writer(f"{self.model.runner}-positions-{self._worker}")
        try:
            self._writer.transact(lambda transaction: transaction.positions(self.model.runner, positions, fence))
        except (Aborted, Fenced) as error:  # only a shadow: the next time will do, or the next owner
            logger.debug("%s: the group's positions were not moved: %s", self.model.runner, error)
            self._shadow = positions


def before(call: Call, stops: Stops) -> bool:
    record = call[0]
    stop = stops.get(TopicPartition(record.topic, record.partition))
    return stop is None or record.offset < stop[0]


def open_tables(model: ReadModel, log: Log, store: Store) -> None:
    """Makes the tables of a read model where they are missing, for the process that maintains it.

    Raises: Misuse: the shape of a table changed without a new version, or the store is of another log.
    """
    store.bind(log.id)
    try:
        code = store.open_tables(model.runner, model.tables, model.code)
    except Misuse:
        if not model.remade:
            raise
        code = ""
    if code == model.code:
        return
    if model.remade:
        logger.info("%s has changed: its table is made again from the log", model.title)
        store.forget(model.runner)
        store.open_tables(model.runner, model.tables, model.code)
        return
    logger.warning(
        "the code of read model %s changed, but its rows were made by the old code: declare it with version=%d to "
        "make them again, or leave it if the rows would be the same",
        model.title,
        max(table.version for table in model.tables) + 1,
    )
