"""Where tests run: in memory, in a SQLite file, or on a Kafka broker, each test on a log of its own there.

A place is opened once per test run (and worker) and closed at its end. A fresh log is a part of it, under a
prefix that nobody else has, so tests do not see each other's topics and groups.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from headwater.log.opening import open_log
from headwater.log.port import Log
from headwater.testing.prefixed import PrefixedLog

FORGET_S = 100.0
"""How long a broker may take over each step of being left as it was found."""

Kind = Literal["memory", "sqlite", "kafka"]


class MemoryPlace:
    """Each log is one of its own. Made by `open_place`."""

    def fresh_log(self) -> Log:
        """See `stage.Place`."""
        return open_log("memory://")

    def fresh_store(self) -> str:
        """See `stage.Place`."""
        return "memory://"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is kept."""


class SharedPlace:
    """Parts of one log. Made by `open_place`.

    Arguments: url: of the log; directory: for read models, as SQLite files; kept: closed with the place; forget:
    called with the prefix of a part that nobody needs any more.
    """

    def __init__(self, url: str, directory: Path, kept: ExitStack, forget: Callable[[str], None]) -> None:
        self._directory, self._open, self._forget = directory, kept, forget
        self._log = kept.enter_context(closing(open_log(url)))
        self._prefix = f"t{uuid.uuid4().hex[:10]}-"
        self._count = count(1)

    def fresh_log(self) -> Log:
        """See `stage.Place`."""
        return PrefixedLog(self._log, f"{self._prefix}{next(self._count)}-", forget=self._forget)

    def fresh_store(self) -> str:
        """See `stage.Place`."""
        return f"sqlite:///{self._directory / f'models-{next(self._count)}.db'}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def open_place(kind: Kind, kafka: str | None = None) -> MemoryPlace | SharedPlace:
    """A place for tests; a context manager.

    Arguments: kafka: address of a broker (None: one is started, and gone when the place is closed).
    Raises: Unavailable: the broker does not answer, or cannot be started here.
    """
    if kind == "memory":
        return MemoryPlace()
    kept = ExitStack()
    try:
        directory = Path(kept.enter_context(TemporaryDirectory(prefix="headwater-tests-")))
        if kind == "sqlite":
            return SharedPlace(f"sqlite:///{directory / 'log.db'}", directory, kept, lambda prefix: None)
        url = kafka or kept.enter_context(a_broker())
        indexed = f"{url}{'&' if '?' in url else '?'}index_directory={quote(str(directory / 'index'))}"
        return SharedPlace(indexed, directory, kept, partial(forget_on_kafka, url))
    except BaseException:
        kept.close()
        raise


@contextmanager
def a_broker() -> Iterator[str]:
    """Starts a broker for the tests and gives its address; it is gone with its data after them.

    Raises: Unavailable: it cannot be started here.
    """
    from headwater.testing.brokers import start_brokers

    cluster = start_brokers(1)
    try:
        yield cluster.url
    finally:
        cluster.delete()


def forget_on_kafka(url: str, prefix: str) -> None:
    """Deletes the topics and groups with a prefix: a broker is left as it was found, and a small one bears only
    some thousand partitions.

    Arguments: url: of the broker.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": urlsplit(url).netloc, "log_level": 0})
    topics = [name for name in admin.list_topics(timeout=FORGET_S).topics if name.startswith(prefix)]
    listed = admin.list_consumer_groups(request_timeout=FORGET_S).result().valid
    groups = [one.group_id for one in listed if one.group_id.startswith(prefix)]
    answers = [
        *(admin.delete_topics(topics, request_timeout=FORGET_S).values() if topics else ()),
        *(admin.delete_consumer_groups(groups, request_timeout=FORGET_S).values() if groups else ()),
    ]
    for answer in answers:
        with suppress(KafkaException):  # a member that is just leaving holds its group; the rest goes
            answer.result()
