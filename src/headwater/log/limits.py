"""What every log accepts, checked before anything is written.

The limits are Kafka's defaults, also on the embedded logs: a system that grew on one file must fit a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headwater.errors import Misuse
from headwater.log.port import NewRecord, Positions, TopicSpec

MAX_RECORD_BYTES = 1_000_000
"""The most that key, value and headers of one record may have together."""

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def size_bytes(record: NewRecord) -> int:
    """Key, value and headers of a record together."""
    size = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size += len(name) + len(value)
    return size


def check_size(record: NewRecord) -> None:
    """Raises `Misuse`, naming topic, key and size, when the record is over `MAX_RECORD_BYTES`."""
    size = size_bytes(record)
    if size > MAX_RECORD_BYTES:
        raise Misuse(
            f"a record for topic {record.topic}, key {record.key!r:.100}, has {size:,} bytes; at most "
            f"{MAX_RECORD_BYTES:,} are possible: keep large content elsewhere and put its address in the record"
        )


def check_types(record: NewRecord) -> None:
    """Raises `Misuse` for content that is not bytes: written once, it could never be read again."""
    key, value = record.key, record.value
    if (key is None or key.__class__ is bytes) and (value is None or value.__class__ is bytes):
        for name, content in record.headers:
            if name.__class__ is not str or content.__class__ is not bytes:
                break
        else:
            return
    raise Misuse(
        f"a record for topic {record.topic} needs bytes for key and value (or None), and str and bytes for each "
        f"header, not {record!r:.300}"
    )


def check_partition(record: NewRecord, partitions: int) -> None:
    """Raises `Misuse` when the topic has no such partition."""
    if not 0 <= record.partition < partitions:
        raise Misuse(
            f"topic {record.topic} has {partitions} partitions, numbered from 0; there is no {record.partition}"
        )


def check_specs(specs: Sequence[TopicSpec]) -> None:
    """Raises `Misuse` for names that Kafka would refuse and for topics without partitions."""
    for spec in specs:
        why = why_no_topic(spec.name)
        if why is not None:
            raise Misuse(why)
        if spec.partitions < 1:
            raise Misuse(f"topic {spec.name} needs at least one partition, not {spec.partitions}")


def why_no_topic(name: str) -> str | None:
    """Why Kafka would refuse a name of a topic; None: it would not."""
    if _TOPIC_NAME.fullmatch(name) and name not in (".", ".."):
        return None
    return f"{name!r} cannot name a topic: use 1 to 249 letters, digits, dots, hyphens, underscores"


def check_deletion(topic: str, compacted: bool) -> None:
    """Raises `Misuse` for a topic that keeps the latest record of each key, however old."""
    if compacted:
        raise Misuse(f"topic {topic} is compacted: its records are not deleted by their positions")


def check_before(positions: Positions, ends: Positions) -> None:
    """Raises `Misuse` when a position lies beyond the end of what can be seen."""
    for partition, position in positions.items():
        if position > ends[partition]:
            raise Misuse(f"{partition} ends at {ends[partition]}: nothing can be deleted up to {position}")


def unknown_topic(topic: str) -> Misuse:
    return Misuse(f"there is no topic {topic}: create it first, or look for it with `hw topics`")


def unknown_partition(topic: str, partition: int, partitions: int) -> Misuse:
    return Misuse(f"topic {topic} has {partitions} partitions, numbered from 0; there is no {partition}")
