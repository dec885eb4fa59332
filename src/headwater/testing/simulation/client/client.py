"""What all clients have: requests that are answered or lost, and a queue of news, served when they are polled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from headwater.testing.simulation.cluster.cluster import NODES, Cluster
from headwater.testing.simulation.cluster.partition import Refused
from headwater.testing.simulation.faults import Faults
from headwater.testing.simulation.network import Lost, Network
from headwater.testing.simulation.scheduler import Process, Scheduler
from headwater.testing.simulation.threads import Waiters

T = TypeVar("T")

LAST_BACKOFF_S = 0.05


class Shared(Protocol):
    """What the clients of a simulation share."""

    scheduler: Scheduler
    network: Network
    cluster: Cluster
    faults: Faults


class Logger(Protocol):
    def log(self, level: int, form: str, *arguments: object) -> None: ...


class OutOfTime(Exception):
    """The caller's time is over before there is an answer."""


class Client:
    """Arguments: shared; settings: by librdkafka's names; logger: gets a line for every lost connection."""

    def __init__(self, shared: Shared, settings: Mapping[str, Any], logger: Logger | None) -> None:
        self.shared, self.scheduler, self.cluster = shared, shared.scheduler, shared.cluster
        self.scheduler.check_alive()
        self.settings = settings
        self.process: Process = self.scheduler.current.process
        self.name = str(settings.get("client.id", "client"))
        self.answer_s = float(settings.get("socket.timeout.ms", 60_000)) / 1000
        self.backoff_s = float(settings.get("retry.backoff.ms", 100)) / 1000
        self._logger = logger
        self._on_error: Callable[[KafkaError], None] | None = settings.get("error_cb")
        self._down = False
        self.queue: deque[Callable[[], None]] = deque()
        self.waiters = Waiters(self.scheduler)

    # --- requests

    def request(self, api: str, node: int, ask: Callable[[], T], deadline_s: float | None) -> T:
        """Sends a request and waits for its answer. Raises: Refused, Lost, OutOfTime: no answer by the deadline."""
        answer: list[tuple[Any, Exception | None]] = []
        waiters = Waiters(self.scheduler)

        def answered(value: Any, error: Exception | None) -> None:
            answer.append((value, error))
            waiters.wake()

        self.scheduler.check_alive()
        self.shared.network.send(self, api, node, ask, answered)
        while not answer:
            left_s = None if deadline_s is None else deadline_s - self.scheduler.now_s
            if left_s is not None and left_s <= 0:
                raise OutOfTime
            waiters.wait(left_s)
        found: T
        found, error = answer[0]
        if error is not None:
            raise error
        self._down = False
        return found

    def repeated(
        self,
        api: str,
        node: int | Callable[[], int],
        ask: Callable[[], T],
        deadline_s: float | None,
        again: frozenset[int] = frozenset(),
        backoff_s: float | None = None,
    ) -> T:
        """As `request`, again after a lost connection and after these refusals, less and less often.
        Arguments: node: which broker, or what chooses one each time. Raises: Refused, OutOfTime."""
        wait_s = self.backoff_s if backoff_s is None else backoff_s
        while True:
            try:
                return self.request(api, node if isinstance(node, int) else node(), ask, deadline_s)
            except Refused as refused:
                if refused.code not in again:
                    raise
            except Lost:
                pass
            if deadline_s is not None and self.scheduler.now_s + wait_s >= deadline_s:
                self.scheduler.sleep(max(0.0, deadline_s - self.scheduler.now_s))
                raise OutOfTime
            self.scheduler.sleep(wait_s)
            wait_s = max(wait_s, min(2 * wait_s, LAST_BACKOFF_S))

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Has something done by a thread of the client's own."""
        self.shared.network.in_background(self.process, delay_s, what)

    def lost(self, what: str) -> None:
        """A connection broke: the client's log says so, and its error callback where none is left."""
        logger = self._logger
        if logger is not None:
            self.tell(lambda: logger.log(3, "FAIL: %s", what))
        if not self._down and self.shared.faults.all_down(self.process, NODES):
            self._down = True
            on_error = self._on_error
            if on_error is not None:
                error = KafkaError(KafkaError._ALL_BROKERS_DOWN, "all brokers are down")
                self.tell(lambda: on_error(error))

    # --- news

    def tell(self, what: Callable[[], None]) -> None:
        """Has something called when the client is polled next."""
        self.queue.append(what)
        self.waiters.wake()

    def serve(self) -> int:
        """Calls what is waiting. Returns how many calls that were."""
        self.scheduler.check_alive()
        count = 0
        while self.queue:
            self.queue.popleft()()
            count += 1
        return count

    def deadline(self, timeout_s: float | None) -> float | None:
        """When a call with this time limit is over; None: never."""
        return None if timeout_s is None or timeout_s < 0 else self.scheduler.now_s + timeout_s

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Metadata:
        """As of the real client. Raises: KafkaException."""
        any_node = partial(self.scheduler.random.randrange, NODES)
        try:
            return self.repeated("Metadata", any_node, lambda: Metadata(self.cluster, topic), self.deadline(timeout))
        except OutOfTime:
            raise failure(KafkaError._TRANSPORT, "no broker answers") from None


class Metadata:
    """What `list_topics` answers."""

    def __init__(self, cluster: Cluster, topic: str | None) -> None:
        self.cluster_id = cluster.id
        self.brokers = dict.fromkeys(range(NODES))
        self.topics = {
            name: TopicMetadata(len(one.partitions))
            for name, one in cluster.topics.items()
            if topic is None or name == topic
        }


class TopicMetadata:
    def __init__(self, partitions: int) -> None:
        self.partitions = dict.fromkeys(range(partitions))
        self.error = None


def failure(code: int, why: str, *, fatal: bool = False, retriable: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, why, fatal, retriable, False))
