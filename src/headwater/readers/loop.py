"""The loop: a group member read on one thread, with a handler that turns batches into transactions.

    read -> (revoked: forget) -> (assigned: restore, start) -> batch + fence -> handler commits both or neither

Nothing is in flight while the member is read, so a partition is never taken away under an open transaction.
`Aborted` means the batch is done again from where the handler says; `Fenced` means that somebody else owns
the partitions, so what is known of them is dropped. `Unavailable` is waited out with growing pauses and shown
in the status. Anything else is a fault of the handler or of the data: the loop stops, says why in its status
and in the log of the process, and keeps its place; nothing is skipped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from headwater.environment import SYSTEM, Environment
from headwater.errors import HeadwaterError, Unavailable
from headwater.log.port import Aborted, Batch, Fence, Fenced, Log, Member, Positions, TopicPartition

logger = logging.getLogger("headwater.readers")

READ_S = 0.1
"""How long a round waits for records, and so how long stopping may take."""

FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 5.0
"""How long is waited after `Unavailable`: twice as long each time, until a round succeeds."""

State = Literal["starting", "running", "retrying", "failed", "stopped"]


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


@dataclass(slots=True)
class Status:
    """What a reader is doing, for whoever asks why something is late. Written by the loop, read by anybody.

    `stopped` has the partitions that the handler left while it goes on with the others, and why (see `BatchHandler`).
    `thread` is the one that it runs on; None: it was not started, or somebody else takes its turns.
    """

    name: str
    state: State = "starting"
    last_failure: str | None = None
    owned: frozenset[TopicPartition] = frozenset()
    reached: dict[TopicPartition, int] = field(default_factory=dict)
    stopped: dict[int, str] = field(default_factory=dict)
    thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        if self.thread is not None and not self.thread.is_alive():
            return False
        return self.state in ("starting", "running", "retrying")


class ReadingLoop:
    """Runs a handler in a group until stopped.

    Arguments: log, group, topics: what is read; name: shown in statuses, logs and client ids; handler; wake:
    called after each round, so that waiting readers can look again; prepare: called each time before the group is
    joined, with a function that says whether to give up; batch_records: upper bound of a batch.
    """

    def __init__(
        self,
        log: Log,
        group: str,
        topics: Sequence[str],
        handler: BatchHandler,
        *,
        name: str,
        wake: Callable[[], None] = lambda: None,
        prepare: Callable[[Callable[[], bool]], None] = lambda stopped: None,
        batch_records: int = 2000,
        environment: Environment = SYSTEM,
    ) -> None:
        self._log, self._group, self._topics, self._handler = log, group, list(topics), handler
        self._wake, self._batch_records, self._environment = wake, batch_records, environment
        self._prepare = prepare
        self._stop = threading.Event()
        self._pause_s = FIRST_PAUSE_S
        self.status = Status(name)

    @property
    def topics(self) -> Sequence[str]:
        """What is read."""
        return tuple(self._topics)

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
            self._stop.wait(self._pause_s)
            self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)
        self.status.state = "stopped"

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
        self._prepare(self._stop.is_set)
        return self._log.member(self._group, self._topics, name=self.status.name)

    def turn(self, member: Member, timeout_s: float = READ_S) -> bool:
        """One round: reads once and handles what came. Returns whether anything did.

        Arguments: timeout_s: how long to wait for it. Raises: what the handler and the log raise, except for
        Aborted and Fenced, which are part of the work.
        """
        batch = member.read(self._batch_records, timeout_s)
        if batch.revoked:
            self.status.owned -= set(batch.revoked)
            self._handler.revoked(batch.revoked)
        if batch.assigned:
            member.start(self._handler.assigned(batch.assigned))
            self.status.owned |= set(batch.assigned)
            self._handler.idle(member.fence())
        self.status.state = "running"
        if batch.records or batch.reached:
            self._handle(member, batch)
            self._wake()
        elif not batch.assigned:
            self._handler.idle(member.fence())
        self.status.stopped = dict(self._handler.failures)
        if not batch.assigned:  # to be given partitions says nothing yet about the work on them
            self._pause_s = FIRST_PAUSE_S
        return bool(batch.records or batch.reached or batch.assigned)

    def _handle(self, member: Member, batch: Batch) -> None:
        try:
            self._handler.handle(batch, member.fence())
        except Aborted as error:
            self.status.last_failure = str(error)
            partitions = list(batch.reached)
            self._handler.revoked(partitions)
            member.start(self._handler.assigned(partitions))
        except Fenced as error:
            # The next read brings the revocation, or the new assignment; until then nothing is delivered.
            self.status.last_failure = str(error)
            self._handler.revoked(list(batch.reached))
        else:
            self.status.reached.update(batch.reached)

    def _forget(self) -> None:
        owned, self.status.owned = self.status.owned, frozenset()
        if owned:
            self._handler.revoked(sorted(owned))
        self.status.stopped = dict(self._handler.failures)

    def _note(self, state: State, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if self.status.last_failure != text:
            logger.error("%s: %s", self.status.name, text)
        self.status.state, self.status.last_failure = state, text
