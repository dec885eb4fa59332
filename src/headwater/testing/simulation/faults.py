"""What goes wrong in a run. The seed draws which kinds of faults there are at all, and how often each happens.

A run with every fault at once shows little: one hides another. So each has only some of them.
"""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from headwater.testing.simulation.scheduler import Process

Fate = Literal["fine", "cut", "answer lost", "late", "silent", "unheard"]
"""What becomes of a request: done and answered; the connection breaks before it arrives, or after it was done; it
arrives after its connection broke; it is done and never answered; it never arrives, and nobody says so."""

TRANSACTIONAL = ("InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn", "Produce")


class Mix(msgspec.Struct, frozen=True):
    """How often what goes wrong in a run.

    Arguments: rates: of requests, by fate; favourite: what kind of request fails three times as often; late_s: how late
    a late one is; slow_marks: the share of marks that take `mark_s`; latency_s: of one way; kills, pauses, restarts,
    outages, compactions: how many a second; idle_s: how long a client thinks between two commands, at most; projects:
    whether read models are kept; renews: whether the code becomes another one, process by process, in runs
    without read models.
    """

    rates: dict[Fate, float]
    favourite: str | None
    late_s: float
    slow_marks: float
    mark_s: float
    latency_s: float
    kills: float
    pauses: float
    restarts: float
    outages: float
    compactions: float
    idle_s: float
    projects: bool
    renews: bool


def drawn(chance: random.Random) -> Mix:
    """The mix that a seed gives."""
    pick = chance.choice
    return Mix(
        rates={
            "cut": pick((0.0, 0.0, 0.01, 0.04)),
            "answer lost": pick((0.0, 0.0, 0.01, 0.04)),
            "late": pick((0.0, 0.01, 0.05, 0.1)),
            "silent": pick((0.0, 0.0, 0.002, 0.01)),
            "unheard": pick((0.0, 0.0, 0.002, 0.01)),
        },
        favourite=pick((*TRANSACTIONAL, "EndTxn", "EndTxn", None)),
        late_s=pick((0.02, 0.1, 1.0)),
        slow_marks=pick((0.0, 0.05, 0.3)),
        mark_s=pick((0.05, 0.3, 1.5)),
        latency_s=pick((0.0005, 0.002, 0.01)),
        kills=pick((0.0, 0.0, 0.3, 1.0)),
        pauses=pick((0.0, 0.0, 0.3, 1.0)),
        restarts=pick((0.0, 0.2, 0.5)),
        outages=pick((0.0, 0.0, 0.3, 1.0)),
        compactions=pick((0.0, 0.5, 3.0)),
        idle_s=pick((0.0, 0.02, 0.1)),
        projects=(kind := chance.random()) < 0.4,
        renews=0.4 <= kind < 0.6,
    )


class Faults:
    """Arguments: chance: what the seed decides; mix: how often what happens (None: no faults at all)."""

    def __init__(self, chance: random.Random, mix: Mix | None) -> None:
        self._chance = chance
        self.active = mix is not None
        self.mix = mix or msgspec.structs.replace(drawn(chance), latency_s=0.0005)
        self._down: dict[int, bool] = {}
        self._isolated: set[Process] = set()

    def calm_down(self) -> None:
        """From now on nothing goes wrong."""
        self.active = False
        self._down.clear()
        self._isolated.clear()

    # --- requests

    def latency_s(self) -> float:
        return self.mix.latency_s * (0.2 + self._chance.random() * (4 if self._chance.random() < 0.1 else 1))

    def fate(self, client: str, api: str) -> Fate:
        if not self.active:
            return "fine"
        left = self._chance.random()
        factor = 3.0 if api == self.mix.favourite else 1.0 if api in TRANSACTIONAL else 0.3
        for fate, rate in self.mix.rates.items():
            left -= rate * factor
            if left < 0:
                return fate
        return "fine"

    def lateness_s(self) -> float:
        return self.mix.late_s * self._chance.random() * 2

    def mark_delay_s(self, node: int) -> float:
        """How long a broker takes to write a mark."""
        if self.active and self._chance.random() < self.mix.slow_marks:
            return self.mix.mark_s * self._chance.random() * 2
        return self.latency_s()

    # --- brokers and processes

    def unreachable(self, process: Process, node: int) -> bool:
        return node in self._down or process in self._isolated

    def all_down(self, process: Process, nodes: int) -> bool:
        return len(self._down) == nodes or process in self._isolated

    def take_down(self, node: int) -> None:
        self._down[node] = True

    def bring_back(self, node: int) -> None:
        self._down.pop(node, None)

    def isolate(self, process: Process) -> None:
        self._isolated.add(process)

    def join_again(self, process: Process) -> None:
        self._isolated.discard(process)
