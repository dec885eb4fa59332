"""A batch is worked on while the next one is read: for handlers that keep their positions in a store of their own.

    read 1 ─► read 2, prepare 2 ─► wait for 1 ─► read 3, prepare 3 ─► …
              work 1                              work 2

At most one batch is under way, so the order stays. Everything else that the loop asks of the handler waits for it: a
partition is never forgotten, or read from elsewhere, under a batch that is being worked on. A group may give one away
meanwhile: then the store decides, which compares positions in the transaction of the batch. What fails in a batch is
raised when the loop comes back, and the batch that was read since is dropped. `Aborted` and `Fenced` become
`Unavailable` then, since they concern the batch before: the loop leaves its group and goes on from what is stored.

A batch of few records is worked on at once, in the loop's thread: there is little to read meanwhile, and what is read
early would lie there until this one is done, and be worked on without what has come since.

The loop hears of a batch by `settled`, when it is committed and not when it was handed over: what it tells of
positions, records and lag is never ahead of what is stored.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.log.port import Aborted, Batch, Fence, Fenced, Positions, TopicPartition
from headwater.readers.following import followed
from headwater.readers.garbage import collection_waits
from headwater.readers.status import Done

FEW = 1_000
"""So many records are read, and made records of, in less time than the smallest transaction takes."""

P = TypeVar("P")


class Splitting(Protocol[P]):
    """A `BatchHandler` whose work on a batch can be done on another thread."""

    @property
    def failures(self) -> Mapping[int, str]: ...

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions: ...

    def revoked(self, partitions: Sequence[TopicPartition]) -> None: ...

    def idle(self, fence: Fence) -> None: ...

    def resumed(self) -> Positions: ...

    def prepare(self, batch: Batch) -> P:
        """What can be done with a batch while the one before is worked on: what does not rest on that one."""
        ...

    def work(self, batch: Batch, prepared: P) -> None:
        """Commits the effects of a batch with its positions, and touches nothing of the log."""
        ...

    def worked(self, fence: Fence) -> None:
        """What is to be done in the log after a batch, on the loop's thread."""
        ...


class UnderWay(Generic[P]):
    """A batch that is worked on. `over`: whether that has come to an end, good or bad. Until then the garbage collector
    waits, also while the batch is handed from thread to thread: it would look through all of it."""

    def __init__(self, batch: Batch, prepared: P) -> None:
        self.batch, self.prepared = batch, prepared
        self.over = threading.Event()
        self.done: Done | None = None
        self.error: Exception | None = None
        self._waits = ExitStack()
        self._waits.enter_context(collection_waits())

    def end(self) -> None:
        self._waits.close()
        self.over.set()

    def wait(self) -> Done:
        """Until it is over. Raises: what the work has raised. Unavailable: its thread has ended."""
        self.over.wait()
        if self.error is not None:
            raise self.error
        if self.done is None:
            raise Unavailable("the thread that worked on a batch has ended")
        return self.done


class Overlapping(Generic[P]):
    """A `BatchHandler` around another one.

    Arguments: handler; name: of the thread that works, which does not keep the process from ending; followed_as: what
    the work on a batch is called in traces, which the loop is not told then; environment: the clock and traces.
    """

    def __init__(self, handler: Splitting[P], name: str, followed_as: str, environment: Environment) -> None:
        self._handler, self._followed_as, self._environment = handler, followed_as, environment
        self._name = f"{name}-works"
        self._thread: threading.Thread | None = None
        self._given: SimpleQueue[UnderWay[P] | None] = SimpleQueue()
        self._under_way: UnderWay[P] | None = None
        self._settled: list[Done] = []
        self._failures: Mapping[int, str] = {}
        self._working = False

    @property
    def busy(self) -> bool:
        """Whether a batch is being worked on."""
        return self._under_way is not None and not self._under_way.over.is_set()

    @property
    def worker(self) -> threading.Thread | None:
        """The thread that works on a batch now; None: none does, or it is the loop's own."""
        return self._thread if self._working else None

    @property
    def failures(self) -> Mapping[int, str]:
        return self._failures

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        self._settle()
        return self._handler.assigned(partitions)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        try:
            self._settle()
        finally:
            self._handler.revoked(partitions)

    @collection_waits()
    def handle(self, batch: Batch, fence: Fence) -> None:
        """Raises: what the batch before has raised, or this one, where it is worked on at once."""
        prepared = self._handler.prepare(batch)
        if self._settle():
            self._handler.worked(fence)
        if len(batch.records) < FEW:
            try:
                self._settled.append(self._work(batch, prepared))
            finally:
                self._failures = dict(self._handler.failures)
            self._handler.worked(fence)
            return
        self._under_way = UnderWay(batch, prepared)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work_on, name=self._name, daemon=True)
            self._thread.start()
        self._given.put(self._under_way)

    def idle(self, fence: Fence) -> None:
        self._settle()
        self._handler.idle(fence)

    def resumed(self) -> Positions:
        return {} if self.busy else self._handler.resumed()

    def settled(self) -> list[Done]:
        """The batches that were committed since this was asked last."""
        settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Ends the thread, after the batch under way."""
        self._given.put(None)

    def _work_on(self) -> None:
        while (given := self._given.get()) is not None:
            self._working = True
            try:
                given.done = self._work(given.batch, given.prepared)
            except Exception as error:  # noqa: BLE001 -- raised again where the loop comes back
                given.error = error
            finally:
                self._working = False
                given.end()

    def _work(self, batch: Batch, prepared: P) -> Done:
        count, newest = len(batch.records), batch.records[-1] if batch.records else None
        begun_s, tracing = self._environment.monotonic_s(), self._environment.tracing
        if tracing is None:
            self._handler.work(batch, prepared)
        else:
            with followed(tracing, self._followed_as, batch.records):
                self._handler.work(batch, prepared)
        return Done(dict(batch.reached), count, newest, self._environment.monotonic_s() - begun_s)

    def _settle(self) -> bool:
        """Waits for the batch under way. Returns whether there was one. Raises: what it has raised."""
        if self._under_way is None:
            return False
        under_way, self._under_way = self._under_way, None
        try:
            self._settled.append(under_way.wait())
        except (Aborted, Fenced) as error:
            raise Unavailable(f"the batch before was not committed: {error}") from error
        finally:
            self._failures = dict(self._handler.failures)
        return True
