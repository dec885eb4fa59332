"""Records as they come from Kafka: a view on the client's message that parses nothing until it is asked."""

from __future__ import annotations

import threading

import msgspec
from confluent_kafka import Message

from headwater.log.port import Headers, StoredRecord


class KafkaRecord(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A committed record. A struct, since one is made for every record: its constructor runs in C."""

    message: Message

    @property
    def topic(self) -> str:
        return self.message.topic()  # type: ignore[return-value]  # None only for events of the client

    @property
    def partition(self) -> int:
        return self.message.partition()  # type: ignore[return-value] # as above

    @property
    def offset(self) -> int:
        return self.message.offset()  # type: ignore[return-value] # as above

    @property
    def key(self) -> bytes | None:
        return self.message.key()

    @property
    def value(self) -> bytes | None:
        return self.message.value()

    @property
    def headers(self) -> Headers:
        return self.message.headers() or ()  # type: ignore[return-value] # as the broker sent them: pairs

    @property
    def timestamp_ms(self) -> int:
        return self.message.timestamp()[1]

    def stored(self) -> StoredRecord:
        """The same in plain fields, to be kept."""
        return StoredRecord(
            self.topic, self.partition, self.offset, self.key, self.value, tuple(self.headers), self.timestamp_ms
        )


class Counter:
    """How many records were handed out. Thread-safe."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, count: int) -> None:
        with self._lock:
            self.value += count
