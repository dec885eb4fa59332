"""The producer: idempotent, with or without transactions, as librdkafka 2.16 is one.

It repeats by itself what it got no answer to, in particular EndTxn, and then reports success; only its log tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headwater.testing.simulation.client.client import Client, Logger, OutOfTime, Shared, failure
from headwater.testing.simulation.client.outbox import ADD_BACKOFF_S, BUSY, FENCED, Outbox, Report
from headwater.testing.simulation.cluster.partition import NewEntry, Refused

State = Literal["new", "ready", "open", "abortable", "fatal"]

POSITIONS_BACKOFF_S = 0.05
"""How long librdkafka waits before it sends positions again; with partitions it is quicker."""


class GroupMetadata:
    """What `consumer_group_metadata` gives."""

    def __init__(self, group: str, member: str, generation: int) -> None:
        self.group, self.member, self.generation = group, member, generation


class Producer(Client):
    def __init__(self, shared: Shared, settings: Mapping[str, Any], logger: Logger | None = None) -> None:
        super().__init__(shared, settings, logger)
        self._id: str = str(settings.get("transactional.id", ""))
        self._timeout_s = float(settings.get("transaction.timeout.ms", 60_000)) / 1000
        default_ms = self._timeout_s * 1000 if self._id else 300_000
        self._outbox = Outbox(
            self,
            self._id,
            float(settings.get("message.timeout.ms", default_ms)) / 1000,
            linger_s=float(settings.get("linger.ms", 5)) / 1000,
            numbered=bool(self._id or settings.get("enable.idempotence")),
            fails=lambda code, fatal: self._note(code, "writing", fatal),
        )
        self._state: State = "new"
        self._error: KafkaError | None = None
        self._moved: set[str] = set()

    # --- records

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Report | None = None,
        timestamp: int = 0,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        self.scheduler.check_alive()
        if self._state == "fatal":
            raise failure(KafkaError._FATAL, "the producer failed for good", fatal=True)
        if self._id and self._state != "open":
            raise failure(KafkaError._STATE, f"no records are taken: the transaction is {self._state}")
        self._outbox.put((topic, partition), NewEntry(key, value, headers, timestamp), on_delivery)

    def poll(self, timeout: float = -1) -> int:
        served = self.serve()
        if not served and timeout:
            self.waiters.wait(None if timeout < 0 else timeout)
            served = self.serve()
        return served

    def __len__(self) -> int:
        """How many records, and reports of them, are under way."""
        return self._outbox.outstanding

    def flush(self, timeout: float = -1) -> int:
        deadline_s = self.deadline(timeout)
        self.serve()
        with self._outbox.hurried():
            while self._outbox.outstanding:
                left_s = None if deadline_s is None else deadline_s - self.scheduler.now_s
                if left_s is not None and left_s <= 0:
                    break
                self.waiters.wait(left_s)
                self.serve()
        return self._outbox.outstanding

    # --- transactions

    def init_transactions(self, timeout: float = -1) -> None:
        timeout_s, id = self._timeout_s, self._id
        try:
            self._outbox.pid, self._outbox.epoch = self.repeated(
                "InitProducerId",
                self.cluster.coordinator(id),
                lambda: self.cluster.transactions.initialise(id, timeout_s),
                self.deadline(timeout),
                BUSY,
            )
        except OutOfTime:
            raise _out_of_time("init_transactions") from None
        self._state = "ready"

    def begin_transaction(self) -> None:
        self.scheduler.check_alive()
        if self._state == "fatal":
            raise self._failed()
        if self._state != "ready":
            raise failure(KafkaError._STATE, f"begin_transaction while {self._state}")
        self._state = "open"

    def send_offsets_to_transaction(
        self, positions: Sequence[TopicPartition], metadata: GroupMetadata, timeout: float = -1
    ) -> None:
        self._check_open()
        deadline_s, cluster, id, group = self.deadline(timeout), self.cluster, self._id, metadata.group
        pid, epoch = self._outbox.pid, self._outbox.epoch
        at = {(one.topic, one.partition): (one.offset, one.metadata or "") for one in positions}
        try:
            if group not in self._moved:
                self.repeated(
                    "AddOffsetsToTxn",
                    cluster.coordinator(id),
                    lambda: cluster.add_positions(id, pid, epoch, group),
                    deadline_s,
                    BUSY,
                    ADD_BACKOFF_S,
                )
                self._moved.add(group)
            self.repeated(
                "TxnOffsetCommit",
                cluster.coordinator(group),
                lambda: cluster.commit_in(group, metadata.member, metadata.generation, pid, epoch, at),
                deadline_s,
                BUSY,
                POSITIONS_BACKOFF_S,
            )
        except OutOfTime:
            raise _out_of_time("send_offsets_to_transaction") from None
        except Refused as refused:
            raise self._fails(refused.code, "send_offsets_to_transaction") from None

    def commit_transaction(self, timeout: float = -1) -> None:
        self._check_open()
        deadline_s = self.deadline(timeout)
        left_s = -1.0 if deadline_s is None else max(0.0, deadline_s - self.scheduler.now_s)
        if self.flush(left_s):
            raise _out_of_time("commit_transaction")
        self._check_open()
        self._end(True, deadline_s)

    def abort_transaction(self, timeout: float = -1) -> None:
        if self._state == "fatal":
            raise self._failed()
        self._outbox.purge()
        self.flush(timeout)
        self._end(False, self.deadline(timeout))

    def _end(self, commit: bool, deadline_s: float | None) -> None:
        cluster, id, pid, epoch = self.cluster, self._id, self._outbox.pid, self._outbox.epoch
        if self._outbox.told or self._moved:
            try:
                self.repeated(
                    "EndTxn",
                    cluster.coordinator(id),
                    lambda: cluster.transactions.end(id, pid, epoch, commit),
                    deadline_s,
                    BUSY,
                )
            except OutOfTime:
                raise _out_of_time("commit_transaction" if commit else "abort_transaction") from None
            except Refused as refused:
                raise self._fails(refused.code, "EndTxn", fatal=True) from None
        self._outbox.ended()
        self._moved.clear()
        self._state = "ready"

    # --- inside

    def _check_open(self) -> None:
        self.scheduler.check_alive()
        if self._state in ("fatal", "abortable"):
            raise self._failed()
        if self._state != "open":
            raise failure(KafkaError._STATE, f"no transaction is open: {self._state}")

    def _failed(self) -> KafkaException:
        assert self._error is not None
        return KafkaException(self._error)

    def _fails(self, code: int, what: str, *, fatal: bool = False) -> KafkaException:
        self._note(code, what, fatal or code in FENCED)
        return self._failed()

    def _note(self, code: int, what: str, fatal: bool) -> None:
        """From now on the transaction, or the producer, is of no use."""
        if self._state == "fatal":
            return
        told = KafkaError._FENCED if code in FENCED else code
        self._state = "fatal" if fatal else "abortable"
        self._error = KafkaError(told, f"{what}: {KafkaError(code).name()}", fatal, False, not fatal)
        if fatal:
            self._outbox.close()


def _out_of_time(what: str) -> KafkaException:
    return failure(KafkaError._TIMED_OUT, f"{what}: timed out", retriable=True)
