"""A batch becomes the same calls, whichever way it is taken: all at once, or record by record."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.log.port import NewRecord, StoredRecord
from headwater.projections.gathering import Gathered, Topic
from headwater.projections.read_model import read_models_of
from headwater.projections.straight import Straight
from tests.projections.trade import TOPIC, Paid, Placed, TradeEvent, placed, raw, record


class Balance(hw.Projection):
    trade_id: hw.Key[str]
    total: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        self.total += event.total

    @hw.on(Paid)
    def paid_for(self, event: Paid) -> None:
        self.paid += event.amount


def topic() -> Topic:
    [model] = read_models_of("test", [Balance])
    [topic] = model.topics
    return topic


def stored(records: Sequence[NewRecord]) -> list[StoredRecord]:
    return [StoredRecord(TOPIC, 0, n, one.key, one.value, one.headers, 0) for n, one in enumerate(records)]


def outcome(gathered: Gathered) -> object:
    calls = [(record.offset, event, meta, handler.name, key) for record, event, meta, handler, key in gathered.calls]
    return calls, {partition: offset for partition, (offset, _) in gathered.stops.items()}


events = st.builds(placed, st.sampled_from(["t1", "t2"])) | st.builds(Paid, st.just("t1"), st.just(Decimal("1.10")))
others = st.sampled_from(
    [
        raw(b'{"eventType":"Audited","eventVersion":1,"tradeId":"t1"}'),
        raw(b'{"eventType":"Paid","eventVersion":1,"tradeId":7}'),
        raw(b'{"eventType":"Paid","eventVersion":9,"tradeId":"t1","amount":"1"}'),
        raw(b'{"tradeId":"t1","amount":"1","eventType":"Paid"}'),
        raw(b"no JSON"),
        raw(None),
    ]
)


@settings(deadline=None)
@given(st.lists(st.builds(record, events) | others, max_size=6))
def test_taken_at_once_or_one_by_one_the_calls_are_the_same(records: list[NewRecord]) -> None:
    at_once, one_by_one = topic(), topic()
    one_by_one._own = None
    batch = stored(records)
    assert outcome(at_once.gather(batch)) == outcome(one_by_one.gather(batch))


def test_usual_events_are_taken_in_columns() -> None:
    usual: list[TradeEvent] = [placed("t1"), Paid("t2", Decimal(1)), placed("t3")]
    calls = topic().gather(stored([record(event) for event in usual])).calls
    assert isinstance(calls, Straight)
    assert [(event, key) for _, event, _, _, key in calls] == [(event, (event.trade_id,)) for event in usual]
    assert [calls[n] for n in range(3)] == list(calls)
    assert list(calls[1:]) == list(calls)[1:]


def test_types_that_nobody_wants_are_left_out_of_the_columns() -> None:
    unwanted = raw(b'{"eventType":"Audited","eventVersion":1,"tradeId":"t1"}')
    calls = topic().gather(stored([unwanted, record(placed("t1")), unwanted])).calls
    assert isinstance(calls, Straight)
    assert [one.offset for one in calls.records] == [1]


@pytest.mark.parametrize("unusual", [raw(None), raw(b"no JSON"), raw(b'{"eventType":"Paid","eventVersion":9}')])
def test_one_record_that_cannot_be_read_has_all_looked_at(unusual: NewRecord) -> None:
    gathered = topic().gather(stored([record(placed("t1")), unusual]))
    assert not isinstance(gathered.calls, Straight)
    assert [one.offset for one, *_ in gathered.calls] == [0]
    assert [offset for _, _, offset in gathered.troubles] == [1]
