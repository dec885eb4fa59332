"""What a producer has to write: records by partition, sent in order, each batch repeated until it is answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, Message

from headwater.testing.simulation.client.client import Client
from headwater.testing.simulation.cluster.partition import NewEntry, Refused
from headwater.testing.simulation.cluster.transactions import Where
from headwater.testing.simulation.network import Lost

Report = Callable[[KafkaError | None, Message], None]

FENCED = frozenset((KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED))
BUSY = frozenset((KafkaError.CONCURRENT_TRANSACTIONS,))
ADD_BACKOFF_S = 0.02
"""librdkafka asks again so soon whether partitions can be added."""


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


class Outbox:
    """Arguments: client: whose it is; id: transactional id (empty: none); record_s: how long a record is tried;
    linger_s: how long one waits for more of its partition, unless all are hurried; numbered: whether records are
    counted, so that a repetition is known; fails: called with an error code, and whether the producer is of no use any
    more.

    `pid`, `epoch`: the producer's, -1: none yet; `added`: partitions that the coordinator knows of; `outstanding`:
    records that were not reported yet.
    """

    def __init__(
        self,
        client: Client,
        id: str,
        record_s: float,
        *,
        linger_s: float,
        numbered: bool,
        fails: Callable[[int, bool], None],
    ) -> None:
        self._client, self._id, self._record_s, self._numbered, self._fails = client, id, record_s, numbered, fails
        self._linger_s, self._hurried = linger_s, 0
        self.pid, self.epoch = -1, -1
        self.added: set[Where] = set()
        self.outstanding = 0
        self._lanes: dict[Where, Lane] = {}
        self._adding: set[Where] = set()
        self._initialising = self._closed = False

    def put(self, where: Where, entry: NewEntry, on_delivery: Report | None) -> None:
        lane = self._lanes.get(where)
        if lane is None:
            lane = self._lanes[where] = Lane()
        lane.waiting.append(Waiting(entry, on_delivery, self._client.scheduler.now_s))
        self.outstanding += 1
        if not lane.batch:
            wait_s = 0 if self._hurried else self._linger_s
            self._client.later(max(0.0001, wait_s), lambda: self._pump(where))

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Nothing waits for more meanwhile."""
        self._hurried += 1
        for where in list(self._lanes):
            self._pump(where)
        try:
            yield
        finally:
            self._hurried -= 1

    @property
    def told(self) -> bool:
        """Whether the coordinator knows, or may know, of a partition."""
        return bool(self.added or self._adding)

    def purge(self) -> None:
        """Nothing that waits is sent any more."""
        for where, lane in self._lanes.items():
            self._fail(where, lane, KafkaError(KafkaError._PURGE_QUEUE))

    def ended(self) -> None:
        """The transaction is over."""
        self.added.clear()
        self._adding.clear()

    def close(self) -> None:
        """The producer failed for good."""
        self._closed = True

    # --- inside

    def _pump(self, where: Where) -> None:
        """Sends what waits for a partition, if nothing is on its way there."""
        lane = self._lanes[where]
        if lane.batch or not lane.waiting or self._closed:
            return
        if self._id and where not in self.added:
            self._add(where)
            return
        if self._numbered and self.pid < 0:
            self._initialise()
            return
        chance = self._client.scheduler.random
        most = len(lane.waiting) if chance.random() < 0.7 else 1 + chance.randrange(len(lane.waiting))
        lane.batch = most
        self._send(where, lane)

    def _send(self, where: Where, lane: Lane) -> None:
        entries = [one.entry for _, one in zip(range(lane.batch), lane.waiting, strict=False)]
        cluster, pid, epoch, sequence = self._client.cluster, self.pid, self.epoch, lane.sequence
        in_transaction = bool(self._id)

        def answered(offset: Any, error: Exception | None) -> None:
            if not lane.batch:
                return  # it was given up meanwhile
            if error is None:
                self._written(where, lane, offset)
            elif isinstance(error, Lost):
                if self._client.scheduler.now_s - lane.waiting[0].since_s > self._record_s:
                    self._give_up(where, lane, KafkaError._MSG_TIMED_OUT)
                else:
                    self._client.later(self._client.backoff_s, lambda: self._send(where, lane) if lane.batch else None)
            elif isinstance(error, Refused):
                self._give_up(where, lane, error.code)

        self._client.shared.network.send(
            self._client,
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
        if self._hurried or not self._linger_s:
            self._pump(where)
        else:
            self._client.later(self._linger_s, lambda: self._pump(where))

    def _give_up(self, where: Where, lane: Lane, code: int) -> None:
        self._fail(where, lane, KafkaError(KafkaError._FENCED if code in FENCED and self._id else code))
        if self._id:
            self._fails(code, code in FENCED)
        elif code == KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER or code in FENCED:
            self._fails(code, True)
        else:
            self.pid = -1  # its numbers have a hole now: it begins anew under another id
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
            self.outstanding -= 1
            if not self.outstanding:
                self._client.waiters.wake()
            return
        message = Message(topic=where[0], partition=where[1], offset=offset, error=error)

        def report() -> None:
            self.outstanding -= 1
            on_delivery(error, message)

        self._client.tell(report)

    def _add(self, where: Where) -> None:
        """Tells the coordinator of a partition, then sends what waits for it."""
        if where in self._adding:
            return
        self._adding.add(where)
        cluster, id, pid, epoch = self._client.cluster, self._id, self.pid, self.epoch

        def answered(value: Any, error: Exception | None) -> None:
            if where not in self._adding:
                return  # the transaction is over
            if error is None:
                self._adding.discard(where)
                self.added.add(where)
                self._pump(where)
            elif isinstance(error, Lost) or (isinstance(error, Refused) and error.code in BUSY):
                self._client.later(ADD_BACKOFF_S if isinstance(error, Refused) else self._client.backoff_s, ask)
            elif isinstance(error, Refused):
                self._adding.discard(where)
                self._give_up(where, self._lanes[where], error.code)

        def ask() -> None:
            if where not in self._adding:
                return
            self._client.shared.network.send(
                self._client,
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
                self._client.later(self._client.backoff_s, ask)
                return
            self._initialising = False
            self.pid, self.epoch = pid, 0
            for where in self._lanes:
                self._pump(where)

        def ask() -> None:
            node = self._client.cluster.coordinator(self._client.name)
            self._client.shared.network.send(
                self._client, "InitProducerId", node, self._client.cluster.transactions.new_pid, answered
            )

        ask()
