"""Counters, as they were deployed first, with a read model."""

from __future__ import annotations

from typing import Literal

import headwater as hw
from tests.counters import Added, Counter


class Sum(hw.Projection):
    counter_id: hw.Key[str]
    total: int = 0

    @hw.on(Added)
    def added(self, event: Added) -> None:
        self.total += event.amount


def app(directory: str) -> hw.App:
    codecs: dict[str, Literal["avro"]] = {"counter-events": "avro"}
    return hw.App("counters", aggregates=[Counter], projections=[Sum], partitions=4, schemas=directory, codecs=codecs)
