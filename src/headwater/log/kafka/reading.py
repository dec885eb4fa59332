"""Reading partitions: batches of committed records, and how far they reach.

    consumer ──consume──► messages ──► records, reached, ended

The consumer reads ahead into a bounded queue. A partition's end is an event of its own (`enable.partition.eof`),
whose offset lies past transaction markers: that is where `reached` gets past gaps. The event comes once per
distinct end, after the fetch that found nothing more; `fetch.wait.max.ms` bounds how long that takes, and
also how long anything else waits on that connection, so it is small.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from headwater.errors import HeadwaterError, Unavailable
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.connection import ClientLog, Connection, Contact
from headwater.log.kafka.records import Counter, KafkaRecord
from headwater.log.port import Batch, Positions, TopicPartition

_PATIENT = {"fetch.wait.max.ms": 500, "fetch.min.bytes": 65_536}

_AT_ONCE = 5_000
"""So many records the client makes in one call, in which it keeps Python's lock: another thread, at work on the batch
before, has it only between two calls."""

_SLICE_S = 0.05
"""How long one wait inside the client takes at most: a close from another thread is seen after it."""


def reading_settings(connection: Connection) -> dict[str, object]:
    """Settings of every consumer that delivers records."""
    return {
        **connection.settings(),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 20,
        # What is read ahead is bounded in bytes. A full queue is looked at again after 1 ms, not after the
        # default's second: that is 1,300,000 records/s instead of 160,000.
        "queued.max.messages.kbytes": 32_768,
        "fetch.queue.backoff.ms": 1,
    }


class KafkaReader:
    """See `headwater.log.port.Reader`.

    Arguments: connection; administration: asked what was lost when a position is out of range; counter: of
    the records handed out; name: client id; patient: see `Log.reader`.
    """

    def __init__(
        self,
        connection: Connection,
        administration: Administration,
        counter: Counter,
        *,
        name: str = "reader",
        patient: bool = False,
    ) -> None:
        self._connection, self._administration, self._counter = connection, administration, counter
        self._contact = Contact(connection, time.monotonic)
        self._consumer = Consumer(
            {
                **reading_settings(connection),
                **(_PATIENT if patient else {}),
                # Never joins: the client wants a name, and positions are always given.
                "group.id": "headwater-readers",
                "client.id": f"{name}@{connection.process}",
                "error_cb": self._contact.on_error,
            },
            logger=ClientLog(),
        )
        self._positions: dict[TopicPartition, int] = {}
        self._asked: list[KafkaPartition] = []
        self._fresh: set[TopicPartition] = set()
        self._topics: set[str] = set()
        self._reading = threading.Lock()
        self._closed = False

    def assign(self, positions: Positions) -> None:
        self._administration.check(positions)
        self._positions, self._fresh = dict(positions), set(positions)
        self._asked = _asked(positions)
        self._consumer.assign(_asked(positions))
        self._introduce(positions)

    def add(self, positions: Positions) -> None:
        """Reads these too, from these positions; one that is read already goes there."""
        known = [partition for partition in positions if partition in self._positions]
        if known:
            self.drop(known)
        self._positions.update(positions)
        self._fresh.update(positions)
        self._asked = _asked(self._positions)
        self._consumer.incremental_assign(_asked(positions))
        self._introduce(positions)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Reads these no longer."""
        gone = [partition for partition in partitions if partition in self._positions]
        for partition in gone:
            del self._positions[partition]
        self._asked = _asked(self._positions)
        if gone:
            self._consumer.incremental_unassign([KafkaPartition(*partition) for partition in gone])

    def read(self, max_records: int, timeout_s: float) -> Batch:
        with self._reading:
            if self._closed:
                return Batch()
            messages = self._consume(max_records)
            if not messages and timeout_s > 0:
                messages = self._wait(max_records, timeout_s)
            if not messages:
                self._contact.check()
                return Batch()
            self._contact.heard()
            return self._batch(messages)

    def close(self) -> None:
        self._closed = True
        with self._reading:
            self._consumer.close()

    def _introduce(self, positions: Positions) -> None:
        """Asks for the leaders of topics that are new to this client, which would look for them by itself only
        once a second."""
        for topic in {partition.topic for partition in positions} - self._topics:
            with contextlib.suppress(KafkaException):
                self._consumer.list_topics(topic, timeout=1.0)
            self._topics.add(topic)

    def _wait(self, max_records: int, timeout_s: float) -> list[Message]:
        """The first message, as soon as it is there, and what came with it."""
        deadline = time.monotonic() + timeout_s
        while not self._closed:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            first = self._consumer.poll(min(left_s, _SLICE_S))
            if first is not None:
                return [first, *self._consume(max_records - 1)]
            self._contact.check()
        return []

    def _consume(self, max_records: int) -> list[Message]:
        """What is there."""
        messages: list[Message] = []
        while (left := max_records - len(messages)) > 0:
            some = self._consumer.consume(min(left, _AT_ONCE), 0)
            messages += some
            if len(some) < _AT_ONCE:
                break
        return messages

    def _batch(self, messages: list[Message]) -> Batch:
        batch, records = Batch(), list[Message]()
        for begin in range(0, len(messages), _AT_ONCE):
            some = messages[begin : begin + _AT_ONCE]
            if any(map(Message.error, some)):
                some = self._take_events(some, batch)
            records += some
            batch.records += map(KafkaRecord, some)
        self._counter.add(len(records))
        if records:
            self._advance(batch, records)
        return batch

    def _advance(self, batch: Batch, messages: list[Message]) -> None:
        """What was delivered moves the positions: asked of the client once, not counted per record."""
        for at in self._consumer.position(self._asked):
            partition, position = TopicPartition(at.topic, at.partition), at.offset
            if partition in self._fresh:
                # For a moment after an assignment the client still tells the position from before it.
                last = _last_of(partition, messages)
                if last is not None or position < 0:
                    self._fresh.discard(partition)
                position = -1 if last is None else last + 1
            if position > self._positions[partition]:
                batch.reached[partition] = self._positions[partition] = position

    def _take_events(self, messages: list[Message], batch: Batch) -> list[Message]:
        """Sorts the client's own events out of the records: ends and failures."""
        records = []
        for message in messages:
            error = message.error()
            partition = TopicPartition(message.topic() or "", message.partition() or 0)
            if error is None:
                records.append(message)
                # What comes after an end makes it the end no more; the new one is told again.
                batch.ended.discard(partition)
            elif partition in self._positions and error.code() == KafkaError._PARTITION_EOF:
                batch.ended.add(partition)
                end = message.offset() or 0
                if end > self._positions[partition]:
                    batch.reached[partition] = self._positions[partition] = end
            elif partition in self._positions or error.fatal():
                raise self._failure(partition, error)
        return records

    def _failure(self, partition: TopicPartition, error: KafkaError) -> HeadwaterError:
        out_of_range = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
        if error.code() not in out_of_range:
            return self._connection.translated(error, f"reading {partition}")
        wanted = self._positions[partition]
        begin = self._administration.begins([partition])[partition]
        if wanted < begin:
            return Unavailable(
                f"{partition}: offsets {wanted} to {begin - 1} are gone (deleted by age or size); "
                f"the first that is kept is {begin}"
            )
        end = self._administration.ends([partition])[partition]
        return Unavailable(
            f"{partition} ends at {end}, so it cannot be read from {wanted}: was the topic made anew, or is "
            "this position from another cluster?"
        )


def _asked(positions: Positions) -> list[KafkaPartition]:
    return [
        KafkaPartition(topic, partition, position if position > 0 else 0)
        for (topic, partition), position in positions.items()
    ]


def _last_of(partition: TopicPartition, messages: list[Message]) -> int | None:
    """The offset of the last message of a partition."""
    for message in reversed(messages):
        if message.partition() == partition.partition and message.topic() == partition.topic:
            return message.offset()
    return None
