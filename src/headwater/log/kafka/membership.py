"""Members of a consumer group: who owns which partition now, and the proof of it.

Two clients make a member. One joins the group, is polled first at every read and delivers nothing (its
partitions are paused as soon as they are assigned), so that a revocation never waits behind records. The other
one is a plain reader of what was started. Nothing here depends on seeking in a consumer that is being
rebalanced. The reader can be read ahead while the first client, and so the group, is not heard: while a transaction is
open.

A fence is the group's metadata, read on the polling thread together with the member id under which the
partitions were assigned. A classic group accepts offsets from a client that never joined, so a fence without
member id, with another one, or for a partition that is not assigned is refused here, before Kafka is asked.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from headwater.errors import Misuse
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.answers import Kind, kind_of
from headwater.log.kafka.connection import ClientLog, Connection, Contact
from headwater.log.kafka.marks import MARK
from headwater.log.kafka.reading import KafkaReader
from headwater.log.kafka.records import Counter
from headwater.log.port import Batch, Fenced, Positions, Record, TopicPartition

logger = logging.getLogger("headwater.log.kafka")

_SLICE_S = 0.05
_LEAVING_S = 5.0
SESSION_AT_KIP_848 = "consumer.session.timeout.ms"
_HEARTBEAT_AT_KIP_848 = "consumer.heartbeat.interval.ms"


@dataclass(frozen=True, slots=True)
class KafkaFence:
    """What `Member.fence` gives. Arguments: member: who gave it; id: its member id then; metadata: the
    group's, as the client read it; partitions: assigned then."""

    member: KafkaMember
    id: str
    metadata: Any
    partitions: frozenset[TopicPartition]

    def check(self, group: str, partitions: Iterable[TopicPartition]) -> None:
        """Raises: Fenced: the member that gave this is none any more, or does not own one of the partitions.
        Misuse: it belongs to another group."""
        if group != self.member.group:
            raise Misuse(f"this is a fence of group {self.member.group}, not of {group}")
        if not self.id or self.id != self.member.current_id():
            raise Fenced(f"{self.member.name} is no member of group {group} any more")
        if foreign := [str(p) for p in partitions if p not in self.partitions]:
            raise Fenced(f"{self.member.name} does not own {', '.join(foreign)} in group {group}")


class KafkaMember:
    """See `headwater.log.port.Member`.

    Arguments: connection; administration; counter: of the records handed out; group; topics; name: shown in
    the group, with the process's id; left: told once it is closed.
    """

    def __init__(
        self,
        connection: Connection,
        administration: Administration,
        counter: Counter,
        group: str,
        topics: Sequence[str],
        name: str,
        left: Callable[[KafkaMember], None],
    ) -> None:
        for topic in topics:
            administration.partition_count(topic)
        self.group, self.name, self._left = group, name, left
        self._connection = connection
        self._contact = Contact(connection, time.monotonic)
        self._reader = KafkaReader(connection, administration, counter, name=name)
        self._owned: set[TopicPartition] = set()
        self._owned_as = ""
        self._assigned: list[TopicPartition] = []
        self._revoked: list[TopicPartition] = []
        self._ahead: Batch | Exception | None = None
        self._most = 0
        self._closed = False
        self._consumer = Consumer(
            {**_joining(connection, administration, group), "client.id": f"{name}@{connection.process}"},
            error_cb=self._contact.on_error,
            logger=ClientLog(),
        )
        assigned, revoked = _weak(self._on_assign), _weak(self._on_revoke)
        self._consumer.subscribe(list(topics), on_assign=assigned, on_revoke=revoked, on_lost=revoked)

    @property
    def id(self) -> str:
        return self.current_id()

    def current_id(self) -> str:
        """The member id that the group knows this member by now; empty: none."""
        if self._closed:
            return ""
        return self._consumer.memberid() or ""

    def read(self, max_records: int, timeout_s: float) -> Batch:
        deadline, self._most = time.monotonic() + timeout_s, max_records
        while True:
            left_s = deadline - time.monotonic()
            self._poll_group(0 if self._owned and max_records else max(0.0, min(left_s, _SLICE_S)))
            news = bool(self._assigned or self._revoked)
            wait_s = 0.0 if news else max(0.0, min(left_s, _SLICE_S))
            batch = self._read(max_records, wait_s) if max_records and self._owned else Batch()
            if news or batch.records or batch.reached or batch.ended or left_s <= 0 or self._closed:
                batch.assigned, self._assigned = self._assigned, []
                batch.revoked, self._revoked = self._revoked, []
                return batch

    def _read(self, max_records: int, timeout_s: float) -> Batch:
        """What was read ahead, with what has come since; else what comes."""
        ahead = self._ahead
        if isinstance(ahead, Exception):
            self._ahead = None
            raise ahead
        if ahead is None:
            batch = self._reader.read(max_records, timeout_s)
        else:
            room = max_records - len(ahead.records)
            batch = _joined(ahead, self._reader.read(room, 0) if room > 0 else Batch())
            self._ahead = None
        batch.look_ahead = self._look_ahead
        return batch

    def _look_ahead(self) -> Sequence[Record]:
        """See `Batch.look_ahead`. What keeps it from reading is raised by the next read, whatever has become of the
        partitions by then: the client may tell it only once, and may have taken records with it."""
        if self._ahead is None and self._owned:
            try:
                self._ahead = self._reader.read(self._most, 0)
            except Exception as error:  # noqa: BLE001 -- whoever has a transaction open must not take it for its own
                self._ahead = error
        return self._ahead.records if isinstance(self._ahead, Batch) else ()

    def _forget_ahead(self, partitions: Iterable[TopicPartition]) -> None:
        """Of what was read ahead: these are read from elsewhere, or by somebody else."""
        ahead, gone = self._ahead, set(partitions)
        if isinstance(ahead, Batch):
            ahead.records = [one for one in ahead.records if TopicPartition(one.topic, one.partition) not in gone]
            ahead.reached = {tp: position for tp, position in ahead.reached.items() if tp not in gone}
            ahead.ended -= gone

    def start(self, positions: Positions) -> None:
        if foreign := [str(partition) for partition in positions if partition not in self._owned]:
            raise Fenced(f"{self.name} does not own {', '.join(foreign)} in group {self.group}")
        self._forget_ahead(positions)
        self._reader.add(positions)

    def fence(self) -> KafkaFence:
        id_before = self.current_id()
        if not id_before or id_before != self._owned_as:
            return KafkaFence(self, "", None, frozenset())
        metadata = self._consumer.consumer_group_metadata()
        # Read around the metadata: a member that lost its place in between carries another id afterwards.
        id_after = self.current_id()
        return KafkaFence(self, id_before if id_after == id_before else "", metadata, frozenset(self._owned))

    def commit(self, positions: Positions) -> None:
        if not positions:
            return
        self.fence().check(self.group, positions)
        wanted = [KafkaPartition(topic, partition, at, MARK) for (topic, partition), at in positions.items()]
        try:
            results = self._consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            raise self._not_committed(error.args[0]) from error
        for at in results:
            if at.error is not None:
                raise self._not_committed(at.error)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._owned.clear()
            self._reader.close()
            self._leave()
            self._consumer.close()
            self._left(self)

    def _leave(self) -> None:
        """Leaves the group before the client is closed.

        A client that is closed while the news of an assignment waits to be polled is told of it in `close`, and
        once more that it is gone. What the second call then asks of the client has no answer if the broker confirmed in
        between that the member has left: the call never ends, and keeps Python's lock (2.16.0). Here it is not
        ending yet, and answers.
        """
        deadline = time.monotonic() + _LEAVING_S
        try:
            self._consumer.unsubscribe()
            self._consumer.poll(0)
            while self._consumer.assignment() and time.monotonic() < deadline:
                self._consumer.poll(_SLICE_S)
        except KafkaException as error:
            # `close` leaves, too; the client is of no use to anybody, so why it could not is no news.
            logger.debug("%s could not leave group %s before it is closed: %s", self.name, self.group, error)

    def _poll_group(self, timeout_s: float) -> None:
        """Lets the group's news in. Messages of this client are failures only."""
        if self._closed:
            return
        message = self._consumer.poll(timeout_s)
        error = None if message is None else message.error()
        if message is not None and error is None:
            # Fetched between assignment and pause; the reader delivers it when it is wanted.
            self._contact.heard()
        elif error is not None and error.code() not in (
            KafkaError._AUTO_OFFSET_RESET,
            KafkaError._MAX_POLL_EXCEEDED,
        ):
            raise self._connection.translated(error, f"reading in group {self.group}")
        self._contact.check()

    def _on_assign(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self._owned_as = consumer.memberid() or ""
        if not partitions:
            return
        new = [TopicPartition(at.topic, at.partition) for at in partitions]
        consumer.incremental_assign([KafkaPartition(topic, partition, 0) for topic, partition in new])
        consumer.pause([KafkaPartition(topic, partition) for topic, partition in new])
        self._owned.update(new)
        self._assigned += new

    def _on_revoke(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        gone = [TopicPartition(at.topic, at.partition) for at in partitions]
        self._owned.difference_update(gone)
        self._forget_ahead(gone)
        if not self._closed:
            self._reader.drop(gone)
        told = [partition for partition in gone if partition not in self._assigned]
        self._assigned = [partition for partition in self._assigned if partition not in gone]
        self._revoked += told
        # The client takes the partitions off its own assignment after this call.

    def _not_committed(self, error: KafkaError) -> Exception:
        if kind_of(error) in (Kind.NO_MEMBER, Kind.OUTDATED):
            return Fenced(f"{self.name} could not commit in group {self.group}: {error.str()}")
        return self._connection.translated(error, f"committing in group {self.group}")


def _joined(first: Batch, then: Batch) -> Batch:
    """Two reads as one, which goes on with the list of the first."""
    first.records += then.records
    first.ended = (first.ended - then.reached.keys()) | then.ended
    first.reached.update(then.reached)
    return first


def _weak(method: Callable[[Consumer, list[KafkaPartition]], None]) -> Callable[[Consumer, list[KafkaPartition]], None]:
    """Calls it while its object lives. The client refers to what it calls: else the two would keep each other, and
    the client's threads and its thread-local key (of which a process has about a thousand), until a collection."""
    reference = weakref.WeakMethod(method)

    def call(consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        if (living := reference()) is not None:
            living(consumer, partitions)

    return call


def _joining(connection: Connection, administration: Administration, group: str) -> dict[str, object]:
    options = connection.options
    session_ms = round(options.session_timeout_s * 1000)
    settings: dict[str, object] = {
        **connection.settings(),
        "group.id": group,
        "group.protocol": options.group_protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 20,
        "max.poll.interval.ms": max(session_ms, round(options.poll_timeout_s * 1000)),
    }
    if options.group_protocol == "classic":
        heartbeat_ms = max(100, min(3000, session_ms // 4))
        return {
            **settings,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": heartbeat_ms,
        }
    # With KIP-848 the session is the broker's business; its default leaves a dead owner in place for 45 s.
    administration.configure_group(
        group, {SESSION_AT_KIP_848: str(session_ms), _HEARTBEAT_AT_KIP_848: str(max(1000, session_ms // 4))}
    )
    return settings
