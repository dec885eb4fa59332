"""What writes a topic from others' records with DuckDB: streams, and the topics of shared views that join.

sources ─► a maker's records ─► the topic, in one transaction with the positions behind the sources
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import duckdb

from headwater.environment import Environment
from headwater.errors import Failed, Unavailable
from headwater.failures.parking import where_of
from headwater.failures.policy import DEFAULT
from headwater.log.port import Log, NewRecord, Positions, Record, TopicSpec
from headwater.readers.held_topic import HeldTopic
from headwater.readers.loop import ReadingLoop
from headwater.readers.relaying import Following, Maker, Relaying
from headwater.views.query import in_words


class OpenedMaker(Maker, Protocol):
    """A `Maker` that is opened before its group is joined."""

    def open(self) -> None:
        """Raises: Unavailable: a topic is not there."""
        ...


def relay(
    log: Log,
    group: str,
    sources: Sequence[str],
    maker: OpenedMaker,
    *,
    worker: str,
    code: str,
    followed_as: str,
    environment: Environment,
    marks: Callable[[Positions], Sequence[NewRecord]] = lambda positions: (),
    following: Following | None = None,
) -> tuple[Relaying, ReadingLoop]:
    """What writes and what reads, not yet started.

    Arguments: group: whose positions they are; worker: names the process; code: by which what is held is known;
    followed_as: what a batch is called in traces; marks, following: see `Relaying`.
    """
    held = HeldTopic(log, group, DEFAULT, code, sources, environment)
    name = f"{group}-{worker}"
    relaying = Relaying(
        log, group, maker, name=name, held=held, environment=environment, marks=marks, following=following
    )
    loop = ReadingLoop(
        log,
        group,
        sources,
        relaying,
        name=group,
        prepare=lambda stopped: maker.open(),
        followed_as=followed_as,
        environment=environment,
    )
    return relaying, loop


def partitions_for(log: Log, what: str, sources: Sequence[str], topic: str, *, log_time: bool = False) -> int:
    """How many partitions a topic has; it is made where it is missing, with as many as the largest source.

    Arguments: what: is said in errors; log_time: see `TopicSpec`. Raises: Unavailable.
    """
    there = log.topics([*sources, topic])
    missing = [name for name in sources if name not in there]
    if missing:
        raise Unavailable(f"{what}: there is no topic {missing[0]} yet")
    if topic not in there:
        most = max(there[name].partitions for name in sources)
        log.create_topics([TopicSpec(topic, most, log_time=log_time)])
        there = log.topics([topic])
        if topic not in there:
            raise Unavailable(f"{what}: the topic {topic} was made and is not there yet")
    return there[topic].partitions


def in_memory() -> duckdb.DuckDBPyConnection:
    """A DuckDB that keeps nothing."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def failed_at(what: str, record: Record, error: Exception) -> Failed:
    failed = Failed(what, where_of(record), in_words(error) if isinstance(error, duckdb.Error) else str(error))
    failed.__cause__ = error
    return failed
