"""What the tests of the archive share: a topic with everything in it that a record can have, and small files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.environment import SYSTEM
from headwater.log.archive import Archive, open_archive
from headwater.log.port import Log, NewRecord, Record, TopicPartition, TopicSpec
from headwater.operations.archiving import Archived, Limits, archive_topic
from headwater.testing.conformance.log.waiting import carry_out, fresh, read_topic, settled_ends, writing

PATIENCE_S = 60.0
SMALL = Limits(records=7, size_bytes=1_000_000)
TOPIC = "trail"
PARTITIONS = 2

Plain = tuple[str, int, int, bytes | None, bytes | None, list[tuple[str, bytes]], int]


def plain(records: Sequence[Record]) -> list[Plain]:
    """All that a record has, by partition and offset."""
    return sorted(
        (r.topic, r.partition, r.offset, r.key, r.value, [(name, value) for name, value in r.headers], r.timestamp_ms)
        for r in records
    )


def odd_records(count: int, begin: int = 0) -> list[NewRecord]:
    """Records as strange as the port allows, over all partitions."""
    keys = [b"a", b"b", "größe".encode(), b"\x00\xff", b"", None]
    values = [b"{}", b"", None, bytes(range(256)), b"v" * 3000]
    headers: list[tuple[tuple[str, bytes], ...]] = [
        (),
        (("twice", b"1"), ("once", b""), ("twice", b"2")),
        (("größe", b"\xff\x00"), ("", b"no name")),
    ]
    return [
        NewRecord(
            TOPIC,
            n % PARTITIONS,
            keys[n % len(keys)],
            values[n % len(values)],
            headers[n % len(headers)],
            1_000_000_000_000 + (n * 7919) % 1000 if n % 11 else 852_076_800_123,
        )
        for n in range(begin, begin + count)
    ]


def fill(log: Log, count: int, begin: int = 0) -> None:
    """More records, some alone and some in transactions, so that positions have gaps."""
    log.create_topics([TopicSpec(TOPIC, PARTITIONS)])
    writer = log.writer(fresh("writer"))
    records = odd_records(count, begin)
    for start in range(0, count, 5):
        if start % 10:
            log.append(records[start : start + 5])
        else:
            carry_out(writer, writing(records[start : start + 5]), PATIENCE_S)
    writer.close()
    settled_ends(log, TOPIC, PATIENCE_S)


def partitions() -> list[TopicPartition]:
    return [TopicPartition(TOPIC, p) for p in range(PARTITIONS)]


def everything(log: Log) -> list[Plain]:
    return plain(read_topic(log, TOPIC, PATIENCE_S))


def archive_at(path: Path) -> Archive:
    return open_archive(path.as_uri())


def archive_all(log: Log, archive: Archive, limits: Limits = SMALL) -> list[Archived]:
    return list(archive_topic(log, archive, TOPIC, SYSTEM, limits=limits))


def without_offsets(records: Sequence[Plain]) -> list[tuple[object, ...]]:
    """What stays when records are restored into another log."""
    return [(topic, partition, *rest) for topic, partition, _, *rest in records]
