"""The same counters, later: one more command, event and field of the state."""

from __future__ import annotations

import headwater as hw


class CounterEvent(hw.Event, entity="counter"):
    counter_id: hw.Key[str]


class Added(CounterEvent):
    amount: int


class WasReset(CounterEvent):
    pass


class CounterCommand(hw.Command, entity="counter"):
    counter_id: hw.Key[str]


class Add(CounterCommand):
    amount: int


class Reset(CounterCommand):
    pass


class Counter(hw.Aggregate[CounterEvent], version=2):
    total: int = 0
    largest: int = 0

    @hw.decides
    def add(self, command: Add) -> Added:
        return Added(command.counter_id, command.amount)

    @hw.decides
    def reset(self, command: Reset) -> WasReset:
        return WasReset(command.counter_id)

    @hw.evolves
    def added(self, event: Added) -> None:
        self.total += event.amount
        self.largest = max(self.largest, self.total)

    @hw.evolves
    def was_reset(self, event: WasReset) -> None:
        self.total = 0


app = hw.App("counters", aggregates=[Counter], partitions=6)
