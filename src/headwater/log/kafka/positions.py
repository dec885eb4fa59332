"""The positions of groups, asked through idle consumers of the groups, which never join them.

The admin client has a request for that, too. When it is answered by a broker that coordinates the group no longer, as
while brokers come and go, librdkafka asks a part of the client that only consumers have for the new one, and that ends
the whole process (seen with librdkafka 2.16.0, in `rd_kafka_handle_OffsetFetch`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from headwater.log.kafka.connection import ClientLog, Connection, passes
from headwater.log.port import TopicPartition

Committed = dict[TopicPartition, tuple[int, str]]
"""Positions, with the text that was committed with them."""

_KEPT = 16
"""So many consumers are kept for the next question; each has threads and connections."""


class GroupPositions:
    """Thread-safe. Arguments: connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._askers: dict[tuple[str, bool], _Asker] = {}

    def of(
        self, group: str, partitions: Sequence[TopicPartition], timeout_s: float, *, stable: bool
    ) -> Committed | None:
        """The positions that the group has in these partitions; None: they were not told in time, because no broker
        coordinates the group now or, if `stable`, because an open transaction holds one of them.

        Raises: Unavailable: the cluster refuses to tell them.
        """
        return self._asker(group, stable).ask(partitions, timeout_s) if partitions else {}

    def close(self) -> None:
        with self._lock:
            askers, self._askers = list(self._askers.values()), {}
        for asker in askers:
            asker.close()

    def _asker(self, group: str, stable: bool) -> _Asker:
        """The one that was used last is the last that is closed."""
        forgotten: list[_Asker] = []
        with self._lock:
            asker = self._askers.pop((group, stable), None) or _Asker(self._connection, group, stable)
            self._askers[group, stable] = asker
            while len(self._askers) > _KEPT:
                forgotten.append(self._askers.pop(next(iter(self._askers))))
        for one in forgotten:
            one.close()
        return asker


class _Asker:
    """One consumer. Arguments: connection; group; stable: whether it waits for open transactions."""

    def __init__(self, connection: Connection, group: str, stable: bool) -> None:
        self._connection, self._group, self._stable = connection, group, stable
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None

    def ask(self, partitions: Sequence[TopicPartition], timeout_s: float) -> Committed | None:
        """See `GroupPositions.of`."""
        what = f"asking for positions of group {self._group}"
        asked = [KafkaPartition(*partition) for partition in partitions]
        with self._lock:
            try:
                answers = self._opened().committed(asked, timeout=timeout_s)
            except KafkaException as error:
                if _passes(error.args[0]):
                    return None
                if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return {}
                raise self._connection.translated(error.args[0], what) from error
        found: Committed = {}
        for at in answers:
            if at.error is not None:
                if _passes(at.error):
                    return None
                raise self._connection.translated(at.error, what)
            if at.offset >= 0:
                found[TopicPartition(at.topic, at.partition)] = at.offset, at.metadata or ""
        return found

    def close(self) -> None:
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _opened(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    **self._connection.settings(),
                    "group.id": self._group,
                    "client.id": f"positions@{self._connection.process}",
                    # What it reads: with committed records only, positions of open transactions are waited for.
                    "isolation.level": "read_committed" if self._stable else "read_uncommitted",
                    "enable.auto.commit": False,
                    "retry.backoff.ms": 10,
                    "retry.backoff.max.ms": 50,
                },
                logger=ClientLog(),
            )
        return self._consumer


def _passes(error: KafkaError) -> bool:
    return passes(error) or error.code() in (KafkaError._TIMED_OUT, KafkaError._WAIT_COORD)
