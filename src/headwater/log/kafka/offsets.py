"""Where partitions begin, end, and stand at a time.

Asked through two idle consumers, one that sees committed records only and one that sees all. A consumer that
reads answers such questions behind its own fetch; the admin client's request for offsets ends the whole process
with a failed assertion when a broker goes away at the wrong moment (seen with librdkafka 2.16.0).

An idle consumer does not notice that a partition has another leader: it asks the one that it knows for as long as it
believes what it knows, which is minutes. So one that did not tell everything is replaced by a new one, which knows
nothing yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from headwater.errors import Misuse
from headwater.log.kafka.connection import ClientLog, Connection, passes
from headwater.log.port import TopicPartition

_PASSES_TOO = (
    KafkaError._UNKNOWN_PARTITION,  # the partitions exist: a client that does not know them has lost its brokers
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._NOENT,
    KafkaError._TIMED_OUT,
    KafkaError._DESTROY_BROKER,
)
_HEARD_OF_S = 1.0
"""How long a topic that should be there is asked for before it is taken for gone."""
_FIRST_PATIENCE_S = 1.0
"""How long one consumer is waited for; the next one twice as long, and so on."""


class Offsets:
    """Thread-safe. Arguments: connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._askers = {True: _Asker(connection, "read_committed"), False: _Asker(connection, "read_uncommitted")}

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._ask(dict.fromkeys(partitions, OFFSET_BEGINNING), committed=True)

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool) -> dict[TopicPartition, int]:
        return self._ask(dict.fromkeys(partitions, OFFSET_END), committed=committed)

    def at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """The first offset at or after a time; the end where there is none."""
        found = self._ask(dict.fromkeys(partitions, timestamp_ms), committed=True)
        later = [partition for partition, offset in found.items() if offset == OFFSET_END]
        return {**found, **(self.ends(later, committed=True) if later else {})}

    def close(self) -> None:
        for asker in self._askers.values():
            asker.close()

    def _ask(self, wanted: Mapping[TopicPartition, int], *, committed: bool) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = {}
        begun_s, patience_s = time.monotonic(), _FIRST_PATIENCE_S
        deadline = begun_s + self._connection.options.answer_timeout_s
        while len(found) < len(wanted):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._connection.unavailable(f"offsets of {len(wanted) - len(found)} partition(s) were not told")
            missing = {partition: at for partition, at in wanted.items() if partition not in found}
            asked_s = time.monotonic()
            try:
                found.update(self._askers[committed].ask(missing, min(left_s, patience_s)))
            except Misuse:
                # A broker may not have heard yet of a topic that was made a moment ago.
                if time.monotonic() > begun_s + _HEARD_OF_S:
                    raise
                time.sleep(0.05)
            if time.monotonic() - asked_s >= patience_s:
                patience_s *= 2
        return found


class _Asker:
    """A consumer that reads nothing. Arguments: connection; isolation: which records it sees."""

    def __init__(self, connection: Connection, isolation: str) -> None:
        self._connection, self._isolation = connection, isolation
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None

    def ask(self, wanted: Mapping[TopicPartition, int], timeout_s: float) -> dict[TopicPartition, int]:
        """What could be told; partitions whose leader is moving are left out. Raises: Unavailable."""
        asked = [KafkaPartition(topic, partition, at) for (topic, partition), at in wanted.items()]
        names = ", ".join(map(str, wanted)) if len(wanted) < 4 else f"{len(wanted)} partitions"
        with self._lock:
            try:
                answers = self._opened().offsets_for_times(asked, timeout=timeout_s)
            except KafkaException as error:
                if not _passes(error.args[0]):
                    self._close()
                    raise self._connection.translated(error.args[0], f"asking for offsets of {names}") from error
                answers = []
            for answer in answers:
                if answer.error is not None and not _passes(answer.error):
                    self._close()
                    raise self._connection.translated(
                        answer.error, f"asking for offsets of {answer.topic}/{answer.partition}"
                    )
            found = {
                TopicPartition(answer.topic, answer.partition): answer.offset
                for answer in answers
                if answer.error is None and answer.offset >= OFFSET_END
            }
            if len(found) < len(wanted):
                self._close()
                time.sleep(0.01)
        return found

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _opened(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    **self._connection.settings(),
                    "group.id": "headwater-readers",
                    "client.id": f"offsets@{self._connection.process}",
                    "isolation.level": self._isolation,
                    "enable.auto.commit": False,
                },
                logger=ClientLog(),
            )
        return self._consumer


def _passes(error: KafkaError) -> bool:
    return passes(error) or error.code() in _PASSES_TOO
