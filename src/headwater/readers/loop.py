"""The loop: a group member read on one thread, with a handler that turns batches into transactions.

    read -> (revoked: forget) -> (assigned: restore, start) -> batch + fence -> handler commits both or neither

Nothing is in flight while the member is read, so a partition is never taken away under an open transaction.
`Aborted` means the batch is done again from where the handler says; `Fenced` means that somebody else owns
the partitions, so what is known of them is dropped. `Unavailable` is waited out, in pauses that grow and of which a
part is left to chance, so that many readers do not come back in the same moment; the status shows it. Anything else is
a fault of the handler or of the data: the loop stops, says why in its status and in the log of the process, and keeps
its place; nothing is skipped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from headwater.environment import SYSTEM, Environment, logged
from headwater.errors import BadData, Failed, HeadwaterError, Unavailable, without_payload
from headwater.failures.parking import trouble_of
from headwater.log.port import Aborted, Batch, Fence, Fenced, Member, Positions, TopicPartition
from headwater.readers.following import followed
from headwater.readers.overlapping import Overlapping
from headwater.readers.status import Done, State, Step
from headwater.readers.status import Status as Status

logger = logging.getLogger("headwater.readers")

READ_S = 0.1
"""How long a round waits for records, and so how long stopping may take."""

FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 5.0
"""How long is waited after `Unavailable`, at most: twice as long each time, until a round succeeds."""

FAILURES = "headwater_failures_total"
"""Of records, by group and stage: these cannot be read, or a handler fails at them."""


class BatchHandler(Protocol):
    """What the loop feeds. All calls come from the loop's thread."""

    @property
    def failures(self) -> Mapping[int, str]:
        """Partitions that a handler does not go on with, by itself, and why: it leaves them and does the others."""
        ...

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        """Restores what is needed for newly owned partitions and says where reading starts."""
        ...

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Forgets what is known of partitions that are not owned any more."""
        ...

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Commits the effects of the batch and `batch.reached` together."""
        ...

    def idle(self, fence: Fence) -> None:
        """Called when a read brought nothing, and after an assignment: the fence is the newest."""
        ...

    def resumed(self) -> Positions:
        """Partitions that it had left and goes on with from now on, and from where. Asked after each round."""
        ...


class Pausing(Protocol):
    """Where records are set aside."""

    @property
    def pauses(self) -> Mapping[TopicPartition, object]:
        """Partitions that are left since no more can be set aside there, and why."""
        ...


class Groups(Protocol):
    """What a loop needs of a log."""

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> Member:
        """See `Log.member`."""
        ...


class ReadingLoop:
    """Runs a handler in a group until stopped.

    Arguments: log, group, topics: what is read; name: shown in statuses, logs and client ids; handler; wake:
    called after each round, so that waiting readers can look again; prepare: called each time before the group is
    joined, with a function that says whether to give up; followed_as: what a batch is called in traces (None: the
    handler follows what it does by itself); batch_records: upper bound of a batch; lean: see `Log.member`; settled: of
    a handler that goes on with a batch after `handle` has come back: the batches committed since it was asked last;
    held: where the handler sets records aside, which tells by itself where it pauses.
    """

    def __init__(
        self,
        log: Groups,
        group: str,
        topics: Sequence[str],
        handler: BatchHandler,
        *,
        name: str,
        wake: Callable[[], None] = lambda: None,
        prepare: Callable[[Callable[[], bool]], None] = lambda stopped: None,
        followed_as: str | None = None,
        batch_records: int = 2000,
        lean: bool = False,
        settled: Callable[[], Sequence[Done]] | None = None,
        held: Pausing | None = None,
        environment: Environment = SYSTEM,
    ) -> None:
        self._settled, self._held = settled, held
        self._log, self._group, self._topics, self._handler = log, group, list(topics), handler
        self._wake, self._batch_records, self._environment = wake, batch_records, environment
        self._prepare, self._followed_as, self._lean = prepare, followed_as, lean
        self._stop = threading.Event()
        self._pause_s = FIRST_PAUSE_S
        self.status = Status(name, step_s=environment.monotonic_s())

    @property
    def group(self) -> str:
        """Whose positions they are."""
        return self._group

    @property
    def topics(self) -> Sequence[str]:
        """What is read."""
        return tuple(self._topics)

    @property
    def worker(self) -> threading.Thread | None:
        """The thread on which its work gets on, or does not; None: see `Status.thread`."""
        handler = self._handler
        return (handler.worker if isinstance(handler, Overlapping) else None) or self.status.thread

    def start(self) -> None:
        thread = threading.Thread(target=self._run, name=self.status.name, daemon=True)
        thread.start()
        self.status.thread = thread

    def ask_to_stop(self) -> None:
        """Makes the loop end after the batch under way, without waiting for it."""
        self._stop.set()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Leaves the group after the batch under way. Idempotent."""
        self._stop.set()
        thread = self.status.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            member: Member | None = None
            try:
                member = self.join()
                while not self._stop.is_set():
                    self.turn(member)
            except Unavailable as error:
                self._note("retrying", error)
            except HeadwaterError as error:
                self._note("failed", error)
                return
            except Exception as error:
                self._note("failed", error)
                logger.exception("%s stopped", self.status.name)
                return
            finally:
                self._leave(member)
            self._at("pauses")
            self._stop.wait(with_jitter(self._pause_s, self._environment))
            self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)
        self.status.state = "stopped"
        self._log_state("reader_stopped", logging.INFO)

    def _leave(self, member: Member | None) -> None:
        """Gives back what is owned. What is unavailable when it is left must not end the loop: the group drops a
        silent member by itself."""
        for part in (self._forget, *([] if member is None else [member.close]), self._wake):
            try:
                part()
            except Exception:
                logger.warning("%s could not leave its group in order", self.status.name, exc_info=True)

    def join(self) -> Member:
        """Joins the group. For `turn`; a loop that was started does so by itself."""
        self._at("joins its group")
        self._prepare(self._stop.is_set)
        return self._log.member(self._group, self._topics, name=self.status.name, lean=self._lean)

    def turn(self, member: Member, timeout_s: float = READ_S) -> bool:
        """One round: reads once and handles what came. Returns whether anything did.

        Arguments: timeout_s: how long to wait for it. Raises: what the handler and the log raise, except for
        Aborted and Fenced, which are part of the work.
        """
        self._at("reads")
        batch = member.read(self._batch_records, timeout_s)
        if batch.revoked:
            self._lose(batch.revoked)
        if batch.assigned:
            self._gain(member, batch.assigned)
        if self.status.state != "running":
            self.status.state = "running"
            self._log_state("reader_running", logging.INFO)
        if batch.records or batch.reached:
            self._handle(member, batch)
            self._hear()
            self._wake()
        elif not batch.assigned:
            self._at("is between batches")
            self._handler.idle(member.fence())
            self._hear()
        resumed = self._handler.resumed()
        if resumed:
            member.start(resumed)
        self._look_left()
        if not batch.assigned:  # to be given partitions says nothing yet about the work on them
            self._pause_s = FIRST_PAUSE_S
            self.status.rounds += 1
        return bool(batch.records or batch.reached or batch.assigned)

    def _gain(self, member: Member, partitions: Sequence[TopicPartition]) -> None:
        status = self.status
        self._at("is given partitions")
        try:
            starts = self._handler.assigned(partitions)
        except BaseException:  # what it has taken in of them by now is no more true when it is given them again
            self._handler.revoked(partitions)
            raise
        member.start(starts)
        self._hear()
        if not status.owned:
            status.reached = {}  # of what it owned before it left its group, others may own a part now
        status.reached = {**status.reached, **starts}
        status.owned |= set(partitions)
        self._log_partitions("partitions_assigned", partitions)
        self._handler.idle(member.fence())

    def _lose(self, partitions: Sequence[TopicPartition]) -> None:
        status = self.status
        status.owned -= set(partitions)
        self._log_partitions("partitions_revoked", partitions)
        try:
            self._handler.revoked(partitions)
        finally:
            self._hear()
            status.reached = {tp: position for tp, position in status.reached.items() if tp in status.owned}

    def _handle(self, member: Member, batch: Batch) -> None:
        records = batch.records
        count, newest = len(records), records[-1] if records else None
        self._at("is at a batch")
        begun_s = self.status.step_s
        try:
            if self._followed_as is None or self._environment.tracing is None:
                self._handler.handle(batch, member.fence())
            else:
                with followed(self._environment.tracing, self._followed_as, records):
                    self._handler.handle(batch, member.fence())
        except Aborted as error:
            self._note_abort(error)
            partitions = list(batch.reached)
            self._handler.revoked(partitions)
            member.start(self._handler.assigned(partitions))
        except Fenced as error:
            # The next read brings the revocation, or the new assignment; until then nothing is delivered.
            self._note_abort(error)
            self._handler.revoked(list(batch.reached))
        else:
            if self._settled is None:
                took_s = self._environment.monotonic_s() - begun_s
                self.status.add(Done(batch.reached, count, newest, took_s))

    def _hear(self) -> None:
        """Counts what a handler has committed after it had come back."""
        for done in self._settled() if self._settled is not None else ():
            self.status.add(done)

    def _forget(self) -> None:
        owned, self.status.owned = self.status.owned, frozenset()
        if owned:
            self._handler.revoked(sorted(owned))
        self._hear()
        self._look_left()

    def _look_left(self) -> None:
        paused = frozenset(tp.partition for tp in (self._held.pauses if self._held is not None else ()))
        self.status.paused |= paused  # who looks now never sees one of these in `stopped` only
        self.status.stopped = dict(self._handler.failures)
        self.status.paused = paused

    def _note(self, state: State, error: Exception) -> None:
        text, status = f"{type(error).__name__}: {error}", self.status
        if status.last_failure != text:
            fields = {"error": type(error).__name__, "reason": without_payload(error), "reader": status.name}
            logger.error("%s: %s", status.name, text, extra=logged(f"reader_{state}", details=text, **fields))
        status.last_failure, status.failed_at = text, without_payload(error)
        status.failures += 1
        if isinstance(error, BadData | Failed):
            self._environment.telemetry.count(FAILURES, {"group": self._group, "stage": trouble_of(error).stage})
        status.state = state  # last: who sees that it has ended finds out why

    def _note_abort(self, error: HeadwaterError) -> None:
        self.status.last_failure, self.status.failed_at = str(error), without_payload(error)
        self.status.failures += 1

    def _at(self, step: Step) -> None:
        self.status.step, self.status.step_s = step, self._environment.monotonic_s()

    def _log_state(self, event: str, level: int) -> None:
        logger.log(level, "%s: %s", self.status.name, event, extra=logged(event, reader=self.status.name))

    def _log_partitions(self, event: str, partitions: Sequence[TopicPartition]) -> None:
        names = " ".join(map(str, sorted(partitions)))
        fields = {"reader": self.status.name, "group": self._group, "partitions": names}
        logger.info("%s: %s: %s", self.status.name, event, names, extra=logged(event, **fields))


def with_jitter(pause_s: float, environment: Environment) -> float:
    """Between a half and the whole of a pause; the end of an id is left to chance."""
    return pause_s * (0.5 + int(environment.new_id()[-4:], 16) / 0x20000)
