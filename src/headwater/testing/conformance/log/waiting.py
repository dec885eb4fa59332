"""How the suite waits: for conditions, each with a deadline, since a commit may take a moment to be seen."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Protocol, TypeVar

import pytest

from headwater.log.port import (
    Aborted,
    Batch,
    Log,
    NewRecord,
    Positions,
    Reader,
    Record,
    TopicPartition,
    TopicSpec,
    Transaction,
    Writer,
)

T = TypeVar("T")

MakeLog = Callable[[], Log]
"""Opens the log of this test once more."""


class Expectations:
    """What an implementation says of itself.

    `session_timeout_s`: after how many seconds without a read a member loses its partitions, in the logs that
    `make_log` opens. `patience_s`: how long the suite waits for anything before it fails; several times the
    session time-out. `compacts_at_once`: whether a compacted topic holds nothing but the latest record of each
    key as soon as it is written. `shares_by_index`: whether one member gets partition n of all topics of a group.
    """

    session_timeout_s: ClassVar[float] = 6.0
    patience_s: ClassVar[float] = 60.0
    compacts_at_once: ClassVar[bool] = False
    shares_by_index: ClassVar[bool] = True

    @pytest.fixture
    def log(self, make_log: MakeLog) -> Log:
        return make_log()


class Readable(Protocol):
    """Anything with `read`: a reader or a member."""

    def read(self, max_records: int, timeout_s: float) -> Batch: ...


def fresh(name: str) -> str:
    """A name that no other test has."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def make_topic(
    log: Log,
    partitions: int = 1,
    *,
    retention_ms: int | None = None,
    compacted: bool = False,
    log_time: bool = False,
    records: int = 0,
) -> str:
    """Creates a topic with a name that no other test has, with so many records in each partition. Returns the
    name."""
    topic = fresh("conformance")
    log.create_topics([TopicSpec(topic, partitions, retention_ms, compacted, log_time)])
    for partition in range(partitions):
        log.append(numbered(topic, partition, range(records)))
    return topic


def numbered(topic: str, partition: int, numbers: Sequence[int] | range) -> list[NewRecord]:
    """Records whose value is a number and whose key is its last digit."""
    return [NewRecord(topic, partition, b"key-%d" % (n % 10), b"%d" % n) for n in numbers]


def numbers(records: Sequence[Record]) -> list[int]:
    """The values of `numbered` records."""
    return [int(record.value or b"") for record in records]


def of(records: Sequence[Record], partition: TopicPartition) -> list[Record]:
    """Those of one partition, in the order in which they came."""
    return [r for r in records if (r.topic, r.partition) == partition]


def attempts(patience_s: float, what: str, pause_s: float = 0.01) -> Iterator[None]:
    """Yields until the patience is over, then fails and says what did not happen."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        yield
        threading.Event().wait(pause_s)
    raise AssertionError(f"within {patience_s:g} s it did not happen that {what}")


def eventually(condition: Callable[[], T | None], patience_s: float, what: str) -> T:
    """The first true answer of the condition."""
    for _ in attempts(patience_s, what):
        if answer := condition():
            return answer
    raise AssertionError  # `attempts` never ends without raising


def written_ends(log: Log, topic: str) -> dict[TopicPartition, int]:
    """The ends of a topic's partitions with everything that was written, markers included."""
    count = log.topics()[topic].partitions
    return log.ends([TopicPartition(topic, p) for p in range(count)], committed=False)


def settled_ends(log: Log, topic: str, patience_s: float) -> dict[TopicPartition, int]:
    """The ends once everything that was written can be read. The last mark may be written while this is asked, so the
    written ends are asked for each time."""
    for _ in attempts(patience_s, f"all of {topic} became visible"):
        ends = written_ends(log, topic)
        if log.ends(list(ends)) == ends:
            return ends
    raise AssertionError  # `attempts` never ends without raising


def read_until(
    source: Readable, done: Callable[[list[Record]], bool], patience_s: float, what: str, *, max_records: int = 1000
) -> list[Record]:
    """Reads until `done` says that these are all records; a further short read may bring more."""
    records: list[Record] = []
    for _ in attempts(patience_s, what, pause_s=0):
        records += source.read(max_records, 0.05).records
        if done(records):
            return records
    raise AssertionError  # `attempts` never ends without raising


def read_to(reader: Reader, ends: Positions, patience_s: float, *, max_records: int = 1000) -> list[Record]:
    """Reads until these positions are reached."""
    records: list[Record] = []
    reached: dict[TopicPartition, int] = {p: 0 for p, end in ends.items() if end == 0}
    for _ in attempts(patience_s, f"a reader reached {dict(ends)}, past gaps", pause_s=0):
        if all(reached.get(partition, -1) >= end for partition, end in ends.items()):
            return records
        batch = reader.read(max_records, 0.05)
        records += batch.records
        reached.update(batch.reached)
    raise AssertionError  # `attempts` never ends without raising


def read_topic(log: Log, topic: str, patience_s: float) -> list[Record]:
    """All visible records of a topic, after everything that was written became visible."""
    ends = settled_ends(log, topic, patience_s)
    reader = log.reader()
    try:
        reader.assign(log.begins(list(ends)))
        return read_to(reader, ends, patience_s)
    finally:
        reader.close()


def carry_out(writer: Writer, fill: Callable[[Transaction], None], patience_s: float) -> dict[TopicPartition, int]:
    """A transaction that is done again when it was aborted, as every caller has to. Returns what it told."""
    for _ in attempts(patience_s, "a transaction was not aborted"):
        try:
            return writer.transact(fill)
        except Aborted:
            continue
    raise AssertionError  # `attempts` never ends without raising


def writing(records: Sequence[NewRecord]) -> Callable[[Transaction], None]:
    """A `fill` that writes these."""
    return lambda transaction: transaction.write(records)
