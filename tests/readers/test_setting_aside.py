"""What is told of a partition in which records are set aside."""

from __future__ import annotations

from headwater.environment import Alert, KeptTelemetry
from headwater.errors import BadData, HeadwaterError, Unavailable
from headwater.failures.held import Shelf
from headwater.failures.parking import Pause, full
from headwater.failures.policy import DEFAULT
from headwater.log.port import TopicPartition
from headwater.readers.setting_aside import PAUSED, tell

P0 = TopicPartition("order-events", 0)


def told_of(cause: HeadwaterError) -> Alert:
    telemetry = KeptTelemetry()
    tell(telemetry, "shop-revenue-v1", P0, Shelf(), Pause(6, cause, limit=True))
    ((_, alert),) = [(name, alert) for (name, _), alert in telemetry.alerts.items() if name == PAUSED]
    return alert


def test_a_pause_at_a_limit_is_said_once() -> None:
    alert = told_of(Unavailable(full(P0, 2, DEFAULT)))
    assert alert.text.startswith(
        "shop-revenue-v1: at offset 6 order-events/0 is paused: as much is set aside there as may be ("
    )
    assert alert.details is None


def test_the_words_of_data_stay_in_the_details() -> None:
    alert = told_of(BadData("secret", topic=P0.topic, partition=P0.partition, offset=6))
    assert alert.text == (
        "shop-revenue-v1: order-events/0 is paused at offset 6: BadData in topic order-events, partition 0, offset 6"
    )
    assert alert.details is not None
    assert "secret" in alert.details
