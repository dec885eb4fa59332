"""Reading a topic as it is, outside any group: also records that nobody can decode.

Order is per partition; between partitions records are shown as they are read, or by their times.
"""

from __future__ import annotations

import base64
import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from headwater.errors import Misuse
from headwater.log.port import Log, Positions, Record, TopicPartition
from headwater.log.topology import events_topic
from headwater.messages.unreadable import Unreadable
from headwater.schemas.frames import Frames
from headwater.schemas.framing import framed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BATCH = 1000


def find_topic(log: Log, name: str) -> list[TopicPartition]:
    """The partitions of a topic, or of the events of an entity type. Raises: Misuse: there is neither."""
    there = log.topics()
    topic = there.get(name) or there.get(events_topic(name))
    if topic is None:
        known = ", ".join(sorted(there)) or "none"
        raise Misuse(f"there is no topic {name!r} and no {events_topic(name)!r}; topics: {known}")
    return [TopicPartition(topic.name, p) for p in range(topic.partitions)]


def starting_at(log: Log, partitions: Sequence[TopicPartition], start: int | str) -> Positions:
    """Positions to read from: "earliest", "latest", or an offset, moved to where there are records."""
    begins, ends = log.begins(partitions), log.ends(partitions)
    if start == "earliest":
        return begins
    if start == "latest":
        return ends
    return {tp: max(begins[tp], min(int(start), ends[tp])) for tp in partitions}


def records_from(log: Log, positions: Positions, *, follow: bool) -> Iterator[Record]:
    """The records from some positions to the ends that there are now, or (follow) for ever.

    Raises: Unavailable: the log cannot be reached, or no longer has these positions.
    """
    ends = log.ends(list(positions))
    reached = dict(positions)
    reader = log.reader()
    try:
        reader.assign(positions)
        while follow or any(reached[tp] < end for tp, end in ends.items()):
            batch = reader.read(BATCH, 0.2)
            for record in batch.records:
                if follow or record.offset < ends[TopicPartition(record.topic, record.partition)]:
                    yield record
            reached.update(batch.reached)
    finally:
        reader.close()


def last_records(log: Log, ends: Positions, count: int) -> list[Record]:
    """The last records before some ends, over all partitions, by their times."""
    begins = log.begins(list(ends))
    back = max(8, 2 * count)  # positions have gaps, so more of them than records
    while True:
        start = {tp: max(begins[tp], end - back) for tp, end in ends.items()}
        found: dict[TopicPartition, list[Record]] = {tp: [] for tp in ends}
        for record in records_from(log, start, follow=False):
            tp = TopicPartition(record.topic, record.partition)
            if record.offset < ends[tp]:
                found[tp].append(record)
        if all(len(found[tp]) >= count or start[tp] == begins[tp] for tp in ends):
            break
        back *= 4
    merged = heapq.merge(*(records[-count:] for records in found.values()), key=lambda record: record.timestamp_ms)
    return list(merged)[-count:] if count else []


def as_shown(record: Record, frames: Frames | None = None) -> dict[str, Any]:
    """A record in plain values: text where it is text, JSON where it is JSON, else base64. Arguments: frames: what
    makes JSON of values that were written with a schema. Raises: Unavailable: the registry cannot be asked."""
    headers: dict[str, Any] = {}
    for name, value in record.headers:
        text = as_text(value)
        headers[name] = [*_listed(headers[name]), text] if name in headers else text
    content = record.value
    if frames is not None:
        found = frames.as_json(framed(content, record.headers))
        content = content if isinstance(found, Unreadable) else found
    document = _as_json(content)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": EPOCH + timedelta(milliseconds=record.timestamp_ms),
        "key": as_text(record.key),
        "type": headers.get("ce_type") or _type_in(document),
        "headers": headers,
        "value": as_text(record.value) if document is None else msgspec.Raw(document),
    }


def as_text(raw: bytes | None) -> str | dict[str, str] | None:
    """Bytes as text, or as base64 where they are none."""
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _as_json(raw: bytes | None) -> bytes | None:
    if raw is None:
        return None
    try:
        raw.decode()
        msgspec.json.decode(raw, type=msgspec.Raw)
        return msgspec.json.format(raw, indent=-1)  # on one line, the numbers as they were written
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None


def _type_in(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        fields = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    name = fields.get("eventType") or fields.get("commandType")
    return name if isinstance(name, str) else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
