"""Threads that write to one resource: one leads and works for all, and nobody is left waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.sqlite.turns import Turns, Work
from headwater.testing.conformance.log.waiting import eventually


class Resource:
    """Carries out work, the first of it only when it is let go."""

    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.let_go = threading.Event()
        self.turns = Turns(self.carry_out, "the resource")

    def carry_out(self, works: Sequence[Work]) -> None:
        self.rounds.append(len(works))
        assert self.let_go.wait(60)
        for work in works:
            with work:
                work.result = work.act(None)
            work.done = True

    def has_queued(self, count: int) -> bool:
        return len(self.turns._queue) == count

    def run_in_threads(self, acts: Sequence[object]) -> tuple[list[object], list[threading.Thread]]:
        """The first leads; the others queue in their order when it is at work. Returns what each got."""
        got: list[object] = [None] * len(acts)

        def run(index: int) -> None:
            work = Work(acts[index], shared=True)  # type: ignore[arg-type]  # the test's own functions
            try:
                got[index] = self.turns.run(work)
            except (ValueError, Unavailable, Misuse, KeyboardInterrupt) as error:
                got[index] = error

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(acts))]
        threads[0].start()
        eventually(lambda: self.rounds, 60, "the first is at work")
        for number, thread in enumerate(threads[1:], 1):
            thread.start()
            eventually(partial(self.has_queued, number), 60, "it is queued")
        return got, threads


def join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "nobody is left waiting"


def test_those_who_come_while_one_works_are_done_together() -> None:
    resource = Resource()
    got, threads = resource.run_in_threads([lambda _, n=n: n for n in range(8)])
    resource.let_go.set()
    join(threads)
    assert got == list(range(8))
    assert resource.rounds == [1, 7]


def test_an_error_goes_to_whom_it_belongs() -> None:
    def fail(_: object) -> None:
        raise ValueError("mine")

    resource = Resource()
    got, threads = resource.run_in_threads([lambda _: 0, lambda _: 1, fail, lambda _: 3])
    resource.let_go.set()
    join(threads)
    assert got[0] == 0
    assert got[1] == 1
    assert isinstance(got[2], ValueError)
    assert got[3] == 3


def test_when_the_leader_is_interrupted_the_others_are_told_and_the_next_goes_on() -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    resource = Resource()
    got, threads = resource.run_in_threads([lambda _: 0, interrupt, lambda _: 2])
    resource.let_go.set()
    join(threads)
    assert got[0] == 0
    assert isinstance(got[1], KeyboardInterrupt)
    assert isinstance(got[2], Unavailable)
    assert resource.turns.run(Work(lambda _: "after", shared=True)) == "after"


def test_work_inside_work_is_refused() -> None:
    resource = Resource()
    resource.let_go.set()
    with pytest.raises(Misuse, match="inside another"):
        resource.turns.run(Work(lambda _: resource.turns.run(Work(lambda _: 1, shared=True)), shared=True))


def test_what_is_queued_is_done_before_the_resource_is_released() -> None:
    resource = Resource()
    released: list[int] = []
    got, threads = resource.run_in_threads([lambda _: 0, lambda _: 1])
    resource.turns.close(lambda: released.append(sum(resource.rounds)))
    assert not released
    with pytest.raises(Misuse, match="closed"):
        resource.turns.run(Work(lambda _: 2, shared=True))
    resource.let_go.set()
    join(threads)
    assert got == [0, 1]
    assert released == [2]
