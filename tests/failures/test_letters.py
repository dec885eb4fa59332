"""Dead letters carry what other tools look for, in their names and encodings; and what others wrote is understood."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from headwater.failures.held import HeldRecord
from headwater.failures.letters import DeadLetter, letter_of, read_letter
from headwater.log.limits import MAX_RECORD_BYTES
from headwater.log.port import Headers, StoredRecord

FIRST, LAST = datetime(2024, 4, 10, 10, 30, tzinfo=UTC), datetime(2024, 4, 10, 10, 31, 0, 5, tzinfo=UTC)
HEADERS = [("ce_id", b"e1"), ("twice", b"1"), ("twice", b"2"), ("bytes", b"\xff\x00")]


def row(value: bytes | None = b"\x00no JSON\xff", headers: list[tuple[str, bytes]] = HEADERS) -> HeldRecord:
    at = ("order-events", 3, 2**33)
    why = ("decode", "OrderPlaced", "BadData", "no text: ł")
    return HeldRecord(*at, b"\xffkey", value, headers, 1712745000123, True, False, *why, 2, FIRST, LAST)


def stored(key: bytes | None, value: bytes | None, headers: Headers) -> StoredRecord:
    return StoredRecord("some-dlt", 3, 0, key, value, headers, 0)


def test_key_value_and_headers_stay_byte_for_byte_and_ours_follow() -> None:
    letter = letter_of(row(), "shop-revenue-v1", "c0de")
    assert (letter.topic, letter.partition) == ("shop-revenue-v1-deadletters", 3)
    assert (letter.key, letter.value, list(letter.headers[:4])) == (b"\xffkey", b"\x00no JSON\xff", HEADERS)
    said = dict(letter.headers[4:])
    assert said["hw_dead_id"] == b"shop-revenue-v1/order-events/3/8589934592"
    assert said["hw_dead_first"] == b"2024-04-10T10:30:00Z"
    assert (said["hw_dead_stage"], said["hw_dead_code"], said["hw_dead_attempts"]) == (b"decode", b"c0de", b"2")


def test_springs_headers_have_springs_encodings() -> None:
    said = dict(letter_of(row(), "shop-revenue-v1", "", log_time=True).headers)
    assert said["kafka_dlt-original-topic"] == b"order-events"
    assert said["kafka_dlt-original-partition"] == b"\x00\x00\x00\x03"
    assert said["kafka_dlt-original-offset"] == b"\x00\x00\x00\x02\x00\x00\x00\x00"
    assert said["kafka_dlt-original-timestamp"] == struct.pack(">q", 1712745000123)
    assert said["kafka_dlt-original-timestamp-type"] == b"LogAppendTime"
    assert said["kafka_dlt-original-consumer-group"] == b"shop-revenue-v1"
    assert said["kafka_dlt-exception-fqcn"] == b"BadData"
    assert said["kafka_dlt-exception-message"] == "no text: ł".encode()


def test_connects_headers_are_text() -> None:
    said = dict(letter_of(row(), "shop-revenue-v1", "").headers)
    ours = {name.removeprefix("__connect.errors."): text for name, text in said.items() if name.startswith("__conn")}
    assert ours == {
        "topic": b"order-events",
        "partition": b"3",
        "offset": b"8589934592",
        "connector.name": b"shop-revenue-v1",
        "stage": b"VALUE_CONVERTER",
        "class.name": b"OrderPlaced",
        "exception.class.name": b"BadData",
        "exception.message": "no text: ł".encode(),
    }


def test_what_we_write_reads_back_whole_also_where_it_came_from_a_dead_letter_topic() -> None:
    first = letter_of(row(), "shop-revenue-v1", "c0de")
    read = read_letter(stored(first.key, first.value, first.headers))
    assert read == DeadLetter(
        "headwater",
        b"\xffkey",
        b"\x00no JSON\xff",
        HEADERS,
        id="shop-revenue-v1/order-events/3/8589934592",
        group="shop-revenue-v1",
        topic="order-events",
        partition=3,
        offset=2**33,
        timestamp_ms=1712745000123,
        stage="decode",
        handler="OrderPlaced",
        error="BadData",
        message="no text: ł",
        attempts=2,
        first_failed=FIRST,
        last_failed=LAST,
        code="c0de",
    )
    again = letter_of(row(headers=list(first.headers)), "another", "")
    known = read_letter(stored(again.key, again.value, again.headers))
    assert known is not None
    assert (known.group, list(known.headers)) == ("another", list(first.headers))


def test_springs_dead_letters_are_understood() -> None:
    headers = [
        ("traceparent", b"00-1"),
        ("kafka_dlt-original-topic", b"orders"),
        ("kafka_dlt-original-partition", struct.pack(">i", 7)),
        ("kafka_dlt-original-offset", struct.pack(">q", 2**40)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", 1712745000123)),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-original-consumer-group", b"billing"),
        ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
        ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
        ("kafka_dlt-exception-message", b"no such order"),
    ]
    assert read_letter(stored(b"k", b"v", headers)) == DeadLetter(
        "spring",
        b"k",
        b"v",
        [("traceparent", b"00-1")],
        group="billing",
        topic="orders",
        partition=7,
        offset=2**40,
        timestamp_ms=1712745000123,
        error="java.lang.IllegalStateException",
        message="no such order",
    )


def test_springs_retry_topics_are_understood() -> None:
    headers = [
        ("retry_topic-attempts", struct.pack(">i", 4)),
        ("retry_topic-backoff-timestamp", (1712745000123).to_bytes(6, "big")),
        ("kafka_original-topic", b"orders"),
        ("kafka_original-partition", struct.pack(">i", 7)),
        ("kafka_original-offset", struct.pack(">q", 9)),
        ("kafka_exception-fqcn", b"java.io.IOException"),
    ]
    read = read_letter(stored(b"k", b"v", headers))
    assert read == DeadLetter(
        "spring", b"k", b"v", [], topic="orders", partition=7, offset=9, attempts=4, error="java.io.IOException"
    )


def test_connects_dead_letters_are_understood() -> None:
    said = {
        "topic": b"orders",
        "partition": b"2",
        "offset": b"17",
        "connector.name": b"jdbc-sink",
        "task.id": b"0",
        "stage": b"TASK_PUT",
        "class.name": b"io.confluent.connect.jdbc.JdbcSinkTask",
        "exception.class.name": b"java.sql.SQLException",
        "exception.message": b"down",
        "exception.stacktrace": b"at ...",
    }
    headers = [("mine", b"1"), *((f"__connect.errors.{name}", text) for name, text in said.items())]
    assert read_letter(stored(None, b"v", headers)) == DeadLetter(
        "connect",
        None,
        b"v",
        [("mine", b"1")],
        group="jdbc-sink",
        topic="orders",
        partition=2,
        offset=17,
        stage="apply",
        handler="io.confluent.connect.jdbc.JdbcSinkTask",
        error="java.sql.SQLException",
        message="down",
    )


def test_those_of_kafka_streams_are_understood() -> None:
    said = {"exception": b"E", "stacktrace": b"at", "message": b"m", "topic": b"t", "partition": b"1", "offset": b"5"}
    headers = [(f"__streams.errors.{name}", text) for name, text in said.items()]
    assert read_letter(stored(b"k", None, headers)) == DeadLetter(
        "streams", b"k", None, [], topic="t", partition=1, offset=5, error="E", message="m"
    )


def test_a_record_that_says_nothing_is_no_dead_letter_and_nonsense_is_not_known() -> None:
    assert read_letter(stored(b"k", b"v", HEADERS)) is None
    read = read_letter(stored(b"k", b"v", [("__connect.errors.partition", b"x"), ("__connect.errors.topic", b"\xff")]))
    assert read is not None
    assert (read.partition, read.topic) == (None, "\\xff")


def test_one_that_would_be_too_large_goes_without_its_value() -> None:
    letter = letter_of(row(b"x" * (MAX_RECORD_BYTES - 100), []), "g", "")
    assert letter.value is None
    assert dict(letter.headers)["hw_dead_omitted"] == b"999900"
