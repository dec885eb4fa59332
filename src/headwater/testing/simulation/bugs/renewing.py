"""Bugs in how the states of one version of the code become those of the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headwater.log.port import Aborted
from headwater.owners import owner
from headwater.owners.rebuilding import Rewriting
from headwater.testing.simulation.bugs.planting import bug, replaced


@bug("States of other code are folded anew before anything is decided on them.", renews=True, projects=False)
def states_of_other_code_are_believed() -> Iterator[None]:
    with replaced(owner, "bring_up_to_date", lambda log, maker, memories, ahead, environment: None):
        yield


@bug(
    "What was folded anew is written until a transaction with it was committed.",
    renews=True,
    projects=False,
    pauses=1.0,
    rates={"cut": 0.04, "answer lost": 0.04},
    favourite="EndTxn",
)
def a_rewriting_that_was_aborted_is_taken_for_done() -> Iterator[None]:
    def write(self: Rewriting, partition: int, memory: Any, fence: Any) -> None:
        try:
            original(self, partition, memory, fence)
        except Aborted:
            memory.rebuilt.clear()

    with replaced(Rewriting, "_write", write) as original:
        yield


BUGS = [states_of_other_code_are_believed, a_rewriting_that_was_aborted_is_taken_for_done]
