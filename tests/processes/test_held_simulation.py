"""Random events, bugs that come and go, restarts, rebalances, aborts, retries and discards: nothing that a process is
told is lost, doubled or out of order. What repeats a run is its seed."""

from __future__ import annotations

import random
from contextlib import ExitStack, closing
from decimal import Decimal

import msgspec
import pytest

from headwater.client.shop import Shop
from headwater.environment import SYSTEM
from headwater.failures.held import HeldRecord
from headwater.log.memory import MemoryLog
from headwater.operations.deadletters import DeadLetters, Letter, Selection
from headwater.operations.deadletters_places import InLog
from headwater.testing.waiting import eventually
from tests.processes.test_dead_letters import APP, BUGS, GROUPS, Order, OrderPlaced, billed
from tests.processes.test_dead_letters import no_bug as no_bug

ORDERS = ("a", "b", "c", "d", "e")
ROUNDS, STEPS = 4, 6


class Run:
    """Two places where the app may run, and who asks for retries. `placed`: per order, the totals, each once."""

    def __init__(self, seed: int, stack: ExitStack) -> None:
        self._chance = random.Random(seed)
        self._log = stack.enter_context(closing(MemoryLog(gaps=True, late=True, aborts=0.1, seed=seed)))
        self._stacks = [stack.enter_context(ExitStack()) for _ in range(2)]
        self._shops: list[Shop | None] = [None, None]
        self._places = {bug: InLog(self._log, group, SYSTEM) for bug, group in GROUPS.items()}
        self._desk = DeadLetters(self._places, SYSTEM)
        self._discarding: dict[str, int] = {}
        self._total = 0
        self.placed: dict[str, list[int]] = {order: [] for order in ORDERS}

    @property
    def shop(self) -> Shop:
        return next(shop for shop in self._shops if shop is not None)

    def start_or_stop(self, number: int) -> None:
        if self._shops[number] is None:
            self._shops[number] = self._stacks[number].enter_context(APP.run(self._log.again()))
        elif self._shops[1 - number] is not None:
            self._stacks[number].close()
            self._shops[number] = None

    def step(self) -> None:
        chance = self._chance
        match chance.choice(["place", "place", "place", "start or stop", "bug", "ask", "ask"]):
            case "place":
                order, count = chance.choice(ORDERS), chance.randint(1, 3)
                totals = range(self._total + 1, self._total + count + 1)
                self._total += count
                who = chance.choice(["ann", "bug"])
                self.shop.append(Order, order, [OrderPlaced(order, Decimal(total), who) for total in totals])
                self.placed[order] += totals
            case "start or stop":
                self.start_or_stop(chance.randrange(2))
            case "bug":
                BUGS.symmetric_difference_update([chance.choice(["reaction", "key"])])
            case _:
                letters = self._desk.letters(Selection())
                if letters:
                    self._ask(chance.choice(letters), chance.random() < 0.3)

    def _ask(self, letter: Letter, discards: bool) -> None:
        asked = self._desk.ask(letter, "discard" if discards else "retry", who="x", reason="")
        if discards:
            self._discarding[asked.id] = total_of(letter.row)

    def discarded(self) -> set[int]:
        done = {line.id for _, line in self._desk.audit() if line.step == "discarded"}
        return {total for id, total in self._discarding.items() if id in done}

    def held(self) -> list[HeldRecord]:
        return [row for place in self._places.values() for row in place.held()]

    def conserved(self) -> bool:
        """Whether all that was placed is billed, set aside or discarded, once, and in order as far as it is billed."""
        gone = self.discarded()
        aside = [total_of(row) for row in self.held()]
        found = {order: billed(self.shop, order) for order in ORDERS}
        for order, totals in found.items():
            assert totals == sorted(set(totals)), f"order {order} was billed twice or out of order: {totals}"
        return sorted([*aside, *gone, *(total for totals in found.values() for total in totals)]) == sorted(
            total for totals in self.placed.values() for total in totals
        )

    def work_off(self) -> None:
        BUGS.clear()
        while letters := self._desk.letters(Selection()):
            list(self._desk.work(letters, "retry", who="x", reason="", per_s=1000, timeout_s=60))

    def end(self) -> None:
        gone = self.discarded()
        left = {order: [total for total in totals if total not in gone] for order, totals in self.placed.items()}
        eventually(lambda: {order: billed(self.shop, order) for order in ORDERS} == left)
        assert self.held() == []


def total_of(row: HeldRecord) -> int:
    return int(msgspec.json.decode(row.value or b"")["total"])


def carry_out(seed: int) -> None:
    with ExitStack() as stack:
        run = Run(seed, stack)
        run.start_or_stop(0)
        for _ in range(ROUNDS):
            for _ in range(STEPS):
                run.step()
            eventually(run.conserved, saying=f"all is somewhere, once (seed {seed})")
        run.work_off()
        run.end()


def test_nothing_is_lost_doubled_or_out_of_order() -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    carry_out(seed)


@pytest.mark.slow
def test_nor_in_more_runs() -> None:
    for seed in range(8):
        print("seed", seed)
        carry_out(seed)
