"""A record that cannot be applied stops its partition, with an error that says what to look at; nothing is lost."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

import headwater as hw
from headwater.errors import BadData, Failed, Misuse
from headwater.log.port import NewRecord, TopicPartition
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.stores.memory import MemoryStore
from headwater.stores.port import StaleRunner
from tests.projections.test_entity_table import said
from tests.projections.trade import TOPIC, OpenTrade, Placed, Reading, Revenue, append, make_log, placed, raw

StoppingReading = partial(Reading, on_failure=hw.stop())
P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
PAID_V2 = b'{"eventType":"Paid","eventVersion":2,"tradeId":"t","amount":"1"}'


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (raw(b"no JSON"), "malformed"),
        (raw(b"\xff\xfe"), "malformed"),
        (raw(b'{"eventType":"Pla'), "truncated"),
        (raw(b'{"eventType":"Pl\\u0061ced","eventVersion":1,"tradeId":"t"}'), "required field"),
        (raw(b'{"tradeId":"t"}'), "no field 'eventType'"),
        (raw(b'{"eventType":"Placed","eventVersion":1,"tradeId":"t"}'), "Placed: .*required field"),
        (raw(b'{"eventType":"Paid","eventVersion":1,"tradeId":"t","amount":"x"}'), "Paid: .*amount"),
        (raw(PAID_V2), "Paid: version 2 of Paid is newer than version 1 here"),
        (raw(None), "no value"),
    ],
)
def test_what_cannot_be_read_stops_the_partition_after_what_came_before(record: NewRecord, words: str) -> None:
    log = make_log(2)
    append(log, [placed("t1"), placed("t2")])
    [bad] = log.append([record])
    append(log, [placed("t3")], first=3)
    append(log, [placed("u1")], partition=1)
    reading = StoppingReading(log, OpenTrade)
    with pytest.raises(BadData, match=rf"{words}.*\(topic trade-events, partition 0, offset {bad}\)"):
        reading.read()
    assert [row.trade_id for row in reading.store.rows(table_of(OpenTrade))] == ["t1", "t2", "u1"]
    assert reading.positions == {P0: bad, P1: log.ends([P1])[P1]}
    [note] = reading.store.notes(reading.model.runner)
    assert note.state == "failed"
    assert note.failure is not None
    assert note.failure.startswith("BadData: ")
    reading.start()
    with pytest.raises(BadData):  # it keeps its place
        reading.read()
    assert reading.positions[P0] == bad


def test_headers_that_are_no_text_are_bad_data() -> None:
    log = make_log()
    value = b'{"eventType":"Placed","eventVersion":1,"tradeId":"t","customer":"a","items":[],"total":"1"}'
    log.append([raw(value, headers=[("ce_time", b"\xff")])])
    with pytest.raises(BadData, match=r"ce_time.*offset 0"):
        StoppingReading(log, Revenue).read()


def failing(kind: str) -> type[hw.Projection]:
    """A projection of trades whose total is above 5 only if `kind` lets it."""

    class Trade(hw.Projection):
        trade_id: hw.Key[str]
        total: Decimal = Decimal(0)
        on_day: date = date.min

        @hw.on(Placed)
        def placed(self, event: Placed, meta: hw.Meta) -> Any:
            self.total += event.total
            if event.total <= 5:
                return None
            if kind == "raise":
                raise ZeroDivisionError("a bug")
            if kind == "return":
                return 17
            if kind == "wrong type":
                self.on_day = datetime(2024, 1, 1)
            if kind == "key":
                self.trade_id = "another"
            return None

    return Trade


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("raise", "ZeroDivisionError: a bug"),
        ("return", r"it returned 17: change the row and return nothing, or return hw\.DELETED"),
        ("wrong type", r"trade version 1, column on_day: datetime.* is no date"),
        ("key", r"the row \('t1',\) of trade version 1 was given the key \('another',\)"),
    ],
)
def test_a_failing_handler_is_named_with_its_event_and_what_came_before_is_kept(kind: str, words: str) -> None:
    log = make_log()
    offsets = append(log, [placed("t1", total="1"), placed("t1", total="2"), placed("t1", total="9"), placed("t2")])
    reading = StoppingReading(log, failing(kind))
    where = rf"Trade\.placed failed on Placed event-2 \(topic trade-events, partition 0, offset {offsets[2]}\): .*"
    with pytest.raises(Failed, match=where) as caught:
        reading.read()
    assert caught.match(words)
    assert caught.match("correct it and start again, it goes on with this event; nothing was written")
    assert [row.total for row in reading.store.rows(reading.model.tables[0])] == [Decimal(3)]
    assert reading.positions == {P0: offsets[2]}
    [corrected] = read_models_of("test", [failing("not at all")])
    reading.start(corrected)
    reading.read()
    assert [row.total for row in reading.store.rows(reading.model.tables[0])] == [Decimal(12), Decimal(10)]


def keyed(**how: Callable[[Placed, hw.Meta], Any]) -> type[hw.Projection]:
    class ByDay(hw.Projection):
        day: hw.Key[date]
        orders: int = 0

        @hw.on(Placed, **how)
        def placed(self, event: Placed) -> None:
            self.orders += 1

    return ByDay


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"key": lambda event, meta: 1 / 0}, "ZeroDivisionError"),
        ({"key": lambda event, meta: meta.time}, r"it gave day is datetime\.datetime.*not date"),
        ({"key": lambda event, meta: None}, "it gave day is None"),
        ({"key": lambda event, meta: (date.min, 1)}, r"the key of by_day is \(day\)"),
        ({"keys": lambda event, meta: ["2024-01-01"]}, "it gave day is '2024-01-01'"),
        ({"keys": lambda event, meta: "2024-01-01"}, "give a set or a list of keys"),
        ({"keys": lambda event, meta: 7}, "TypeError"),
        ({"keys": lambda event, meta: [[]]}, "TypeError"),
    ],
)
def test_a_key_function_that_fails_is_named_too(how: Any, words: str) -> None:
    log = make_log()
    append(log, [placed("t1")])
    reading = StoppingReading(log, keyed(**how))
    with pytest.raises(Failed, match=rf"the key of ByDay\.placed failed on Placed event-0 .*{words}"):
        reading.read()
    assert reading.store.rows(reading.model.tables[0]) == []


def test_a_key_that_the_store_refuses_is_named_with_its_event() -> None:
    class Half(hw.Projection):
        name: hw.Key[str]

        @hw.on(Placed, key=lambda event, meta: event.customer.replace("!", "\ud800"))
        def placed(self, event: Placed) -> None: ...

    log = make_log()
    append(log, [placed("t1"), placed("t2", "half!"), placed("t3")])
    with pytest.raises(Failed, match=r"Half\.placed failed on Placed event-1 .*column name: .*surrogates"):
        StoppingReading(log, Half).read()


def test_a_worker_that_begins_anew_clears_what_the_dead_have_said() -> None:
    log = make_log()
    log.append([raw(b"no JSON")])
    reading = StoppingReading(log, OpenTrade)
    with pytest.raises(BadData):
        reading.read()
    reading.start()
    [note] = reading.store.notes(reading.model.runner)
    assert (note.state, note.failure) == ("running", None)


def test_an_event_that_names_no_row_changes_none() -> None:
    log = make_log()
    append(log, [placed("t1")])
    reading = StoppingReading(log, keyed(keys=lambda event, meta: []))
    reading.read()
    assert reading.positions == log.ends([P0])


def test_looking_up_a_table_of_another_group_is_refused() -> None:
    class Lonely(hw.Projection):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, rows: hw.Rows) -> None:
            rows.get(Revenue, date.min)

    log = make_log()
    append(log, [placed("t1")])
    with pytest.raises(Failed, match=r'Revenue is not maintained together.*group="…"'):
        StoppingReading(log, Lonely).read()


def test_a_runner_that_was_overtaken_writes_nothing_and_goes_on_where_the_store_stands() -> None:
    log = make_log()
    append(log, [placed("t1"), placed("t2")])
    first = StoppingReading(log, Revenue)
    second = StoppingReading(log, Revenue, store=first.store)
    first.read()
    batch = second.reader.read(100, 1.0)
    with pytest.raises(StaleRunner):
        second.runner.handle(batch, None)
    assert [row.orders for row in first.store.rows(table_of(Revenue))] == [2]
    append(log, [placed("t3")], first=2)
    second.reader.assign(second.runner.assigned([P0]))
    second.read()
    assert [row.orders for row in first.store.rows(table_of(Revenue))] == [3]


def test_a_store_that_is_ahead_of_the_log_is_refused() -> None:
    log = make_log()
    append(log, [placed("t1")])
    reading = StoppingReading(log, Revenue)
    reading.store.apply(reading.model.runner, {}, {P0: 1000}, lambda loading: None)
    with pytest.raises(
        Misuse, match=r"has read trade-events/0 up to 1000, but it ends at \d+: the topic was made anew"
    ):
        reading.start()


def test_a_store_of_another_log_is_refused() -> None:
    store = MemoryStore()
    StoppingReading(make_log(), Revenue, store=store)
    with pytest.raises(Misuse, match="made from the log"):
        StoppingReading(make_log(), Revenue, store=store)


def test_changed_code_is_warned_about_while_its_old_rows_stay(caplog: pytest.LogCaptureFixture) -> None:
    log = make_log()
    append(log, [placed("t1")])
    reading = StoppingReading(log, failing("raise"))
    [model] = read_models_of("test", [failing("raise")])
    with caplog.at_level(logging.WARNING, "headwater.projections"):
        reading.start(model)
        assert not said(caplog)
        append(log, [placed("t1", total="1")], first=1)
        store = reading.store
        store.apply(model.runner, {}, {P0: 0}, lambda loading: None)
        ProjectionRunner(dataclasses.replace(model, code="changed"), log, store)
    assert said(caplog) == [
        "the code of read model trade changed, but its rows were made by the old code: `hw rebuild trade` "
        "makes them anew beside these, or leave it if the rows would be the same"
    ]
