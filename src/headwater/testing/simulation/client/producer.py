"""The producer: idempotent, with or without transactions, as librdkafka 2.16 is one.

It repeats by itself what it got no answer to, in particular EndTxn, and then reports success; only its log tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from headwater.testing.simulation.client.base import Client, Logger, OutOfTime, Shared, failure
from headwater.testing.simulation.cluster.partition import NewEntry, Refused
from headwater.testing.simulation.cluster.transactions import Where
from headwater.testing.simulation.network import Lost

Report = Callable[[KafkaError | None, Message], None]
State = Literal["new", "ready", "open", "abortable", "fatal"]

FENCED = frozenset((KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED))
BUSY = frozenset((KafkaError.CONCURRENT_TRANSACTIONS,))
ADD_BACKOFF_S = 0.02
"""librdkafka asks again so soon whether partitions can be added; for positions it waits longer."""
POSITIONS_BACKOFF_S = 0.05


class GroupMetadata:
    """What `consumer_group_metadata` gives."""

    def __init__(self, group: str, member: str, generation: int) -> None:
        self.group, self.member, self.generation = group, member, generation


class Waiting:
    """A record that was not reported yet."""

    __slots__ = ("entry", "on_delivery", "since_s")

    def __init__(self, entry: NewEntry, on_delivery: Report | None, since_s: float) -> None:
        self.entry, self.on_delivery, self.since_s = entry, on_delivery, since_s


class Lane:
    """The records for one partition, in order. `batch`: how many of them are on their way."""

    __slots__ = ("batch", "sequence", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.batch = 0
        self.sequence = 0


class Producer(Client):
    def __init__(self, shared: Shared, settings: Mapping[str, Any], logger: Logger | None = None) -> None:
        super().__init__(shared, settings, logger)
        self._id: str = str(settings.get("transactional.id", ""))
        self._timeout_s = float(settings.get("transaction.timeout.ms", 60_000)) / 1000
        default_ms = self._timeout_s * 1000 if self._id else 300_000
        self._record_s = float(settings.get("message.timeout.ms", default_ms)) / 1000
        self._idempotent = bool(self._id or settings.get("enable.idempotence"))
        self._pid, self._epoch = -1, -1
        self._state: State = "new"
        self._error: KafkaError | None = None
        self._lanes: dict[Where, Lane] = {}
        self._added: set[Where] = set()
        self._adding: set[Where] = set()
        self._moved: set[str] = set()
        self._outstanding = 0
        self._initialising = False

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
        where = topic, partition
        lane = self._lanes.get(where)
        if lane is None:
            lane = self._lanes[where] = Lane()
        entry = NewEntry(key, value, headers, timestamp)
        lane.waiting.append(Waiting(entry, on_delivery, self.scheduler.now_s))
        self._outstanding += 1
        if not lane.batch:
            self.later(0.0001, lambda: self._pump(where))

    def poll(self, timeout: float = -1) -> int:
        served = self.serve()
        if not served and timeout:
            self.waiters.wait(None if timeout < 0 else timeout)
            served = self.serve()
        return served

    def flush(self, timeout: float = -1) -> int:
        deadline_s = self.deadline(timeout)
        self.serve()
        while self._outstanding:
            left_s = None if deadline_s is None else deadline_s - self.scheduler.now_s
            if left_s is not None and left_s <= 0:
                break
            self.waiters.wait(left_s)
            self.serve()
        return self._outstanding

    # --- transactions

    def init_transactions(self, timeout: float = -1) -> None:
        timeout_s, id = self._timeout_s, self._id
        try:
            self._pid, self._epoch = self.repeated(
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
        pid, epoch = self._pid, self._epoch
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
        for where, lane in self._lanes.items():
            self._fail(where, lane, KafkaError(KafkaError._PURGE_QUEUE))
        self.flush(timeout)
        self._end(False, self.deadline(timeout))

    def _end(self, commit: bool, deadline_s: float | None) -> None:
        cluster, id, pid, epoch = self.cluster, self._id, self._pid, self._epoch
        if self._added or self._moved or self._adding:
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
        self._added.clear()
        self._moved.clear()
        self._adding.clear()
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
        """From now on the transaction, or the producer, is of no use."""
        fatal = fatal or code in FENCED
        told = KafkaError._FENCED if code in FENCED else code
        if self._state != "fatal":
            self._state = "fatal" if fatal else "abortable"
            self._error = KafkaError(told, f"{what}: {KafkaError(code).name()}", fatal, False, not fatal)
        return self._failed()

    def _pump(self, where: Where) -> None:
        """Sends what waits for a partition, if nothing is on its way there."""
        lane = self._lanes[where]
        if lane.batch or not lane.waiting or self._state == "fatal":
            return
        if self._id and where not in self._added:
            self._add(where)
            return
        if self._idempotent and self._pid < 0:
            self._initialise()
            return
        chance = self.scheduler.random
        most = len(lane.waiting) if chance.random() < 0.7 else 1 + chance.randrange(len(lane.waiting))
        lane.batch = most
        self._send(where, lane)

    def _send(self, where: Where, lane: Lane) -> None:
        entries = [one.entry for _, one in zip(range(lane.batch), lane.waiting, strict=False)]
        cluster, pid, epoch, sequence = self.cluster, self._pid, self._epoch, lane.sequence
        in_transaction = bool(self._id)

        def answered(offset: Any, error: Exception | None) -> None:
            if not lane.batch:
                return  # it was given up meanwhile
            if error is None:
                self._written(where, lane, offset)
            elif isinstance(error, Lost):
                if self.scheduler.now_s - lane.waiting[0].since_s > self._record_s:
                    self._give_up(where, lane, KafkaError._MSG_TIMED_OUT)
                else:
                    self.later(self.backoff_s, lambda: self._send(where, lane) if lane.batch else None)
            elif isinstance(error, Refused):
                self._give_up(where, lane, error.code)

        self.shared.network.send(
            self,
            "Produce",
            cluster.leader(where),
            lambda: cluster.produce(where, entries, pid, epoch, sequence, in_transaction),
            answered,
        )

    def _written(self, where: Where, lane: Lane, offset: int) -> None:
        count, lane.batch = lane.batch, 0
        lane.sequence += count
        for number in range(count):
            one = lane.waiting.popleft()
            self._report(where, one, None, offset + number)
        self._pump(where)

    def _give_up(self, where: Where, lane: Lane, code: int) -> None:
        self._fail(where, lane, KafkaError(KafkaError._FENCED if code in FENCED and self._id else code))
        if self._id:
            self._fails(code, "writing")
        elif code == KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER or code in FENCED:
            self._fails(code, "writing", fatal=True)
        else:
            self._pid = -1  # its numbers have a hole now: it begins anew under another id
            for one in self._lanes.values():
                one.sequence = 0

    def _fail(self, where: Where, lane: Lane, error: KafkaError) -> None:
        """All that waits for a partition is reported as failed."""
        lane.batch = 0
        while lane.waiting:
            self._report(where, lane.waiting.popleft(), error, -1001)

    def _report(self, where: Where, one: Waiting, error: KafkaError | None, offset: int) -> None:
        on_delivery = one.on_delivery
        if on_delivery is None:
            self._outstanding -= 1
            if not self._outstanding:
                self.waiters.wake()
            return
        message = Message(topic=where[0], partition=where[1], offset=offset, error=error)

        def report() -> None:
            self._outstanding -= 1
            on_delivery(error, message)

        self.tell(report)

    def _add(self, where: Where) -> None:
        """Tells the coordinator of a partition, then sends what waits for it."""
        if where in self._adding:
            return
        self._adding.add(where)
        cluster, id, pid, epoch = self.cluster, self._id, self._pid, self._epoch

        def answered(value: Any, error: Exception | None) -> None:
            if where not in self._adding:
                return  # the transaction is over
            if error is None:
                self._adding.discard(where)
                self._added.add(where)
                self._pump(where)
            elif isinstance(error, Lost) or (isinstance(error, Refused) and error.code in BUSY):
                self.later(ADD_BACKOFF_S if isinstance(error, Refused) else self.backoff_s, ask)
            elif isinstance(error, Refused):
                self._adding.discard(where)
                self._give_up(where, self._lanes[where], error.code)

        def ask() -> None:
            if where not in self._adding:
                return
            self.shared.network.send(
                self,
                "AddPartitionsToTxn",
                cluster.coordinator(id),
                lambda: cluster.transactions.add(id, pid, epoch, [where]),
                answered,
            )

        ask()

    def _initialise(self) -> None:
        """An id for a producer without transactions."""
        if self._initialising:
            return
        self._initialising = True

        def answered(pid: Any, error: Exception | None) -> None:
            if error is not None:
                self.later(self.backoff_s, ask)
                return
            self._initialising = False
            self._pid, self._epoch = pid, 0
            for where in self._lanes:
                self._pump(where)

        def ask() -> None:
            node = self.cluster.coordinator(self.name)
            self.shared.network.send(self, "InitProducerId", node, self.cluster.transactions.new_pid, answered)

        ask()


def _out_of_time(what: str) -> KafkaException:
    return failure(KafkaError._TIMED_OUT, f"{what}: timed out", retriable=True)
