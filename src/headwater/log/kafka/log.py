"""The log on Apache Kafka: the parts of this package behind the one port."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from headwater.log.findings import Finding
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.appending import Appender
from headwater.log.kafka.connection import Connection, KafkaOptions
from headwater.log.kafka.examining import examine
from headwater.log.kafka.held import Watch
from headwater.log.kafka.keyed import KeyIndex
from headwater.log.kafka.membership import KafkaMember
from headwater.log.kafka.outcome import Outcome
from headwater.log.kafka.reading import KafkaReader
from headwater.log.kafka.records import Counter
from headwater.log.kafka.settling import settle
from headwater.log.kafka.transactions import KafkaWriter
from headwater.log.port import (
    GroupDescription,
    Held,
    NewRecord,
    OnDone,
    Positions,
    Record,
    TopicDescription,
    TopicPartition,
    TopicSpec,
)

Opened = TypeVar("Opened", KafkaReader, KafkaWriter)


class KafkaLog:
    """A log on a Kafka cluster. See `headwater.log.port.Log`.

    Every call ends: a cluster that does not answer is `Unavailable` after `answer_timeout_s`, a commit under
    way after that and `transaction_timeout_s`. Calls work again when it is back.

    Arguments: bootstrap: host:port, with commas; the others: see `KafkaOptions`; numbers may come as text, as
    an address carries them.
    Raises: Unavailable: no broker answers there. Misuse: an option that there is not.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        group_protocol: str = "classic",
        connect_timeout_s: float | str = 10.0,
        answer_timeout_s: float | str = 10.0,
        session_timeout_s: float | str = 6.0,
        poll_timeout_s: float | str = 30.0,
        transaction_timeout_s: float | str = 12.0,
        index_directory: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        options = KafkaOptions(
            group_protocol,
            float(connect_timeout_s),
            float(answer_timeout_s),
            float(session_timeout_s),
            float(poll_timeout_s),
            float(transaction_timeout_s),
            Path(index_directory) if index_directory else None,
            settings or {},
        )
        self._connection = Connection(bootstrap, options)
        self._administration = Administration(self._connection)
        self._appender = Appender(self._connection, self._administration)
        self._watch = Watch(self._connection, self._administration)
        self._counter = Counter()
        self._index = KeyIndex(self._connection, self._administration, self._counter)
        # A process opens readers for as long as it lives, and a client that is referred to is never given back.
        self._open: weakref.WeakSet[KafkaReader | KafkaWriter] = weakref.WeakSet()
        # Members are kept until they are closed. librdkafka never comes back from a consumer that is dropped while it
        # joins its group, and keeps a core busy meanwhile.
        self._members: set[KafkaMember] = set()
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        return self._connection.cluster_id

    @property
    def url(self) -> str:
        return f"kafka://{self._connection.bootstrap}"

    @property
    def embedded(self) -> bool:
        return False

    @property
    def cache(self) -> Path:
        return self._connection.cache

    @property
    def records_read(self) -> int:
        return self._counter.value

    @property
    def transaction_timeout_s(self) -> float:
        return self._connection.options.transaction_timeout_s

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        self._administration.create_topics(specs)

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        return self._administration.topics(names)

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._administration.begins(partitions)

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        return self._administration.ends(partitions, committed=committed)

    def held(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Held]:
        return self._watch.held(partitions)

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        return self._administration.positions_at(partitions, timestamp_ms)

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return self._appender.append(records)

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        self._appender.append_nowait(records, on_done)

    def reader(self, *, envelopes: bool = True, patient: bool = False) -> KafkaReader:
        return self._opened(KafkaReader(self._connection, self._administration, self._counter, patient=patient))

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> KafkaMember:
        parts = self._connection, self._administration, self._counter
        member = KafkaMember(*parts, group, topics, name, self._members.discard)
        self._members.add(member)
        return member

    def writer(self, name: str) -> KafkaWriter:
        outcome = Outcome(self._connection, self._administration)
        return self._opened(KafkaWriter(self._connection, self._administration, outcome, name))

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        return self._index.records(partition, key)

    def delete_before(self, positions: Positions) -> None:
        self._administration.delete_before(positions)

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        settle(self._connection, self._administration, group, partitions)

    def committed(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        found = self._administration.committed(group, partitions)
        return {partition: position for partition, (position, _) in found.items()}

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        self._administration.reset(group, positions, foreign=foreign)

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        return self._administration.groups(names)

    def examine(self, specs: Sequence[TopicSpec], groups: Sequence[str]) -> list[Finding]:
        return examine(self._connection, self._watch, specs, groups)

    def close(self) -> None:
        with self._lock:
            opened = [*self._open, *self._members]
            self._open.clear()
        for one in opened:
            one.close()
        self._appender.close()
        self._index.close()
        self._watch.close()
        self._administration.close()
        self._connection.close()

    def _opened(self, one: Opened) -> Opened:
        with self._lock:
            self._open.add(one)
        return one
