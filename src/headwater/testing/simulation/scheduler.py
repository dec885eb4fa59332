"""The scheduler: one seed decides who goes on next and when time passes.

Tasks are threads, and exactly one of them has the baton. A task gives it away only where the simulated world can make
it wait: at a lock, an event, a sleep, a call of the client library. Then the scheduler draws the next task among
those that are ready; if none is, time jumps to the next timer. Nothing waits for real, and the same seed makes the
same choices, so a run can be repeated as often as somebody wants to look at it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenlet import getcurrent, greenlet

STEP_S = 20e-6
"""What a turn of a task costs in virtual time: without it, who only looks again and again would stop the clock."""

TURNS = 2_000_000
"""A run that takes more turns does not come to an end."""


class Killed(BaseException):
    """Ends a task of a process that was killed: nothing that it still does reaches the world."""


class Stuck(AssertionError):
    """Everybody waits and no timer is left, or nobody ever comes to an end."""


class Process:
    """A simulated process: what is killed or stopped together. `machine`: its host's name."""

    def __init__(self, name: str) -> None:
        self.name = self.machine = name
        self.alive = True
        self.stopped = False
        self.held: list[Task] = []

    def __str__(self) -> str:
        return self.name


class Task:
    """A thread of a process, to headwater. `stack`: where it stands."""

    __slots__ = ("done", "ended", "name", "number", "process", "stack", "waiting", "woken")

    def __init__(self, number: int, name: str, process: Process) -> None:
        self.number, self.name, self.process = number, name, process
        self.stack = getcurrent()
        self.waiting = 0  # the number of the wait that it is in; 0: it is in none
        self.woken = False
        self.done = False
        self.ended: list[Task] = []  # who waits for its end


class Scheduler:
    """Arguments: seed; trace: called with a line for whatever happens (None: nobody looks)."""

    def __init__(self, seed: object, trace: Callable[[str], None] | None = None) -> None:
        self.random = random.Random(f"{seed}")
        self.now_s = 0.0
        self.current: Task
        self._trace = trace
        self._ready: list[Task] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = self._waits = self._turns = 0
        self._tasks: list[Task] = []
        self._failure: BaseException | None = None
        self._main: Task

    # --- a run

    @contextmanager
    def running(self, name: str = "main") -> Iterator[Process]:
        """The calling thread takes part as a task of a process of its own. At the end all others are ended."""
        process = Process(name)
        self._main = self.current = self._new_task(name, process)
        try:
            yield process
        finally:
            self._end_all()

    def spawn(self, what: Callable[[], None], name: str, process: Process) -> Task:
        """Starts a task."""
        task = self._new_task(name, process)

        def body(*_: object) -> None:
            try:
                if process.alive:
                    what()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 -- told to who runs the simulation
                self._failure = self._failure or error
            finally:
                task.done = True
                for waiting in task.ended:
                    self.wake(waiting)
                self.current = self._next()
                task.stack.parent = self.current.stack  # who goes on when this one is over

        task.stack = greenlet(body, self._main.stack)
        self._tasks.append(task)
        self._ready.append(task)
        return task

    def kill(self, process: Process) -> None:
        """Ends a process as the machine's power does: its tasks do nothing more, and nobody is told."""
        self.note("killed", process)
        process.alive = False
        self.resume(process)
        for task in self._tasks:
            if task.process is process and task.waiting:
                self.wake(task)

    def stop(self, process: Process) -> None:
        """SIGSTOP."""
        self.note("stopped", process)
        process.stopped = True

    def resume(self, process: Process) -> None:
        """SIGCONT."""
        if process.stopped:
            self.note("goes on", process)
            process.stopped = False
            self._ready += process.held
            process.held = []

    # --- time

    def call_later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Has something done by the world, outside of all tasks: it must not wait."""
        self._numbers += 1
        heapq.heappush(self._timers, (self.now_s + delay_s, self._numbers, what))

    def sleep(self, seconds: float) -> None:
        self.wait(seconds)

    # --- waiting

    def wait(self, timeout_s: float | None = None) -> bool:
        """The current task waits until it is woken, or its time is over. Returns whether it was woken."""
        task = self.current
        self._check(task)
        self._waits += 1
        number = task.waiting = self._waits
        task.woken = False
        if timeout_s is not None:

            def expire() -> None:
                if task.waiting == number:
                    task.waiting = 0
                    self._ready.append(task)

            self.call_later(max(0.0, timeout_s), expire)
        self._switch(task)
        return task.woken

    def wake(self, task: Task) -> None:
        """Makes a waiting task ready. Nothing happens if it waits no more."""
        if task.waiting:
            task.waiting, task.woken = 0, True
            self._ready.append(task)

    def turn(self) -> None:
        """Lets others go on first, if the seed wants it."""
        task = self.current
        self._check(task)
        if self.random.random() < 0.1:
            self._ready.append(task)
            self._switch(task)

    def note(self, what: str, process: Process | None = None) -> None:
        """A line of the trace."""
        if self._trace is not None:
            who = process or self.current.process
            task = "" if process is not None else f"/{self.current.name}"
            self._trace(f"{self.now_s:10.5f} {who}{task}: {what}")

    @property
    def traced(self) -> bool:
        return self._trace is not None

    def check_alive(self) -> None:
        """Raises: Killed: the current task belongs to a process that is dead."""
        self._check(self.current)

    # --- inside

    def _new_task(self, name: str, process: Process) -> Task:
        self._numbers += 1
        return Task(self._numbers, name, process)

    def _check(self, task: Task) -> None:
        if not task.process.alive:
            raise Killed

    def _switch(self, task: Task) -> None:
        """Gives the baton away; comes back when it is this task's turn again."""
        following = self._next()
        if following is not task:
            self.current = following
            following.stack.switch()
        if task is self._main and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._check(task)

    def _next(self) -> Task:
        self.now_s += STEP_S
        self._turns += 1
        ready, timers = self._ready, self._timers
        while True:
            if self._failure is not None:
                return self._main_now()
            while timers and (timers[0][0] <= self.now_s or not ready):
                at, _, what = heapq.heappop(timers)
                self.now_s = max(self.now_s, at)
                what()
            if not ready or self._turns > TURNS:
                why = "everybody waits" if not ready else f"no end after {TURNS:,} turns"
                self._failure = self._failure or Stuck(f"{why}, at {self.now_s:.3f} s")
                self._turns = 0
                return self._main_now()
            # The last one first half of the time: who was woken for something mostly gets to it at once.
            index = len(ready) - 1 if self.random.random() < 0.5 else self.random.randrange(len(ready))
            task = ready.pop(index)
            if not task.process.stopped:
                return task
            task.process.held.append(task)

    def _main_now(self) -> Task:
        """The run's own task, wherever it waits: it has something to tell."""
        if self._main in self._ready:
            self._ready.remove(self._main)
        self._main.waiting = 0
        return self._main

    def _end_all(self) -> None:
        """Ends the tasks that are left, one by one."""
        self._failure = None
        for task in self._tasks:
            task.process.alive = False
            while not task.done:
                self._end(task)

    def _end(self, task: Task) -> None:
        """Gives the baton to one task only and takes it back when that is done or waits again."""
        self._timers.clear()
        self._ready = [self._main]
        task.waiting = 0
        self.current = task
        task.stack.switch()
        self.current = self._main
