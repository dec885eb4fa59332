"""Whose turn it is to write: many threads, one at a time, and each time for all.

Who finds nobody at work leads: it carries out its own work and everything that others queued meanwhile, wakes
the others, and hands the lead to the first that came too late. A lone caller does all of it in its own thread
and wakes nobody.

    queued ──► carried out by the leader ──► done
       └─────► leads ──────────────────────► done
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from headwater.errors import Misuse, Unavailable


class Work:
    """Something to do when it is its turn. As a context it keeps what is raised for the one who waits.

    Arguments: act: what to do, with what the leader gives it; shared: whether it goes together with others.
    """

    __slots__ = ("act", "done", "error", "leads", "result", "shared", "turn")

    def __init__(self, act: Callable[[Any], Any], *, shared: bool) -> None:
        self.act, self.shared = act, shared
        self.result: Any = None
        self.error: Exception | None = None
        self.done = self.leads = False
        self.turn = threading.Lock()

    def __enter__(self) -> None:
        """Begins to keep errors."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
            return True
        return False


class Turns:
    """The queue in front of one resource. Thread-safe.

    Arguments: carry_out: called by the leader with all queued work; marks each as done, with its result or error;
    resource: its name, for messages.
    """

    def __init__(self, carry_out: Callable[[Sequence[Work]], None], resource: str) -> None:
        self._carry_out, self._resource = carry_out, resource
        self._queueing = threading.Lock()
        self._queue: deque[Work] = deque()
        self._led = False
        self._leader = 0
        self._release: Callable[[], None] | None = None

    def run(self, work: Work) -> Any:
        """Returns the work's result or raises its error, once it was carried out by this thread or another."""
        try:
            self._enqueue(work)
            if not work.leads:
                work.turn.acquire()
            if not work.done:
                self._lead()
        finally:
            if not work.done:  # interrupted, by Ctrl-C
                self._withdraw(work)
        if work.error is None:
            return work.result
        # The traceback refers to this frame: without this, both would live until the next collection.
        error, work.error = work.error, None
        raise error

    def _enqueue(self, work: Work) -> None:
        with self._queueing:
            work.done = True  # until it is queued, there is nothing to withdraw
            if self._release is not None:
                raise Misuse(f"{self._resource} was closed by this program: open it again")
            if self._leader == threading.get_ident():
                raise Misuse("a transaction cannot be written inside another: it would wait for itself")
            if self._led:
                work.turn.acquire()
            else:
                self._led = work.leads = True
            self._queue.append(work)
            work.done = False

    def _withdraw(self, work: Work) -> None:
        with self._queueing:
            if work in self._queue:
                self._queue.remove(work)
        if work.leads:
            self._hand_over([])

    def _lead(self) -> None:
        self._leader = threading.get_ident()
        with self._queueing:
            works = list(self._queue)
            self._queue.clear()
        try:
            self._carry_out(works)
        finally:
            self._hand_over(works)

    def _hand_over(self, works: Sequence[Work]) -> None:
        self._leader = 0
        for work in works:
            if not work.done:
                work.error = Unavailable(f"writing to {self._resource} was interrupted; nothing was written")
                work.done = True
            if not work.leads:
                work.turn.release()
        with self._queueing:
            if self._queue:
                heir = self._queue[0]
                heir.leads = True
                heir.turn.release()
            else:
                self._led = False
                if self._release is not None:
                    self._release()

    def close(self, release: Callable[[], None]) -> None:
        """Takes no more work, and releases the resource when what is queued was carried out."""
        with self._queueing:
            if self._release is None:
                self._release = release
                if not self._led:
                    release()
