"""The envelope: what is known of a record beside its payload, as headers of the CloudEvents Kafka binding.

`event_headers` and `command_headers` write them, `read_meta` reads them. Records of others, with no headers at
all, get an envelope from what there is: topic, partition, offset, key and times. Headers that should be text and
are not make an `Unreadable`, never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Generic, TypeVar

import msgspec

from headwater.messages.codec import JSON
from headwater.messages.declare import Event
from headwater.messages.times import parse_time as parse_time
from headwater.messages.times import time_text as time_text
from headwater.messages.unreadable import Unreadable

E = TypeVar("E", bound=Event)
Header = tuple[str, bytes]
Headers = Sequence[Header]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SPECVERSION: Final = ("ce_specversion", b"1.0")
AUTH_TYPES: Final = ("user", "app_user", "service_account", "api_key", "system", "unauthenticated")
TOPIC_ENDS: Final = ("-events", "-commands", "-replies", "-state")


class Meta(msgspec.Struct, frozen=True):
    """What is known of a record beside its payload.

    Arguments: id: unique among all records; type: its wire name; time: when it happened; recorded: when it was
    accepted (None: not known); entity, entity_id: what it is about ("" where the record has no key); version:
    the entity's version after it (None: the record does not say, its reader counts); command_id: the command
    that it follows from; causation_id: the record that caused it; correlation_id: the first cause of all;
    actor: who asked for it; topic, partition, offset: where it stands; part: which of the events that one old record
    is read as, from 0 (see `upcasting`).
    """

    id: str
    type: str
    time: datetime
    recorded: datetime | None = None
    entity: str = ""
    entity_id: str = ""
    version: int | None = None
    command_id: str | None = None
    causation_id: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    topic: str = ""
    partition: int = -1
    offset: int = -1
    part: int = 0


class Recorded(msgspec.Struct, Generic[E], frozen=True):
    """An event with its envelope, as `history` gives them."""

    event: E
    meta: Meta


def event_headers(
    *,
    id: str,
    source: str,
    type: str,
    time: str | datetime,
    subject: str,
    entity_version: int | None,
    causation_id: str | None = None,
    correlation_id: str | None = None,
    command_id: str | None = None,
    actor: str | None = None,
    recorded: str | datetime | None = None,
    commit: tuple[str, int, int] | None = None,
    extra: Iterable[Header] = (),
) -> list[Header]:
    """The headers of an event.

    Arguments: id: a UUIDv7; source: who writes, a URI reference; time, recorded: texts of `time_text`, made
    once per batch, or datetimes; subject: the entity's id; entity_version: None: its readers count; commit:
    (command id, index, count) over the events of one command, so that any reader can see a torn one; extra: more
    headers, as they are.
    """
    headers = [
        *fixed_headers(source, type),
        JSON,
        ("ce_id", id.encode()),
        ("ce_time", time_bytes(time)),
        ("ce_subject", subject.encode()),
    ]
    if entity_version is not None:
        headers.append(("ce_entityversion", b"%d" % entity_version))
    add_causes(headers, causation_id, correlation_id, actor)
    if command_id is not None:
        headers.append(("ce_commandid", command_id.encode()))
    if recorded is not None:
        headers.append(("hw_recorded", time_bytes(recorded)))
    if commit is not None:
        headers.append(("hw_commit", b"%b;%d;%d" % (commit[0].encode(), commit[1], commit[2])))
    headers.extend(extra)
    return headers


def command_headers(
    *,
    id: str,
    source: str,
    type: str,
    subject: str,
    time: str | datetime | None = None,
    causation_id: str | None = None,
    correlation_id: str | None = None,
    actor: str | None = None,
    hw_client: bytes | None = None,
    hw_expected: int | None = None,
    hw_source: str | None = None,
    extra: Iterable[Header] = (),
) -> list[Header]:
    """The headers of a command; see `event_headers`.

    Arguments: time: when it happened, where the caller says so; hw_client: who waits, compared before an answer is
    decoded; hw_expected: the entity's version that the caller saw; hw_source: where a process's command comes from,
    so that a reset of the process repeats nothing.
    """
    headers = first_command_headers(id, source, type, subject.encode())
    if time is not None:
        headers.append(("ce_time", time_bytes(time)))
    add_causes(headers, causation_id, correlation_id, actor)
    if hw_client is not None:
        headers.append(("hw_client", hw_client))
    if hw_expected is not None:
        headers.append(("hw_expected", b"%d" % hw_expected))
    if hw_source is not None:
        headers.append(("hw_source", hw_source.encode()))
    headers.extend(extra)
    return headers


def first_command_headers(id: str, source: str, type: str, subject: bytes) -> list[Header]:
    """Those that every command has. Arguments: as of `command_headers`; subject: in bytes, as in the record's key."""
    return [*fixed_headers(source, type), JSON, ("ce_id", id.encode()), ("ce_subject", subject)]


@lru_cache(maxsize=4096)
def fixed_headers(source: str, type: str) -> tuple[Header, ...]:
    """What all records of a type by one writer have in common: made once."""
    return (SPECVERSION, ("ce_source", source.encode()), ("ce_type", type.encode()))


def add_causes(headers: list[Header], causation_id: str | None, correlation_id: str | None, actor: str | None) -> None:
    if causation_id is not None:
        headers.append(("ce_causationid", causation_id.encode()))
    if correlation_id is not None:
        headers.append(("ce_correlationid", correlation_id.encode()))
    if actor is not None:
        kind = actor.partition(":")[0]
        headers.append(("ce_authid", actor.encode()))
        headers.append(("ce_authtype", kind.encode() if kind in AUTH_TYPES else b"unknown"))


def time_bytes(time: str | datetime) -> bytes:
    return (time if isinstance(time, str) else time_text(time)).encode()


def read_meta(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    headers: Headers,
    timestamp_ms: int,
    payload_time: datetime | None = None,
    type: str | None = None,
) -> Meta | Unreadable:
    """The envelope of a record.

    Arguments: timestamp_ms: the record's own time, since 1970; payload_time, type: what the payload says,
    used where the headers are silent.
    """
    try:
        get = dict(headers).get
        said, recorded, version = get("ce_time"), get("hw_recorded"), get("ce_entityversion")
        id, kind, subject = get("ce_id"), get("ce_type"), get("ce_subject", key)
        command, cause, first = get("ce_commandid"), get("ce_causationid"), get("ce_correlationid")
        actor = get("ce_authid")
        return Meta(
            id.decode() if id else f"{topic}-{partition}-{offset}",
            kind.decode() if kind else type or "",
            parse_time(said.decode()) if said else payload_time or record_time(timestamp_ms),
            parse_time(recorded.decode()) if recorded else None,
            entity_of_topic(topic),
            subject.decode() if subject else "",
            int(version) if version else None,
            command.decode() if command else None,
            cause.decode() if cause else None,
            first.decode() if first else None,
            actor.decode() if actor else None,
            topic,
            partition,
            offset,
        )
    except (ValueError, OverflowError) as reason:  # UnicodeDecodeError is a ValueError
        return bad_headers(key, headers, reason)


def record_time(timestamp_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=timestamp_ms)


@lru_cache(maxsize=1024)
def entity_of_topic(topic: str) -> str:
    for end in TOPIC_ENDS:
        if topic.endswith(end):
            return topic[: -len(end)]
    return topic


def bad_headers(key: bytes | None, headers: Headers, reason: Exception) -> Unreadable:
    """Finds the part that is to blame; only then, since it hardly ever happens."""
    for name, value in [("the key", key), *headers]:
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            return Unreadable("bad_headers", None, None, f"{name} is not UTF-8: {value!r}")
    return Unreadable("bad_headers", None, None, f"a header cannot be read: {reason}")
