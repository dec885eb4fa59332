"""Transactions that are left open: noticed by who reads, told as a gauge and an alert."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Producer

from headwater.environment import KeptTelemetry, System
from headwater.log.opening import open_log
from headwater.log.port import Held, Log, TopicPartition, TopicSpec
from headwater.readers.watching import ALERT, BEHIND, GAUGE, Holding, Watch, held_since
from headwater.testing.conformance.log.waiting import eventually, fresh

P0, P1 = TopicPartition("order-events", 0), TopicPartition("order-events", 1)


class Clock(System):
    """Moved by hand."""

    s = 0.0

    def monotonic_s(self) -> float:
        return self.s


@pytest.fixture
def telemetry() -> KeptTelemetry:
    return KeptTelemetry()


@pytest.fixture
def clock(telemetry: KeptTelemetry) -> Clock:
    return Clock(telemetry)


def test_since_when_a_partition_stays_at_its_offset() -> None:
    first = held_since({}, {P0: Held(5, 7), P1: Held(2, 3)}, 10.0)
    assert first == {P0: Holding(Held(5, 7), 10.0), P1: Holding(Held(2, 3), 10.0)}
    later = held_since(first, {P0: Held(5, 90), P1: Held(3, 4)}, 20.0)
    assert later[P0] == Holding(Held(5, 90), 10.0), "more was written behind it"
    assert later[P1] == Holding(Held(3, 4), 20.0), "another transaction"
    assert held_since(later, {}, 30.0) == {}


def test_telemetry_keeps_the_latest_and_logs_an_alert_once(
    telemetry: KeptTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="headwater.telemetry")
    for value in (1.0, 2.0):
        telemetry.gauge("seconds", {"topic": "b", "partition": "0"}, value)
        telemetry.alert("held", {"topic": "b"}, f"held for {value:g} s")
    assert telemetry.gauges == {("seconds", (("partition", "0"), ("topic", "b"))): 2.0}
    assert telemetry.alerts["held", (("topic", "b"),)].text == "held for 2 s"
    telemetry.alert("held", {"topic": "b"}, None)
    telemetry.alert("held", {"topic": "b"}, None)
    assert telemetry.alerts == {}
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("ERROR", "held for 1 s"),
        ("INFO", "over: held for 2 s"),
    ]


@pytest.fixture
def log(kafka_broker: str, tmp_path: Path) -> Iterator[Log]:
    with closing(open_log(f"{kafka_broker}?transaction_timeout_s=5&index_directory={tmp_path}")) as log:
        yield log


def abandoned(broker: str, topic: str) -> Callable[[], None]:
    """Leaves a transaction open in a topic. Returns what ends it."""
    settings = {"bootstrap.servers": broker.removeprefix("kafka://"), "transactional.id": fresh("abandoned")}
    producer = Producer({**settings, "transaction.timeout.ms": 600_000})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"{}", b"1", 0)
    assert producer.flush(60) == 0
    return lambda: producer.abort_transaction(60)


@pytest.mark.kafka
def test_a_transaction_that_is_open_for_too_long_is_an_alert_until_it_is_over(
    log: Log, kafka_broker: str, clock: Clock, telemetry: KeptTelemetry
) -> None:
    topic = fresh("order-events")
    log.create_topics([TopicSpec(topic, 2)])
    watch = Watch(log, [topic], log.transaction_timeout_s or 0.0, clock)
    watch.look()
    assert telemetry.gauges == {}
    end = abandoned(kafka_broker, topic)
    labels = (("log", log.id), ("partition", "0"), ("topic", topic))
    for clock.s, seconds in ((100.0, 0.0), (105.0, 5.0)):
        watch.look()
        assert telemetry.gauges == {(GAUGE, labels): seconds, (BEHIND, labels): 1}
        assert telemetry.alerts == {}, "it may take as long"
    clock.s = 106.0
    watch.look()
    assert telemetry.gauges[GAUGE, labels] == 6.0
    text = telemetry.alerts[ALERT, labels].text
    assert f"{topic}, partition 0: a transaction has been open for more than 5 s, so nothing from offset 0 on" in text
    assert f"`hw doctor --on {kafka_broker}`" in text
    end()

    def over() -> bool:
        watch.look()
        return telemetry.alerts == {}

    eventually(over, 60.0, "the alert is over")
    assert telemetry.gauges == {(GAUGE, labels): 0.0, (BEHIND, labels): 0}
