"""What a writer is told of a record that Kafka did not confirm: that it is not there, or that it may be."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.appending import Appender
from headwater.log.kafka.connection import Connection, KafkaOptions
from headwater.log.port import Undecided


@pytest.fixture
def appender(kafka_broker: str) -> Appender:
    connection = Connection(kafka_broker.removeprefix("kafka://"), KafkaOptions())
    return Appender(connection, Administration(connection))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("MSG_SIZE_TOO_LARGE", Misuse),
        ("UNKNOWN_TOPIC_OR_PART", Misuse),
        ("TOPIC_AUTHORIZATION_FAILED", Unavailable),
        ("_MSG_TIMED_OUT", Undecided),
        ("OUT_OF_ORDER_SEQUENCE_NUMBER", Undecided),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", Undecided),
        ("_TRANSPORT", Undecided),
        ("_PURGE_INFLIGHT", Undecided),
    ],
)
def test_a_record_may_be_there_unless_the_cluster_refused_it(
    appender: Appender, error: str, told: type[HeadwaterError]
) -> None:
    failure = appender.undelivered(KafkaError(getattr(KafkaError, error)), "order-commands/3")
    assert type(failure) is told
    assert "order-commands/3" in str(failure)
    assert ("may have been written" in str(failure)) == (told is Undecided)


def test_a_record_that_the_client_does_not_take_is_not_there(appender: Appender) -> None:
    failure = appender.refused(KafkaError(KafkaError._TRANSPORT), "order-commands/3")
    assert type(failure) is Unavailable
    assert "order-commands/3" in str(failure)
