"""What cannot be saved is told with the handler and the event after which it came; what came before them is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import headwater as hw
from headwater.errors import Failed, Unavailable
from headwater.log.port import TopicPartition
from headwater.projections.declare import table_of
from headwater.stores.memory import MemoryStore
from tests.projections.trade import TOPIC, Placed, Reading, append, make_log, placed

StoppingReading = partial(Reading, on_failure=hw.stop())
P0 = TopicPartition(TOPIC, 0)


class Count(hw.Projection, group="counts"):
    name: hw.Key[str]
    events: int = 0

    @hw.on(Placed, key=lambda event, meta: "all")
    def placed(self, event: Placed) -> None:
        self.events += 1
        if self.events > 20:
            raise ValueError("more than there are")


def test_a_row_that_the_store_refuses_is_looked_for_among_rows_as_they_were_before_the_batch() -> None:
    class Wrong(hw.Projection, group="counts"):
        trade_id: hw.Key[str]
        events: Any = 0

        @hw.on(Placed)
        def placed(self, event: Placed) -> None:
            self.events = object() if event.trade_id == "t15" else 1

    log = make_log()
    offsets = append(log, [placed(f"t{n}") for n in range(20)])
    reading = StoppingReading(log, Count, Wrong)
    with pytest.raises(Failed, match=rf"Wrong\.placed failed on Placed event-15 .*offset {offsets[15]}\): .*events"):
        reading.read()
    assert reading.store.rows(table_of(Count)) == [Count("all", 15)]
    assert len(reading.store.rows(table_of(Wrong))) == 15
    assert reading.positions == {P0: offsets[15]}


def test_another_row_that_a_handler_made_unfit_is_told_with_the_handler_and_its_event() -> None:
    class Spoiling(hw.Projection, group="counts"):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, rows: hw.Rows) -> None:
            count = rows.get(Count, "all")
            assert count is not None
            if event.trade_id == "t3":
                count.events = "three"  # type: ignore[assignment] # it is the mistake

    log = make_log()
    append(log, [placed("t0")])
    offsets = append(log, [placed(f"t{n}") for n in range(5)], first=1)
    reading = StoppingReading(log, Count, Spoiling)
    words = r"count version 1, column events: 'three' is no int"
    with pytest.raises(Failed, match=rf"Spoiling\.placed failed on Placed event-4 .*offset {offsets[3]}\): {words}"):
        reading.read()
    assert reading.store.rows(table_of(Count)) == [Count("all", 4)]
    assert reading.positions == {P0: offsets[3]}


def test_a_store_that_goes_away_while_a_handler_looks_up_a_row_is_no_failure_of_the_handler() -> None:
    class Asking(hw.Projection, group="counts"):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, rows: hw.Rows) -> None:
            rows.get(Count, "another")

    class Away(MemoryStore):
        def apply(self, runner: str, start: Any, to: Any, work: Callable[[Any], None]) -> None:
            def going(loading: Any) -> None:
                work(Going(loading))

            super().apply(runner, start, to, going)

    class Going:
        def __init__(self, loading: Any) -> None:
            self.save, self.delete, self._load = loading.save, loading.delete, loading.load

        def load(self, table: Any, keys: Any) -> Any:
            if keys == [("another",)]:
                raise Unavailable("it is gone")
            return self._load(table, keys)

    log = make_log()
    append(log, [placed("t0")])
    with pytest.raises(Unavailable, match="it is gone"):
        StoppingReading(log, Count, Asking, store=Away()).read()
