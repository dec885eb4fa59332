"""Appending outside transactions: one idempotent producer for all threads of the process.

Few records leave at once, and so do those that are waited for. Many others in one call are a stream, of which more will
come: they wait a moment for others of their partition, since a request to the broker, and waking the client's thread
for it, costs as much as many records.

`on_done` is called by a thread of this module, which polls the producer for delivery reports, or by one that appends.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka._types import HeadersType

from headwater.errors import HeadwaterError
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.answers import RAISED, Kind, kind_of
from headwater.log.kafka.connection import ClientLog, Connection, logger
from headwater.log.limits import MAX_RECORD_BYTES, check_partition, check_size
from headwater.log.port import NewRecord, OnDone, Undecided

REFUSALS = frozenset({Kind.REFUSED, Kind.MISSING, Kind.FORBIDDEN, Kind.UNSUITED})
"""What the cluster says of a record that it has not taken."""

STREAM = 100
"""So many records in one call are part of a stream."""

LINGER_MS = 5
"""So long the records of a stream wait for more: with 5 ms, client and broker compute a sixteenth less for a command of
one than with none."""

_LEAVING_S = 0.001
"""So long is waited, at most, for few records to be reported. Telling the client to wait is what has it send them."""

_SURELY_SMALL = MAX_RECORD_BYTES // 4
"""A record whose key and value have no more bytes each is not measured exactly."""


def check(records: Sequence[NewRecord], administration: Administration) -> None:
    """Raises `Misuse` for a record that cannot be written, before any of them is."""
    topic: str | None = None
    count = 0
    for record in records:
        if record.topic is not topic:
            topic = record.topic
            count = administration.partition_count(topic)
        if not 0 <= record.partition < count:
            check_partition(record, count)
        value, key = record.value, record.key
        if (value is not None and len(value) > _SURELY_SMALL) or (key is not None and len(key) > _SURELY_SMALL):
            check_size(record)


class Delivery(msgspec.Struct, eq=False, gc=False):
    """Called with the delivery report of one record."""

    appender: Appender
    index: int
    on_done: OnDone

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.on_done(self.index, message.offset(), None)
        else:
            failure = self.appender.undelivered(error, f"{message.topic()}/{message.partition()}")
            self.on_done(self.index, None, failure)


class Appender:
    """Arguments: connection; administration: knows the topics."""

    def __init__(self, connection: Connection, administration: Administration) -> None:
        self._connection, self._administration = connection, administration
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._leaving: list[Producer] = []
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        if not records:
            return []
        offsets = [-1] * len(records)
        failures: list[Exception] = []
        missing, all_there = [len(records)], threading.Event()

        def on_done(index: int, offset: int | None, error: Exception | None) -> None:
            if error is not None:
                failures.append(error)
            elif offset is not None:
                offsets[index] = offset
            missing[0] -= 1
            if not missing[0]:
                all_there.set()

        self._push(self._write(records, on_done))
        # Every record is reported within the client's own time limit; of one whose report got lost nothing is known.
        if not all_there.wait(2 * self._connection.options.answer_timeout_s):
            raise self._unconfirmed(f"{missing[0]} of {len(records)} record(s)")
        if failures:
            raise failures[0]
        return offsets

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        if records:
            producer = self._write(records, on_done)
            if len(records) < STREAM:
                self._push(producer)

    def _push(self, producer: Producer) -> None:
        """Has what was written leave at once."""
        with self._reporting(producer):
            producer.flush(_LEAVING_S)

    def _write(self, records: Sequence[NewRecord], on_done: OnDone) -> Producer:
        check(records, self._administration)
        producer = self._ready(records[0].topic)
        for index, record in enumerate(records):
            given = record.headers
            headers: HeadersType | None = given if type(given) is list else list(given) if given else None
            while True:
                try:
                    producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        record.partition,
                        Delivery(self, index, on_done),
                        timestamp=record.timestamp_ms or 0,
                        headers=headers,
                    )
                    break
                except BufferError:
                    # Too much is under way: reports are served here until there is room.
                    with self._reporting(producer):
                        producer.poll(0.1)
                except KafkaException as error:
                    failure = self.refused(error.args[0], f"{record.topic}/{record.partition}")
                    if index == 0:
                        raise failure from error
                    on_done(index, None, failure)
                    break
        return producer

    def refused(self, error: KafkaError, where: str) -> HeadwaterError:
        """Of a record that the client did not take: it is not written."""
        if error.fatal():
            self._discard(self._producer)
        return self._connection.translated(error, f"appending to {where}")

    def undelivered(self, error: KafkaError, where: str) -> HeadwaterError:
        """Of a record that the client has tried to write: unless the cluster refused it, it may be there."""
        failure = self.refused(error, where)
        if kind_of(error) in REFUSALS:
            return failure
        if error.code() == KafkaError._MSG_TIMED_OUT:
            return self._unconfirmed(f"a record for {where}")
        return Undecided(f"{failure}; it may have been written")

    def _unconfirmed(self, what: str) -> Undecided:
        return Undecided(
            f"Kafka at {self._connection.bootstrap} did not confirm {what} within "
            f"{self._connection.options.answer_timeout_s:g} s; it may have been written"
        )

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._producer, self._leaving = None, []

    def _ready(self, topic: str) -> Producer:
        with self._lock:
            if self._producer is None:
                options = self._connection.options
                self._producer = Producer(
                    {
                        **self._connection.settings(),
                        "client.id": f"appender@{self._connection.process}",
                        "enable.idempotence": True,
                        "acks": "all",
                        "linger.ms": LINGER_MS,
                        "message.timeout.ms": round(options.answer_timeout_s * 1000),
                        "message.max.bytes": MAX_RECORD_BYTES,
                        "queue.buffering.max.messages": 500_000,
                    },
                    logger=ClientLog(),
                )
                # A question at once makes it connect at once; its first record would wait for half a second.
                with contextlib.suppress(KafkaException):
                    self._producer.list_topics(topic, timeout=options.connect_timeout_s)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="headwater-appender", daemon=True)
                self._thread.start()
            return self._producer

    def _discard(self, producer: Producer | None) -> None:
        """A producer with a fatal error can only be replaced. What it still has to report is waited for."""
        with self._lock:
            if producer is not None and self._producer is producer:
                self._producer = None
                self._leaving.append(producer)

    def _serve(self) -> None:
        """Lets the producers report. What is fatal to one comes out of this call, too, and must not end the thread:
        then nobody would ever be told anything."""
        while not self._closing.is_set():
            with self._lock:
                self._leaving = leaving = [producer for producer in self._leaving if len(producer)]
                producer = self._producer
            for one in leaving:
                with self._reporting(one):
                    one.poll(0)
            if producer is None:
                self._closing.wait(0.01)
            else:
                with self._reporting(producer):
                    producer.poll(0.1)
        with contextlib.suppress(*RAISED):
            if self._producer is not None:
                self._producer.flush(self._connection.options.answer_timeout_s)

    @contextlib.contextmanager
    def _reporting(self, producer: Producer) -> Iterator[None]:
        """Around a call in which the producer may report. What is fatal to it comes out of that, too."""
        try:
            yield
        except RAISED as error:
            logger.warning("the producer that appends is replaced: %s", error)
            self._discard(producer)
