"""How this process reaches a Kafka cluster: addresses, time limits, the settings that every client shares.

Every client gets its log lines captured: librdkafka says only there that it lost a connection or repeated a
request, and a writer must know (see `transactions`). They end in Python's logging, `headwater.log.kafka`.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.kafka.answers import Kind, kind_of

logger = logging.getLogger("headwater.log.kafka")

PATIENCE = {"request_timeout": 600.0}
"""The admin client's own time limit, far above ours. A request of it that ran out while it waited for a group's
coordinator is carried out all the same when the coordinator comes back, on freed memory, and that ends the whole
process (seen with librdkafka 2.16.0). So we stop waiting ourselves, and drop the client with all that it has under
way."""

_FIRST_PATIENCE_S = 1.0
"""After so long another admin client is asked, then after twice as long and so on. One whose connection to a group's
coordinator was closed (brokers close idle ones after ten minutes) takes seconds to ask it again, or does not within
any patience of ours (seen with librdkafka 2.16.0)."""

_NO_SPINNING = {"enable.sparse.connections": False}
"""The admin client keeps connected to every broker. One that connects only when asked something (the default) spins
beside a broker that refuses connections, for as long as a request waits for it: each failed attempt to connect wakes
the request, which asks for another attempt, and that one is made at once, whatever `reconnect.backoff.ms` says
(70,000 wake-ups a second, seen with librdkafka 2.16.0)."""


def cache_directory() -> Path:
    """Where rebuildable files of this user live: `HEADWATER_CACHE`, or the platform's place for caches."""
    chosen = os.environ.get("HEADWATER_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "headwater"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "headwater" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headwater"


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """What may be chosen about a log on Kafka.

    Arguments:
        group_protocol: "classic", or "consumer" (KIP-848).
        connect_timeout_s: how long opening waits for a broker.
        answer_timeout_s: after which a cluster that does not answer is `Unavailable`.
        session_timeout_s: after which a member that is not heard of loses its partitions.
        poll_timeout_s: after which a member that is alive and does not read loses them.
        transaction_timeout_s: after which the cluster aborts a transaction that nobody ends.
        index_directory: where local files that can be made again from the log live, in a directory for each cluster:
            the index of `keyed`, and checkpoints of states (None: in `cache_directory()`).
        settings: more settings for every client, by librdkafka's names (security, compression).
    """

    group_protocol: str = "classic"
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 10.0
    session_timeout_s: float = 6.0
    poll_timeout_s: float = 30.0
    transaction_timeout_s: float = 12.0
    index_directory: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.group_protocol not in ("classic", "consumer"):
            raise Misuse(f"group_protocol is 'classic' or 'consumer', not {self.group_protocol!r}")


class ClientLog:
    """Receives the log lines of one librdkafka client. `lines` counts them."""

    __slots__ = ("last", "lines")

    def __init__(self) -> None:
        self.lines = 0
        self.last = ""

    def log(self, level: int, form: str, *arguments: object) -> None:
        """Called by the client while it is polled."""
        self.lines += 1
        self.last = form % arguments
        # What a client reports is news for an operator only when a call fails; then the error says so.
        logger.debug("%s", self.last)


class Connection:
    """The cluster as this process sees it.

    Arguments: bootstrap: host:port, with commas; options.
    Raises: Unavailable: nothing answers there within `connect_timeout_s`.
    """

    def __init__(self, bootstrap: str, options: KafkaOptions) -> None:
        self.bootstrap, self.options = bootstrap, options
        # Part of transactional and client ids: tells this process from its predecessors under the same name.
        self.process = uuid.uuid4().hex[:12]
        self._admin: AdminClient | None = None
        self._retired: deque[AdminClient] = deque(maxlen=8)
        self._knock()
        self.cluster_id: str = self.metadata(options.connect_timeout_s).cluster_id

    @property
    def cache(self) -> Path:
        """Where local files about this cluster live."""
        return (self.options.index_directory or cache_directory() / "clusters") / self.cluster_id

    def settings(self) -> dict[str, Any]:
        """What all clients share: short waits before a lost connection is tried again, and bounded requests."""
        return {
            "bootstrap.servers": self.bootstrap,
            "socket.timeout.ms": round(self.options.answer_timeout_s * 1000),
            "socket.connection.setup.timeout.ms": 3000,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 500,
            **self.options.settings,
        }

    def unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"Kafka at {self.bootstrap} is not available: {why}; check the address, and whether a broker runs there; "
            "start one with: python -m headwater.testing.broker_command start"
        )

    def translated(self, error: KafkaError, what: str) -> HeadwaterError:
        """The error that a caller understands. Arguments: what: what was tried, on what."""
        kind = kind_of(error)
        if kind is Kind.MISSING:
            return Misuse(f"{what}: there is no such topic or partition: create it first, see `hw topics`")
        if kind is Kind.REFUSED:
            return Misuse(f"{what}: {error.str()}")
        if kind in (Kind.FORBIDDEN, Kind.UNSUITED):
            # The cluster is there, and what it says is the reason.
            return Unavailable(
                f"Kafka at {self.bootstrap} refuses {what}: {error.str()} ({error.name()}): {kind.value}"
            )
        return self.unavailable(f"{what}: {error.str()} ({error.name()})")

    def metadata(self, timeout_s: float) -> Any:
        """The cluster's id, brokers and topics, now. Raises: Unavailable."""
        try:
            return self._administrator().list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise self.unavailable(error.args[0].str()) from error

    def answers(self, timeout_s: float) -> bool:
        """Whether any broker answers now."""
        try:
            self.metadata(timeout_s)
        except Unavailable:
            return False
        return True

    def ask(self, what: str, request: Callable[[AdminClient], Mapping[Any, Any]]) -> dict[Any, Any]:
        """The answers to an administrative request.

        Arguments: what: for errors; request: starts it and gives a future per subject; it passes
        `PATIENCE` on. Called again where the client does not answer, so doing it twice must do nothing more.
        Returns: per subject the result, or the `KafkaError` that it failed with.
        Raises: Unavailable: no answer in time.
        """
        deadline = time.monotonic() + self.options.answer_timeout_s
        patience_s, asked = _FIRST_PATIENCE_S, list[_Asked]()
        while True:
            admin = self._administrator()
            asked.append(_Asked(admin, request(admin)))
            # The earlier ones may answer yet: where all is slow, a new client needs longer than the one before it.
            answered = _first(asked, min(deadline, time.monotonic() + patience_s))
            if answered is not None:
                answers = _answers(answered.futures)
                if any(map(_moved, answers.values())):
                    self._forget(answered.admin)
                return answers
            self._forget(admin)
            if time.monotonic() >= deadline:
                raise self.unavailable(f"{what}: no answer in {self.options.answer_timeout_s:g} s")
            patience_s *= 2

    def close(self) -> None:
        """Gives its client back now: the end of the interpreter is too late for threads that may call into Python."""
        self._admin = None

    def _administrator(self) -> AdminClient:
        if self._admin is None:
            settings = {**self.settings(), **_NO_SPINNING, "client.id": f"headwater@{self.process}", "log_level": 0}
            self._admin = AdminClient(settings)
        return self._admin

    def _forget(self, admin: AdminClient) -> None:
        """The next question goes to a new client. The old one is kept for a while: if it ended with its last reference
        in the thread in which it tells an answer, that would end the whole process."""
        if self._admin is admin:
            self._admin = None
            self._retired.append(admin)

    def _knock(self) -> None:
        """A refused connection is known at once; librdkafka would try until its time is over."""
        refusals = []
        for address in self.bootstrap.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit():
                raise Misuse(f"{address!r} is no address of a broker: write host:port, for example localhost:9092")
            try:
                socket.create_connection((host, int(port)), self.options.connect_timeout_s).close()
            except OSError as error:
                refusals.append(f"{address}: {error.strerror or error}")
            else:
                return
        raise self.unavailable("; ".join(refusals))


class _Asked(NamedTuple):
    """A question, and the client that it was given to."""

    admin: AdminClient
    futures: Mapping[Any, Future[Any]]


def _first(asked: Sequence[_Asked], deadline: float) -> _Asked | None:
    """The first that is answered; None: not in time."""
    while True:
        pending: list[Future[Any]] = []
        for one in asked:
            open_ = [future for future in one.futures.values() if not future.done()]
            if not open_:
                return one
            pending += open_
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return None
        wait(pending, left_s, FIRST_COMPLETED)


def _answers(futures: Mapping[Any, Future[Any]]) -> dict[Any, Any]:
    answers: dict[Any, Any] = {}
    for subject, future in futures.items():
        try:
            answers[subject] = future.result()
        except KafkaException as error:
            answers[subject] = error.args[0]
    return answers


def _moved(answer: object) -> bool:
    """Whether a broker said that it coordinates a group no longer. The admin client goes on asking it for minutes,
    instead of the new coordinator (seen with librdkafka 2.16.0)."""
    return isinstance(answer, KafkaError) and answer.code() == KafkaError.NOT_COORDINATOR


def passes(error: KafkaError) -> bool:
    """Whether it is only a matter of a moment: a leader or coordinator that is moving, a transaction that ends."""
    return error.retriable() or kind_of(error) is Kind.PASSING


@dataclass(slots=True)
class Contact:
    """Whether a client that waits in silence has lost its cluster: an error callback and a check.

    librdkafka tries for ever and says nothing to who reads; a reader that got nothing since all connections
    went down asks the cluster itself, and says so when it does not answer.
    """

    connection: Connection
    clock: Callable[[], float]
    down_since: float | None = None
    reason: str = ""

    def on_error(self, error: KafkaError) -> None:
        """The client's `error_cb`."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self.down_since is None:
            self.down_since = self.clock()
        self.reason = error.str()

    def heard(self) -> None:
        """Something was delivered: perhaps only what had been fetched before the connections went down, and the
        client tells of that once. So the doubt stays, and its time begins anew."""
        if self.down_since is not None:
            self.down_since = self.clock()

    def check(self) -> None:
        """Raises: Unavailable: no broker answered since `answer_timeout_s` and none does now."""
        if self.down_since is None:
            return
        if self.connection.answers(1.0):
            self.down_since = None
        elif self.clock() - self.down_since >= self.connection.options.answer_timeout_s / 2:
            raise self.connection.unavailable(self.reason)
