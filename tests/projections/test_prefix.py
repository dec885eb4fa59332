"""Rows are the fold of the log's prefix at the stored position, whatever the batches were."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.log.memory import MemoryLog
from headwater.log.port import TopicPartition
from headwater.projections.declare import table_of
from tests.projections.trade import (
    CODEC,
    TOPIC,
    Cancelled,
    OpenTrade,
    Paid,
    Placed,
    Reading,
    Sold,
    TradeEvent,
    append,
    make_log,
    placed,
)

ids = st.sampled_from(["t1", "t2", "t3"])
events: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        placed,
        ids,
        st.sampled_from(["ann", "bob"]),
        st.integers(0, 999).map(lambda cents: f"{cents / 100:.2f}"),
        st.lists(st.sampled_from("abc"), max_size=3),
    ),
    st.builds(Paid, ids, st.just(Decimal(1))),
    st.builds(Cancelled, ids, st.just("late")),
)


def open_trades(history: Iterable[TradeEvent]) -> list[OpenTrade]:
    """The same as the projection, as one would write it without one."""
    found: dict[str, OpenTrade] = {}
    for event in history:
        match event:
            case Placed(trade_id=trade_id, total=total):
                before = found.get(trade_id)
                found[trade_id] = OpenTrade(trade_id, total, 1 + (before.events if before else 0))
            case _:
                found.pop(event.trade_id, None)
    return [found[key] for key in sorted(found)]


def sold(history: Iterable[TradeEvent]) -> list[Sold]:
    found: dict[str, Sold] = {}
    for event in history:
        if not isinstance(event, Placed):
            continue
        for item in event.items:
            row = found.setdefault(item.sku, Sold(item.sku))
            row.quantity += item.quantity
            if event.customer not in row.buyers:
                row.buyers.append(event.customer)
    return [found[key] for key in sorted(found)]


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(st.lists(events, max_size=8), st.integers(1, 10)), max_size=5),
    gaps=st.booleans(),
    restarts=st.sets(st.integers(0, 4)),
)
def test_rows_are_the_fold_of_the_prefix(
    parts: list[tuple[list[TradeEvent], int]], gaps: bool, restarts: set[int]
) -> None:
    log = make_log(1, MemoryLog(gaps=gaps))
    readings = [Reading(log, OpenTrade), Reading(log, Sold)]
    history: list[TradeEvent] = []
    for number, (new, batch_records) in enumerate(parts):
        append(log, new)
        history += new
        for reading in readings:
            if number in restarts:
                reading.start()
            reading.read(batch_records)
    trades, goods = readings
    assert trades.store.rows(table_of(OpenTrade)) == open_trades(history)
    assert goods.store.rows(table_of(Sold)) == sold(history)


@settings(deadline=None)
@given(st.lists(events, max_size=12), st.integers(1, 4), st.integers(0, 12))
def test_after_any_batch_the_position_says_what_the_rows_hold(
    history: list[TradeEvent], batch_records: int, batches: int
) -> None:
    log = make_log()
    offsets = append(log, history)
    reading = Reading(log, OpenTrade)
    for _ in range(batches):
        batch = reading.reader.read(batch_records, 0)
        if not batch.reached:
            break
        reading.runner.handle(batch, None)
    position = reading.positions.get(TopicPartition(TOPIC, 0), 0)
    prefix = [event for event, offset in zip(history, offsets, strict=True) if offset < position]
    assert reading.store.rows(table_of(OpenTrade)) == open_trades(prefix)


def read_prefix(log: Any, positions: dict[TopicPartition, int]) -> list[TradeEvent]:
    """The events below these positions, partition by partition."""
    found: list[TradeEvent] = []
    for partition, position in positions.items():
        reader = log.reader()
        reader.assign({partition: log.begins([partition])[partition]})
        reached = 0
        while reached < position:
            batch = reader.read(1000, 1.0)
            reached = max(reached, *batch.reached.values(), 0)
            values = [record.value for record in batch.records if record.offset < position]
            found += [event for event in CODEC.decode_many(values) if isinstance(event, TradeEvent)]
        reader.close()
    return found
