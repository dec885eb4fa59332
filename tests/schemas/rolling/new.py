"""The same counters, later: the event has one more field, and there is one more event."""

from __future__ import annotations

from typing import Literal

import headwater as hw


class CounterEvent(hw.Event, entity="counter"):
    counter_id: hw.Key[str]


class Added(CounterEvent):
    amount: int
    why: str = ""


class Counted(CounterEvent):
    total: int


class CounterCommand(hw.Command, entity="counter"):
    counter_id: hw.Key[str]


class Add(CounterCommand):
    amount: int


class Counter(hw.Aggregate[CounterEvent], version=2):
    total: int = 0
    counted: int = 0

    @hw.decides
    def add(self, command: Add) -> list[CounterEvent]:
        total = self.total + command.amount
        return [Added(command.counter_id, command.amount, "asked"), Counted(command.counter_id, total)]

    @hw.evolves
    def added(self, event: Added) -> None:
        self.total += event.amount

    @hw.evolves
    def was_counted(self, event: Counted) -> None:
        self.counted = event.total


class Sum(hw.Projection):
    counter_id: hw.Key[str]
    total: int = 0

    @hw.on(Added)
    def added(self, event: Added) -> None:
        self.total += event.amount


def app(directory: str) -> hw.App:
    codecs: dict[str, Literal["avro"]] = {"counter-events": "avro"}
    return hw.App("counters", aggregates=[Counter], projections=[Sum], partitions=4, schemas=directory, codecs=codecs)
