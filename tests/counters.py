"""Counters, as they were deployed first: what tests of newer code beside older code begin with."""

from __future__ import annotations

import headwater as hw


class CounterEvent(hw.Event, entity="counter"):
    counter_id: hw.Key[str]


class Added(CounterEvent):
    amount: int


class CounterCommand(hw.Command, entity="counter"):
    counter_id: hw.Key[str]


class Add(CounterCommand):
    amount: int


class Counter(hw.Aggregate[CounterEvent]):
    total: int = 0

    @hw.decides
    def add(self, command: Add) -> Added:
        return Added(command.counter_id, command.amount)

    @hw.evolves
    def added(self, event: Added) -> None:
        self.total += event.amount
