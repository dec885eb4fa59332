"""When an app says that it is ready, commands can be handed over to its owners."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.memory.reading import MemoryMember
from headwater.log.port import Fence
from headwater.testing import eventually
from tests.bank import Account

app = hw.App("bank", aggregates=[Account], partitions=2)


class SlowMember(MemoryMember):
    """One that gives no fence before it is let."""

    let: threading.Event

    def fence(self) -> Fence:
        assert self.let.wait(60)
        return super().fence()


class SlowLog(MemoryLog):
    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> MemoryMember:
        member = SlowMember(self._shelf, self._counter, group, topics, name)
        member.let = self.let
        return member


class Pause(threading.Event):
    """Lets the member go on as soon as somebody waits for it."""

    def __init__(self, let: threading.Event) -> None:
        super().__init__()
        self._let = let

    def wait(self, timeout: float | None = None) -> bool:
        self._let.set()
        return super().wait(timeout)


def test_partitions_that_are_owned_are_not_enough() -> None:
    log = SlowLog()
    running = app.run(log, only=["commands"])
    with ThreadPoolExecutor(1) as entering:
        entered = entering.submit(running.__enter__)
        try:
            services = eventually(lambda: running.services)
            [status] = services.statuses
            eventually(lambda: len(status.owned) == 2)
            services.wait_ready(60, Pause(log.let))
            owner = services.owners["account"]
            assert [owner.owns(partition) for partition in range(2)] == [True, True]
        finally:
            log.let.set()
            entered.result(60)
            running.close()
