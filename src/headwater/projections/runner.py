"""Runs a read model in the reading loop: batch in, one transaction of rows and positions out.

    batch -> gather (decode, keys) -> store.apply(load -> fold -> save, positions) -> a heartbeat

Where the store is a server, it works while we wait. So a large batch is brought there by a thread of its own, and the
next one is read and gathered meanwhile (see `readers.overlapping`).

The store's position is the truth; the group's committed position only follows it now and then, so that tools
of the log show the lag. What becomes of a record that cannot be read or whose handler fails is said by the read model's
policy: it is set aside (see `shelving`), or everything before it is committed and the loop stops there, and the note
in the store says why to other processes. A worker that waits for the log or the store to come back still runs, and its
note says for what it waits.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from headwater.environment import SYSTEM, Environment
from headwater.errors import Misuse, Unavailable
from headwater.log.port import Aborted, Batch, Fence, Fenced, Log, Positions, TopicPartition, Writer
from headwater.projections.applying import Applying
from headwater.projections.gathering import Gather
from headwater.projections.opening import open_tables
from headwater.projections.read_model import ReadModel
from headwater.projections.retrying import Retrying
from headwater.projections.seen import seen_by
from headwater.projections.shadow import straightened
from headwater.projections.shelving import Shelving
from headwater.projections.showing import Showing
from headwater.projections.waiting import HEARTBEAT_S, Progress, lives
from headwater.projections.worker_code import code_table, say_code
from headwater.readers.foreign import group_now
from headwater.readers.garbage import collection_waits
from headwater.readers.loop import ReadingLoop, Status
from headwater.readers.overlapping import Overlapping
from headwater.stores.port import RunnerNote, RunnerState, ServerStore, Store

logger = logging.getLogger("headwater.projections")

BATCH_RECORDS = 10_000
"""A row is written once per batch, however many of its events change it. Where there is little to do, it is short."""

SHADOW_S = 5.0


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
        self._away: Unavailable | None = None
        self._status: Status | None = None
        self._noted_s = self._shadowed_s = environment.monotonic_s()
        self._shadow: dict[TopicPartition, int] = {}
        self.notices: list[str] = []
        self._writer: Writer | None = None
        self._saying = threading.Lock()
        self._overlapping: Overlapping[Gather | None] | None = None
        if isinstance(store, ServerStore):
            self._overlapping = Overlapping(self, model.runner, self._followed_as, environment)
        self._seen = seen_by(model, store, environment)
        self._shelving = Shelving(model, log, store, environment)
        batch, again = partial(self._seen.apply, model.runner), partial(store.apply, model.runner)
        held, shelves = self._shelving.tables.held, self._shelving.shelves
        self._applying = Applying(model, batch, again, held, shelves, environment)
        self._retrying = Retrying(model, store, self._applying, self._shelving, environment)
        open_tables(model, log, store, [*self._seen.tables, code_table(model.runner)])
        self._showing = Showing(model, store)
        for note in store.notes(model.runner):  # what the dead said is of the past now
            if note.state != "running" or not lives(note, environment):
                store.note(model.runner, replace(note, state="stopped", failure=None))
        self._note()
        say_code(model, store, self._worker)

    def loop(self) -> ReadingLoop:
        """The loop that feeds it; waiting readers of this process are woken after each round."""
        loop = ReadingLoop(
            self._log,
            self.model.runner,
            [topic.name for topic in self.model.topics],
            self if self._overlapping is None else self._overlapping,
            name=self.model.runner,
            wake=self.round_ended,
            followed_as=self._followed_as if self._overlapping is None else None,
            batch_records=BATCH_RECORDS,
            lean=self._environment.tracing is None and not self.model.wants_envelopes,
            settled=None if self._overlapping is None else self._overlapping.settled,
            environment=self._environment,
        )
        self.follow(loop.status)
        return loop

    def follow(self, status: Status) -> None:
        """What the loop says of itself, which the notes in the store repeat."""
        self._status = status

    @property
    def _followed_as(self) -> str:
        return f"project {self.model.title}"

    @property
    def failures(self) -> Mapping[int, str]:
        """Partitions that are paused, and why."""
        return {tp.partition: str(pause.cause) for tp, pause in self._shelving.pauses.items()}

    def resumed(self) -> Positions:
        """Paused partitions in which there is room again."""
        return self.assigned(found) if (found := self._shelving.room()) else {}

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
        self._seen.forget(partitions)
        self._shelving.assigned(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)
            if partition in stored:
                self._positions[partition] = self._shadow[partition] = stored[partition]
        self._owned.update(partitions)
        if self._owned == set(partitions):
            self._away = None  # all is looked up now
        self._note()
        missing = [partition for partition in partitions if partition not in stored]
        begins = self._log.begins(missing) if missing else {}
        start = {partition: stored.get(partition, begins.get(partition, 0)) for partition in partitions}
        wrong, said = straightened(group_now(self._log, self.model.runner), start, self.model.title)
        self.notices = list(dict.fromkeys([*self.notices, *said]))
        self._shadow.update(wrong)
        return start

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._seen.forget(partitions)
        self._owned.difference_update(partitions)
        self._shelving.revoked(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)
            self._shadow.pop(partition, None)
        self._note()

    def idle(self, fence: Fence) -> None:
        """Raises: Unavailable: of the store; also when it was away since, for it may have lost what was committed last,
        and no batch is there that would notice."""
        if self._away is not None:
            away, self._away = self._away, None
            raise Unavailable(f"what {self.model.runner} has committed is looked up again: {away}")
        self._look()
        self._showing.look()
        self._serve(fence)
        self._commit_shadow(fence, HEARTBEAT_S)

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Raises: as `work`."""
        self.work(batch)
        self.worked(fence)

    @collection_waits()
    def prepare(self, batch: Batch) -> Gather | None:
        """Gathers a batch that is worked on afterwards. None: only the batch before can tell what it means."""
        return None if self._seen.tables or self._shelving.pauses else self.model.prepare(batch.records)

    @collection_waits()
    def work(self, batch: Batch, prepared: Gather | None = None) -> None:
        """Commits a batch to the store, and does nothing in the log. Arguments: prepared: what `prepare` has found.

        Raises: BadData, Failed: after what comes before the record was committed, where the policy stops there.
        Aborted: the store stands elsewhere. Misuse, Unavailable: of the store; nothing was committed."""
        pauses = self._shelving.pauses
        if pauses:
            batch.records = [one for one in batch.records if TopicPartition(one.topic, one.partition) not in pauses]
            batch.reached = {tp: position for tp, position in batch.reached.items() if tp not in pauses}
            prepared = None
        try:
            records = self._seen.sift(self._positions, batch.records)
            gathered = self.model.gather(records) if prepared is None else prepared()
            self._notice_reverts()
            gathered.refuse(self._seen.refused(gathered.calls))
            applied = self._applying.batch(self._positions, records, batch.reached, gathered)
            self._positions.update(applied.to)
            self._shelving.applied(applied)
            batch.reached = applied.to
            if self.model.on_failure.stops and applied.pauses:
                raise min(applied.pauses.items())[1].cause
        except (Aborted, Fenced, Unavailable):
            raise
        except BaseException as error:
            self._say("failed", f"{type(error).__name__}: {error}")
            raise
        self._showing.look()
        self._shadow.update(applied.to)
        self.progress.wake()

    def _notice_reverts(self) -> None:
        """Says it once that a revert was met that changes nothing here."""
        for entity in self.model.not_following:
            text = (
                f"read model {self.model.title} met a revert of {entity} and has no reaction to it: its rows stay as "
                "they were; say what it means for them with @hw.on(hw.Reverted)"
            )
            if text not in self.notices:
                self.notices.append(text)

    def worked(self, fence: Fence) -> None:
        """After a batch: what operators ask for, dead letters, and the group's positions."""
        self._serve(fence)
        self._commit_shadow(fence, SHADOW_S)

    def close(self) -> None:
        """Says that this worker is gone. A failure stays to be read."""
        if self._state != "failed":
            self._say("stopped", None)
        if self._overlapping is not None:
            self._overlapping.close()
        if self._writer is not None:
            self._writer.close()

    def _serve(self, fence: Fence) -> None:
        """Carries out what operators ask for, and writes dead letters to their topic."""
        self._retrying.look(self._positions)
        if self._shelving.to_publish and fence is not None:  # without a group nobody may write for it
            try:
                self._shelving.publish(self._own_writer(), self._positions, fence)
            except (Aborted, Fenced) as error:  # they wait in the store, for the next time or the next owner
                logger.debug("%s: dead letters were not published: %s", self.model.runner, error)

    def round_ended(self) -> None:
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
        with self._saying:
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
            self._away = error

    def _commit_shadow(self, fence: Fence, every_s: float) -> None:
        now_s = self._environment.monotonic_s()
        if not self._shadow or now_s - self._shadowed_s < every_s:
            return
        self._shadowed_s = now_s
        positions, self._shadow = self._shadow, {}
        try:
            self._own_writer().transact(lambda transaction: transaction.positions(self.model.runner, positions, fence))
        except (Aborted, Fenced) as error:  # only a shadow: the next time will do, or the next owner
            logger.debug("%s: the group's positions were not moved: %s", self.model.runner, error)
            self._shadow = positions

    def _own_writer(self) -> Writer:
        if self._writer is None:
            self._writer = self._log.writer(f"{self.model.runner}-positions-{self._worker}")
        return self._writer
