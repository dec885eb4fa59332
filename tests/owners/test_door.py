"""Callers in the owner's own process: whose thread does the work, and who shares a batch with whom."""

from __future__ import annotations

import threading
from collections.abc import Callable

from headwater.owners.arriving import Arrived
from headwater.owners.door import Door

WAIT_S = 60.0


def command(name: str) -> Arrived:
    return Arrived(name, b"key", b"value", 0)


class Desk:
    """Carries out what the door gives it, and notes each batch with the thread that it came in."""

    def __init__(self, work: Callable[[list[Arrived]], None] = lambda batch: None) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[str] = []
        self.done: dict[str, threading.Event] = {}
        self._work = work
        self.door = Door(self._carry_out, "the door's thread")
        self.door.start()

    def _carry_out(self, batch: list[Arrived]) -> None:
        self.batches.append([one.id for one in batch])
        self.threads.append(threading.current_thread().name)
        self._work(batch)
        for one in batch:
            self.done.setdefault(one.id, threading.Event()).set()

    def send(self, name: str) -> None:
        self.done.setdefault(name, threading.Event())
        self.door.submit([command(name)])
        assert self.done[name].wait(WAIT_S)


def together(*actions: Callable[[], None]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_a_lone_caller_does_its_own_work() -> None:
    desk = Desk()
    for name in "abc":
        desk.send(name)
    assert desk.batches == [["a"], ["b"], ["c"]]
    assert set(desk.threads) == {threading.current_thread().name}
    desk.door.close()


def test_who_comes_while_the_owner_is_busy_shares_the_next_batch() -> None:
    busy, go_on = threading.Event(), threading.Event()

    def work(batch: list[Arrived]) -> None:
        if batch[0].id == "first":
            busy.set()
            assert go_on.wait(WAIT_S)

    desk = Desk(work)
    first = threading.Thread(target=desk.send, args=("first",))
    first.start()
    assert busy.wait(WAIT_S)
    for name in "abc":
        desk.door.submit([command(name)])
    go_on.set()
    first.join(WAIT_S)
    assert desk.done.setdefault("c", threading.Event()).wait(WAIT_S)
    assert desk.batches == [["first"], ["a", "b", "c"]]
    desk.door.close()


def test_whoever_holds_the_door_lets_the_waiting_in_when_it_leaves() -> None:
    desk = Desk()
    with desk.door:
        desk.door.submit([command("a")])
        assert desk.batches == []
    assert desk.done.setdefault("a", threading.Event()).wait(WAIT_S)
    desk.door.close()


def test_every_command_of_many_callers_is_carried_out_once_and_in_the_callers_order() -> None:
    desk = Desk()
    rounds = 300

    def caller(name: str) -> Callable[[], None]:
        def call() -> None:
            for turn in range(rounds):
                desk.send(f"{name}{turn}")

        return call

    together(*[caller(name) for name in "abcdefgh"])
    carried_out = [one for batch in desk.batches for one in batch]
    for name in "abcdefgh":
        assert [one for one in carried_out if one[0] == name] == [f"{name}{turn}" for turn in range(rounds)]
    desk.door.close()


def test_closing_carries_out_what_was_left() -> None:
    desk = Desk()
    with desk.door:
        for name in "abc":
            desk.door.submit([command(name)])
    desk.door.close()
    assert [one for batch in desk.batches for one in batch] == ["a", "b", "c"]
