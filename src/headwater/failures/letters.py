"""Dead letters as records: key, value and headers as they came, and headers that say where from and why.

| family              | prefix               | written | numbers                                        |
|---------------------|----------------------|---------|------------------------------------------------|
| ours                | `hw_dead_`           | yes     | decimal text; times as RFC 3339                |
| Spring Kafka        | `kafka_dlt-`         | yes     | partition int32, offset and timestamp int64, big-endian |
| Kafka Connect       | `__connect.errors.`  | yes     | decimal text                                   |
| Spring retry topics | `kafka_original-`, `retry_topic-` | read | as Spring Kafka; attempts int32          |
| Kafka Streams       | `__streams.errors.`  | read    | decimal text                                   |

The names are those of Spring Kafka's DeadLetterPublishingRecoverer, Connect's DeadLetterQueueReporter, and KIP-1034.
A record may have come from a dead-letter topic itself: its headers stay, ours follow, and the last of a name counts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from headwater.errors import Misuse
from headwater.failures.held import HeldRecord
from headwater.log.limits import check_size
from headwater.log.port import Headers, NewRecord, Record
from headwater.messages.times import parse_time, time_text

Header = tuple[str, bytes]

Family = Literal["headwater", "spring", "connect", "streams"]

OURS, SPRING, CONNECT, STREAMS = "hw_dead_", "kafka_dlt-", "__connect.errors.", "__streams.errors."
RETRY, RETRY_TOPIC = "kafka_", "retry_topic-"
INT, LONG = struct.Struct(">i"), struct.Struct(">q")

STAGES = {"VALUE_CONVERTER": "decode", "TRANSFORMATION": "upcast", "TASK_PUT": "apply"}
"""Connect's stages, and ours."""


def deadletters_topic(group: str) -> str:
    return f"{group}-deadletters"


def letter_id(group: str, topic: str, partition: int, offset: int) -> str:
    """Names a dead letter for ever: the same record in the same group has no other."""
    return f"{group}/{topic}/{partition}/{offset}"


class DeadLetter(NamedTuple):
    """What a dead-letter record says, whoever wrote it; None where it does not.

    Arguments: family: of the headers that were read; key, value, headers: of the original record; timestamp_ms: its
    time; group: of the consumer (of Connect: the connector); handler: the function, or Connect's class; code:
    fingerprint of the code that failed.
    """

    family: Family
    key: bytes | None
    value: bytes | None
    headers: Headers
    id: str | None = None
    group: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    stage: str | None = None
    handler: str | None = None
    error: str | None = None
    message: str | None = None
    attempts: int | None = None
    first_failed: datetime | None = None
    last_failed: datetime | None = None
    code: str | None = None


def letter_of(row: HeldRecord, group: str, code: str, *, log_time: bool = False) -> NewRecord:
    """The record for the dead-letter topic; the partition is that of the original.

    Arguments: code: fingerprint of the code that failed; log_time: whose clock the original topic has. One that would
    be too large with its headers goes without its value, which is kept where it is held.
    """
    kind = b"LogAppendTime" if log_time else b"CreateTime"
    place = [*_ours(row, group, code), *_spring(row, group, kind), *_connect(row, group)]
    topic, headers = deadletters_topic(group), [*row.headers, *place]
    letter = NewRecord(topic, row.partition, row.key, row.value, headers)
    try:
        check_size(letter)
    except Misuse:
        omitted = (f"{OURS}omitted", b"%d" % len(row.value or b""))
        return NewRecord(topic, row.partition, row.key, None, [*place, omitted])
    return letter


def _ours(row: HeldRecord, group: str, code: str) -> list[Header]:
    said = {
        "id": letter_id(group, row.topic, row.partition, row.record_offset),
        "group": group,
        "topic": row.topic,
        "partition": str(row.partition),
        "offset": str(row.record_offset),
        "timestamp": str(row.timestamp_ms),
        "stage": row.stage,
        "handler": row.handler,
        "exception": row.error,
        "message": row.message,
        "attempts": str(row.attempts),
        "first": "" if row.first_failed is None else time_text(row.first_failed),
        "last": "" if row.last_failed is None else time_text(row.last_failed),
        "code": code,
        "headers": str(len(row.headers)),
    }
    return [(OURS + name, text.encode()) for name, text in said.items()]


def _spring(row: HeldRecord, group: str, kind: bytes) -> list[Header]:
    said = {
        "original-topic": row.topic.encode(),
        "original-partition": INT.pack(row.partition),
        "original-offset": LONG.pack(row.record_offset),
        "original-timestamp": LONG.pack(row.timestamp_ms),
        "original-timestamp-type": kind,
        "original-consumer-group": group.encode(),
        "exception-fqcn": row.error.encode(),
        "exception-message": row.message.encode(),
    }
    return [(SPRING + name, content) for name, content in said.items()]


def _connect(row: HeldRecord, group: str) -> list[Header]:
    said = {
        "topic": row.topic,
        "partition": str(row.partition),
        "offset": str(row.record_offset),
        "connector.name": group,
        "stage": next((theirs for theirs, ours in STAGES.items() if ours == row.stage), "TASK_PUT"),
        "class.name": row.handler,
        "exception.class.name": row.error,
        "exception.message": row.message,
    }
    return [(CONNECT + name, text.encode()) for name, text in said.items()]


def read_letter(record: Record) -> DeadLetter | None:
    """What a record of a dead-letter topic says of itself, in any of the families; None: in none of them."""
    said = dict(record.headers)
    if f"{OURS}id" in said:
        return _read_ours(record, said)
    for prefix, read in ((SPRING, _read_spring), (CONNECT, _read_connect), (STREAMS, _read_streams)):
        if any(name.startswith(prefix) for name in said):
            return read(record, said)
    return _read_retry(record, said) if f"{RETRY}original-topic" in said else None


def _read_ours(record: Record, said: Mapping[str, bytes]) -> DeadLetter:
    get = _texts(said, OURS)
    return DeadLetter(
        "headwater",
        record.key,
        record.value,
        record.headers[: _number(get("headers")) or 0],
        id=get("id"),
        group=get("group"),
        topic=get("topic"),
        partition=_number(get("partition")),
        offset=_number(get("offset")),
        timestamp_ms=_number(get("timestamp")),
        stage=get("stage"),
        handler=get("handler"),
        error=get("exception"),
        message=get("message"),
        attempts=_number(get("attempts")),
        first_failed=_time(get("first")),
        last_failed=_time(get("last")),
        code=get("code"),
    )


def _read_spring(record: Record, said: Mapping[str, bytes], prefix: str = SPRING) -> DeadLetter:
    get = _texts(said, prefix)
    return DeadLetter(
        "spring",
        record.key,
        record.value,
        _others(record.headers, ("kafka_", RETRY_TOPIC)),
        group=get("original-consumer-group"),
        topic=get("original-topic"),
        partition=_packed(said.get(f"{prefix}original-partition")),
        offset=_packed(said.get(f"{prefix}original-offset")),
        timestamp_ms=_packed(said.get(f"{prefix}original-timestamp")),
        error=get("exception-cause-fqcn") or get("exception-fqcn"),
        message=get("exception-message"),
        attempts=_packed(said.get(f"{RETRY_TOPIC}attempts")),
    )


def _read_retry(record: Record, said: Mapping[str, bytes]) -> DeadLetter:
    return _read_spring(record, said, RETRY)


def _read_connect(record: Record, said: Mapping[str, bytes]) -> DeadLetter:
    get = _texts(said, CONNECT)
    stage = get("stage")
    return DeadLetter(
        "connect",
        record.key,
        record.value,
        _others(record.headers, (CONNECT,)),
        group=get("connector.name"),
        topic=get("topic"),
        partition=_number(get("partition")),
        offset=_number(get("offset")),
        stage=None if stage is None else STAGES.get(stage, stage.lower()),
        handler=get("class.name"),
        error=get("exception.class.name"),
        message=get("exception.message"),
    )


def _read_streams(record: Record, said: Mapping[str, bytes]) -> DeadLetter:
    get = _texts(said, STREAMS)
    return DeadLetter(
        "streams",
        record.key,
        record.value,
        _others(record.headers, (STREAMS,)),
        topic=get("topic"),
        partition=_number(get("partition")),
        offset=_number(get("offset")),
        error=get("exception"),
        message=get("message"),
    )


def _texts(said: Mapping[str, bytes], prefix: str) -> Callable[[str], str | None]:
    def get(name: str) -> str | None:
        content = said.get(prefix + name)
        return None if content is None else content.decode(errors="backslashreplace")

    return get


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch("-?[0-9]{1,19}", text) else None


def _packed(content: bytes | None) -> int | None:
    """A number of Java's: a byte, an int, a long, or a BigInteger."""
    return int.from_bytes(content, "big", signed=True) if content else None


def _time(text: str | None) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _others(headers: Headers, prefixes: tuple[str, ...]) -> Headers:
    return [(name, content) for name, content in headers if not name.startswith(prefixes)]
