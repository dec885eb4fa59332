"""Headers: what is written is what is read, after the CloudEvents binding for Kafka."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater.messages as hw
from headwater.environment import uuid7
from headwater.errors import Misuse

TIME = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
NOW = datetime(2024, 4, 11, 8, 0, 0, 123_456, tzinfo=UTC)
ID = uuid7(1_712_744_999_000, bytes(10))


def test_an_event_carries_the_cloudevents_attributes_and_ours() -> None:
    headers = hw.event_headers(
        id=ID,
        source="shop",
        type="OrderPlaced",
        time=TIME,
        subject="123",
        entity_version=3,
        causation_id="cause",
        correlation_id="first",
        command_id="command",
        actor="user:ann",
        recorded=hw.time_text(NOW),
        commit=("command", 0, 2),
        extra=[("traceparent", b"00-1-2-3")],
    )
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": ID.encode(),
        "ce_source": b"shop",
        "ce_type": b"OrderPlaced",
        "ce_time": b"2024-04-10T10:30:00Z",
        "ce_subject": b"123",
        "content-type": b"application/json",
        "ce_entityversion": b"3",
        "ce_causationid": b"cause",
        "ce_correlationid": b"first",
        "ce_commandid": b"command",
        "ce_authid": b"user:ann",
        "ce_authtype": b"user",
        "hw_recorded": b"2024-04-11T08:00:00.123456Z",
        "hw_commit": b"command;0;2",
        "traceparent": b"00-1-2-3",
    }
    assert len(headers) == len(dict(headers))


def test_a_command_carries_what_its_owner_needs() -> None:
    headers = hw.command_headers(
        id="command",
        source="shop",
        type="PlaceOrder",
        subject="123",
        time=TIME,
        actor="batch job",
        hw_client=b"client-1",
        hw_expected=0,
        hw_source="billing|order-events|0;7;1",
    )
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"command",
        "ce_source": b"shop",
        "ce_type": b"PlaceOrder",
        "ce_subject": b"123",
        "content-type": b"application/json",
        "ce_time": b"2024-04-10T10:30:00Z",
        "ce_authid": b"batch job",
        "ce_authtype": b"unknown",
        "hw_client": b"client-1",
        "hw_expected": b"0",
        "hw_source": b"billing|order-events|0;7;1",
    }


names = st.text(min_size=1, max_size=12)
maybe = st.none() | names
times = st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC))


@given(names, names, names, times, st.integers(1, 2**40), maybe, maybe, maybe, maybe, st.none() | times)
def test_the_envelope_is_read_as_it_was_written(
    id: str,
    type: str,
    subject: str,
    time: datetime,
    version: int,
    causation_id: str | None,
    correlation_id: str | None,
    command_id: str | None,
    actor: str | None,
    recorded: datetime | None,
) -> None:
    headers = hw.event_headers(
        id=id,
        source="shop",
        type=type,
        time=time,
        subject=subject,
        entity_version=version,
        causation_id=causation_id,
        correlation_id=correlation_id,
        command_id=command_id,
        actor=actor,
        recorded=recorded,
    )
    assert hw.read_meta("order-events", 1, 9, b"other", headers, 0) == hw.Meta(
        id=id,
        type=type,
        time=time,
        recorded=recorded,
        entity="order",
        entity_id=subject,
        version=version,
        command_id=command_id,
        causation_id=causation_id,
        correlation_id=correlation_id,
        actor=actor,
        topic="order-events",
        partition=1,
        offset=9,
    )


@pytest.mark.parametrize(
    ("key", "headers", "reason"),
    [
        (b"\xff", [], "the key is not UTF-8"),
        (b"k", [("ce_id", b"\xff\xfe")], "ce_id is not UTF-8"),
        (b"k", [("ce_time", b"yesterday")], "yesterday"),
        (b"k", [("ce_time", b"2024-04-10T10:30:00")], "has no time zone"),
        (b"k", [("hw_recorded", b"2024")], "2024"),
        (b"k", [("ce_entityversion", b"three")], "three"),
    ],
)
def test_headers_that_cannot_be_read_say_why(key: bytes, headers: list[tuple[str, bytes]], reason: str) -> None:
    answer = hw.read_meta("order-events", 0, 0, key, headers, 0)
    assert isinstance(answer, hw.Unreadable)
    assert answer.kind == "bad_headers"
    assert reason in answer.reason


def test_headers_of_others_may_be_anything() -> None:
    meta = hw.read_meta("order-events", 0, 5, b"k", [("x-schema", b"\x00\xff"), ("ce_id", b"")], 0)
    assert isinstance(meta, hw.Meta)
    assert meta.id == "order-events-0-5"


@pytest.mark.parametrize("timestamp_ms", [-1, -(2**62), 2**62])
def test_no_record_time_raises(timestamp_ms: int) -> None:
    assert isinstance(hw.read_meta("order-events", 0, 5, b"k", (), timestamp_ms), hw.Meta | hw.Unreadable)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_times_text_is_read_back(time: datetime) -> None:
    assert hw.parse_time(hw.time_text(time)) == time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-04-10T10:30:00Z", TIME),
        ("2024-04-10T12:30:00+02:00", TIME),
        ("2024-04-10T10:30:00.000000000Z", TIME),
        ("2024-04-10T10:30:00.5Z", TIME + timedelta(seconds=0.5)),
    ],
)
def test_forms_of_rfc_3339_are_read(text: str, time: datetime) -> None:
    assert hw.parse_time(text) == time
    assert hw.parse_time(text).tzinfo is UTC


def test_a_times_text_is_in_utc() -> None:
    assert hw.time_text(TIME.astimezone(timezone(timedelta(hours=-5)))) == "2024-04-10T10:30:00Z"
    with pytest.raises(Misuse, match="has no time zone"):
        hw.time_text(datetime(2024, 4, 10))
    with pytest.raises(Misuse, match="years 1 to 9999"):
        hw.time_text(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
