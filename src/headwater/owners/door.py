"""The door of an owner for callers in its own process: a lock, a queue, and whose thread does the work.

A caller that finds the owner idle carries out its own command in its own thread. One that finds it busy leaves
its command in the queue and only waits for the answer; whoever is at work wakes the door's thread when it is
done, which carries out all that was left meanwhile. So commands share a commit exactly when they would have
waited for one, and a lone caller wakes nobody.

Callers that shared a commit come back together, and the first of them would lead a commit for itself alone. So
a batch waits until as many commands are there as there were callers around the one before, a millisecond at most.

That nothing stays in the queue unseen rests on two orders: a caller queues before it tries the lock, and the lock's
holder looks at the queue after it released it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType

from headwater.owners.arriving import Arrived

BATCH_COMMANDS = 1000
PATIENCE_S = 0.001


class Signal:
    """Wakes one waiting thread, now or as soon as it waits; several signals are one. In C but for this class."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def give(self) -> None:
        if self._lock.locked():
            try:
                self._lock.release()
            except RuntimeError:
                return  # another thread gave it meanwhile

    def take_back(self) -> None:
        self._lock.acquire(blocking=False)

    def wait(self, timeout_s: float = -1) -> None:
        self._lock.acquire(timeout=timeout_s)


class Door:
    """As a context manager, the lock that protects the owner. Thread-safe.

    Arguments: carry_out: takes a batch from the queue; called with the lock held. name: of the thread.
    """

    def __init__(self, carry_out: Callable[[list[Arrived]], None], name: str) -> None:
        self._carry_out, self._name = carry_out, name
        self._lock = threading.Lock()
        self._queue: deque[Arrived] = deque()
        self._crowd = 1  # how many callers there were around the last batch, in it or behind it
        self._wanted, self._complete = Signal(), Signal()
        self._thread: threading.Thread | None = None
        self._closing = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if self._queue:
            self._wanted.give()

    def submit(self, commands: Iterable[Arrived]) -> None:
        """Queues commands, and carries them out in this thread if nobody is at work."""
        self._queue.extend(commands)
        if self._lock.acquire(blocking=False):
            try:
                self._take()
            finally:
                self.__exit__(None, None, None)
        elif len(self._queue) >= self._crowd:
            self._complete.give()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, after what is queued was carried out."""
        self._closing = True
        self._wanted.give()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            while self._queue:
                with self._lock:
                    self._take()
            if self._closing:
                return

    def _take(self) -> None:
        """One batch. The lock is held."""
        queue, crowd = self._queue, self._crowd
        if len(queue) < crowd:
            self._complete.take_back()
            if len(queue) < crowd:
                self._complete.wait(PATIENCE_S)
        work: list[Arrived] = []
        while queue and len(work) < BATCH_COMMANDS:
            work.append(queue.popleft())
        if work:
            self._carry_out(work)
        self._crowd = len(work) + len(queue)
