"""What stands for `threading`, `queue` and `concurrent.futures` in a simulation: the same names, in virtual time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

from headwater.testing.simulation.scheduler import Scheduler, Task

T = TypeVar("T")
R = TypeVar("R")


class Waiters:
    """Tasks that wait for the same."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._tasks: list[Task] = []

    def wait(self, timeout_s: float | None) -> bool:
        """Returns whether it was woken before the time was over."""
        task = self._scheduler.current
        self._tasks.append(task)
        try:
            return self._scheduler.wait(timeout_s)
        finally:
            if task in self._tasks:
                self._tasks.remove(task)

    def wake(self, most: int | None = None) -> None:
        """Wakes so many, or all."""
        count = len(self._tasks) if most is None else most
        woken, self._tasks = self._tasks[:count], self._tasks[count:]
        for task in woken:
            self._scheduler.wake(task)


class Lock:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._waiters = scheduler, Waiters(scheduler)
        self._locked = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        scheduler = self._scheduler
        scheduler.turn()
        if not self._locked:
            self._locked = True
            return True
        if not blocking:
            return False
        deadline_s = None if timeout < 0 else scheduler.now_s + timeout
        while self._locked:
            left_s = None if deadline_s is None else deadline_s - scheduler.now_s
            if left_s is not None and left_s <= 0:
                return False
            self._waiters.wait(left_s)
        self._locked = True
        return True

    def release(self) -> None:
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        self._locked = False
        self._waiters.wake(1)

    def locked(self) -> bool:
        return self._locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._lock = scheduler, Lock(scheduler)
        self._owner: Task | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._owner is not self._scheduler.current:
            if not self._lock.acquire(blocking, timeout):
                return False
            self._owner = self._scheduler.current
        self._count += 1
        return True

    def release(self) -> None:
        self._count -= 1
        if not self._count:
            self._owner = None
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Event:
    def __init__(self, scheduler: Scheduler) -> None:
        self._waiters, self._set = Waiters(scheduler), False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._waiters.wake()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._waiters.wait(timeout)
        return self._set


class Condition:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._lock, self._waiters = scheduler, Lock(scheduler), Waiters(scheduler)

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        deadline_s = None if timeout is None else self._scheduler.now_s + timeout
        while not predicate():
            left_s = None if deadline_s is None else deadline_s - self._scheduler.now_s
            if left_s is not None and left_s <= 0:
                return False
            self._lock.release()
            try:
                self._waiters.wait(left_s)
            finally:
                self._lock.acquire()
        return True

    def notify_all(self) -> None:
        self._waiters.wake()


class Thread:
    def __init__(
        self,
        scheduler: Scheduler,
        target: Callable[..., object] = lambda: None,
        args: Iterable[Any] = (),
        name: str = "thread",
    ) -> None:
        self._scheduler, self._target, self._args, self.name = scheduler, target, tuple(args), name
        self.task: Task | None = None

    def start(self) -> None:
        def body() -> None:
            self._target(*self._args)

        self.task = self._scheduler.spawn(body, self.name, self._scheduler.current.process)

    def is_alive(self) -> bool:
        return self.task is not None and not self.task.done

    def join(self, timeout: float | None = None) -> None:
        if self.task is not None and not self.task.done:
            self.task.ended.append(self._scheduler.current)
            self._scheduler.wait(timeout)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thread) and self.task is other.task

    def __hash__(self) -> int:
        return hash(self.task)


class Timer(Thread):
    """As `threading.Timer`, which the conformance suite uses."""

    def __init__(self, scheduler: Scheduler, interval: float, function: Callable[[], object]) -> None:
        def after() -> None:
            scheduler.sleep(interval)
            function()

        super().__init__(scheduler, after, name="timer")


class SimulatedThreading:
    """Stands for the module `threading`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def Lock(self) -> Lock:
        return Lock(self._scheduler)

    def RLock(self) -> RLock:
        return RLock(self._scheduler)

    def Event(self) -> Event:
        return Event(self._scheduler)

    def Condition(self) -> Condition:
        return Condition(self._scheduler)

    def Thread(
        self, *, target: Callable[..., object], args: Iterable[Any] = (), name: str = "thread", daemon: bool = False
    ) -> Thread:
        return Thread(self._scheduler, target, args, name)

    def Timer(self, interval: float, function: Callable[[], object]) -> Timer:
        return Timer(self._scheduler, interval, function)

    def current_thread(self) -> object:
        thread = Thread(self._scheduler)
        thread.task = self._scheduler.current
        return thread

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"threading.{name} has no double in the simulation; {threading.__name__} has it")


class SimpleQueue(Generic[T]):
    def __init__(self, scheduler: Scheduler) -> None:
        self._items: deque[T] = deque()
        self._waiters = Waiters(scheduler)

    def put(self, item: T) -> None:
        self._items.append(item)
        self._waiters.wake(1)

    def get(self) -> T:
        while not self._items:
            self._waiters.wait(None)
        return self._items.popleft()


class Future(Generic[T]):
    """What an administrative request is answered with."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._waiters, self._done = Waiters(scheduler), False
        self.others: list[Waiters] = []  # who waits for it or another
        self._result: T
        self._error: Exception | None = None

    def set(self, result: T | None, error: Exception | None) -> None:
        if not self._done:
            self._done, self._error = True, error
            self._result = result  # type: ignore[assignment] # read only where there is no error
            self._waiters.wake()
            for waiters in self.others:
                waiters.wake()

    def done(self) -> bool:
        return self._done

    def result(self, timeout: float | None = None) -> T:
        if not self._done:
            self._waiters.wait(timeout)
        if not self._done:
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result


def wait_for_first(scheduler: Scheduler, futures: Sequence[Future[Any]], timeout: float, return_when: str) -> None:
    """Stands for `concurrent.futures.wait`, which is asked for the first one only."""
    waiters = Waiters(scheduler)
    for future in futures:
        future.others.append(waiters)
    if not any(future.done() for future in futures):
        waiters.wait(timeout)
    for future in futures:
        future.others.remove(waiters)


class OneByOne:
    """Stands for a `ThreadPoolExecutor`: does the work in the calling thread."""

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        return False

    def map(self, what: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return [what(item) for item in items]
