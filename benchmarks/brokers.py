"""One Kafka broker for a benchmark, fresh and gone afterwards."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headwater.testing.brokers import Cluster, start_brokers


@contextmanager
def one_broker() -> Iterator[Cluster]:
    """A broker with an empty directory of its own, on this machine."""
    cluster = start_brokers(1, Path(tempfile.mkdtemp(prefix="headwater-bench-")))
    print(f"one Kafka broker at {cluster.bootstrap}", file=sys.stderr, flush=True)
    try:
        yield cluster
    finally:
        cluster.delete()


def values_in(bootstrap: str, topic: str) -> Iterator[bytes]:
    """The values of all committed records of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.partition.eof": True})
    count = len(consumer.list_topics(topic).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
    while count:
        for message in consumer.consume(10_000, 1.0):
            error = message.error()
            if error is None:
                value = message.value()
                assert value is not None, "no tombstone is written here"
                yield value
            elif error.code() == KafkaError._PARTITION_EOF:
                count -= 1
            else:
                raise KafkaException(error)
    consumer.close()
