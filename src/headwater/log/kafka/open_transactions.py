"""Which transactions are open, by whom, since when: read from the coordinators' own log, `__transaction_state`.

The client has no request for it (KIP-664's list and describe). The topic's records have a published schema
(`TransactionLogKey`, `TransactionLogValue`) that may only grow by tagged fields, and Kafka's own tools print it.
A record of another version, or a topic that may not be read, is None: then it is not known who.

Every transaction that a coordinator will end by itself began no longer ago than the longest time-out that the
cluster allows; so older records need not be read.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from headwater.log.kafka.connection import ClientLog, Connection
from headwater.log.port import TopicPartition

TOPIC = "__transaction_state"
_MARGIN_MS = 3_600_000
"""A broker's clock may differ from ours."""

_OPEN = frozenset((1, 2, 3))
"""Ongoing, PrepareCommit, PrepareAbort."""


class OpenTransaction(NamedTuple):
    """A transaction that its coordinator knows. Arguments: started_ms: since 1970, by the coordinator's clock."""

    id: str
    producer_id: int
    timeout_ms: int
    started_ms: int
    partitions: frozenset[TopicPartition]


def open_transactions(connection: Connection, longest_ms: int) -> list[OpenTransaction] | None:
    """All open transactions of the cluster; None: that cannot be told.

    Arguments: longest_ms: the longest time-out that the cluster allows. Raises: Unavailable.
    """
    there = connection.metadata(connection.options.answer_timeout_s).topics.get(TOPIC)
    if there is None or there.error is not None:
        return None if there is not None else []
    consumer = Consumer(
        {
            **connection.settings(),
            "group.id": "headwater-readers",  # never joins, and commits nothing
            "client.id": f"transactions@{connection.process}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
            "auto.offset.reset": "earliest",
        },
        logger=ClientLog(),
    )
    with closing(consumer):
        try:
            return _read(consumer, sorted(there.partitions), longest_ms, connection.options.answer_timeout_s)
        except (KafkaException, Unreadable):
            return None


class Unreadable(Exception):
    """A record or an answer that this module does not know."""


def _read(consumer: Consumer, partitions: Iterable[int], longest_ms: int, patience_s: float) -> list[OpenTransaction]:
    deadline = time.monotonic() + patience_s
    since_ms = int(time.time() * 1000) - longest_ms - _MARGIN_MS
    asked = [KafkaPartition(TOPIC, partition, since_ms) for partition in partitions]
    begins = consumer.offsets_for_times(asked, timeout=patience_s)
    left = {at.partition for at in begins if at.offset != OFFSET_END}
    if not left:
        return []
    consumer.assign([KafkaPartition(TOPIC, at.partition, at.offset) for at in begins if at.partition in left])
    latest: dict[str, OpenTransaction | None] = {}
    while left:
        if time.monotonic() > deadline:
            raise Unreadable
        for message in consumer.consume(1000, 0.1):
            error = message.error()
            if error is None:
                key, value = message.key(), message.value()
                latest[transactional_id(key or b"")] = None if value is None else decode(key or b"", value)
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition() or 0)
            else:
                raise Unreadable(error.str())
    return [found for found in latest.values() if found is not None]


def transactional_id(key: bytes) -> str:
    """Raises: Unreadable."""
    version, length = _Cursor(key).take(">hh")
    if version != 0:
        raise Unreadable(f"key version {version}")
    return key[4 : 4 + length].decode()


def decode(key: bytes, value: bytes) -> OpenTransaction | None:
    """A record's transaction, if it is open. Raises: Unreadable."""
    cursor = _Cursor(value)
    (version,) = cursor.take(">h")
    if version not in (0, 1):
        raise Unreadable(f"value version {version}")
    flexible = version == 1
    producer_id, _, timeout_ms, status = cursor.take(">qhib")
    partitions = cursor.partitions(flexible=flexible)
    _, started_ms = cursor.take(">qq")
    if status not in _OPEN:
        return None
    return OpenTransaction(transactional_id(key), producer_id, timeout_ms, started_ms, frozenset(partitions))


class _Cursor:
    """Reads the fields of a record one after the other, in Kafka's encodings."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> tuple[int, ...]:
        """Raises: Unreadable: the record is too short."""
        try:
            found = struct.unpack_from(form, self._data, self._at)
        except struct.error as error:
            raise Unreadable(str(error)) from error
        self._at += struct.calcsize(form)
        return found

    def partitions(self, *, flexible: bool) -> list[TopicPartition]:
        found = []
        for _ in range(self._length(">i", flexible=flexible)):
            size = self._length(">h", flexible=flexible)
            topic = self._data[self._at : self._at + size].decode()
            self._at += size
            count = self._length(">i", flexible=flexible)
            found += [TopicPartition(topic, number) for number in self.take(f">{count}i")]
            if flexible:
                self._skip_tags()
        return found

    def _length(self, form: str, *, flexible: bool) -> int:
        """Of an array or text; null is as empty."""
        return max(0, self._varint() - 1 if flexible else self.take(form)[0])

    def _varint(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self.take(">B")
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def _skip_tags(self) -> None:
        for _ in range(self._varint()):
            self._varint()
            size = self._varint()
            self._at += size
