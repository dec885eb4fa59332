"""The logs on which behaviour is tested: memory at its most unkind, a SQLite file, and Kafka.

`open_again` opens the log of the test once more, as another process would; `log` is the first such handle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from headwater.log.memory import MemoryLog
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.testing import PrefixedLog
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka

OpenAgain = Callable[[], Log]

EMBEDDED = ("memory", "sqlite")
EVERY = (*EMBEDDED, pytest.param("kafka", marks=pytest.mark.kafka))


@pytest.fixture(params=EVERY)
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenAgain]:
    """Opens the log of this test once more."""
    with ExitStack() as opened:
        if request.param == "memory":
            first = opened.enter_context(closing(MemoryLog(gaps=True, late=True)))
            print("seed", first.seed)
            yield lambda: opened.enter_context(closing(first.again()))
        elif request.param == "sqlite":
            url = f"sqlite:///{tmp_path / 'log.db'}"
            yield lambda: opened.enter_context(closing(open_log(url)))
        else:
            broker, prefix = request.getfixturevalue("kafka_broker"), fresh("") + "-"
            url = f"{broker}?index_directory={tmp_path / 'index'}"
            # A small broker bears some thousand partitions, and the suite would make more.
            opened.callback(forget_on_kafka, broker, prefix)
            yield lambda: PrefixedLog(opened.enter_context(closing(open_log(url))), prefix)


@contextmanager
def on_kafka(broker: str, directory: Path) -> Iterator[tuple[Log, str, str]]:
    """A log on a broker with names of its own, for processes of the test: itself, its address, and what names there
    begin with. Its topics and groups are removed at the end."""
    prefix, url = fresh("") + "-", f"{broker}?index_directory={directory / 'index'}"
    try:
        with closing(open_log(url)) as opened:
            yield PrefixedLog(opened, prefix), url, prefix
    finally:
        forget_on_kafka(broker, prefix)


@pytest.fixture
def log(open_again: OpenAgain) -> Log:
    return open_again()


def owned_by(log: Log, group: str) -> list[int]:
    """How many partitions each member of a group owns, the most first."""
    return sorted((len(owned) for one in log.groups([group]) for owned in one.members.values()), reverse=True)


def end_of(log: Log, topic: str) -> int:
    """The sum of the visible ends of a topic's partitions: grows with each record."""
    partitions = [TopicPartition(topic, p) for p in range(log.topics([topic])[topic].partitions)]
    return sum(log.ends(partitions).values())
