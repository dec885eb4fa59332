"""The log of a process as JSON lines."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headwater.environment import KeptTelemetry, logged
from headwater.errors import BadData, Failed, Misuse, Unavailable, without_payload
from headwater.telemetry.logs import log_as_json

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(params=[False, True], ids=["default", "payloads"])
def payloads(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def lines(payloads: bool) -> Iterator[Lines]:
    """What this thread has logged since it was asked for: others, of earlier tests, may not be at their end yet."""
    stream, root = io.StringIO(), logging.getLogger()
    level = root.level
    handler = log_as_json(stream, payloads=payloads, about={"app": "shop"})
    handler.addFilter(lambda record: record.thread == threading.get_ident())
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def test_an_event_is_its_name_and_its_fields(lines: Lines, payloads: bool) -> None:
    extra = logged("partition_stopped", details="it is secret", entity="order", partition=3)
    logging.getLogger("headwater.owners").error("%s: %s", "order", "it is secret", extra=extra)
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    wanted = {
        "level": "error",
        "event": "partition_stopped",
        "logger": "headwater.owners",
        "app": "shop",
        "entity": "order",
        "partition": 3,
    }
    assert line == (wanted | {"details": "it is secret"} if payloads else wanted)


def test_words_of_exceptions_are_left_out_of_our_own_lines(lines: Lines, payloads: bool) -> None:
    error = ValueError("it is secret")
    logging.getLogger("headwater.stores").warning("%s: %s", "shop.db", error)
    logging.getLogger("a.program.of.a.user").warning("%s: %s", "shop.db", error)
    own, users = lines()
    assert own["text"] == ("shop.db: it is secret" if payloads else "shop.db: ValueError")
    assert users["text"] == "shop.db: it is secret", "what users log is theirs"


def test_an_exception_is_its_kind_and_where_it_came_from(lines: Lines, payloads: bool) -> None:
    try:
        raise ZeroDivisionError("it is secret")
    except ZeroDivisionError:
        logging.getLogger("headwater.readers").exception("%s stopped", "shop")
    (line,) = lines()
    assert line["error"] == "ZeroDivisionError"
    assert line["stack"][-1].endswith("test_an_exception_is_its_kind_and_where_it_came_from")
    assert ("it is secret" in json.dumps(line)) is payloads


def test_a_line_is_one_line_whatever_is_in_it(payloads: bool) -> None:
    stream, root = io.StringIO(), logging.getLogger()
    level = root.level
    handler = log_as_json(stream, payloads=payloads, about={})
    root.removeHandler(handler)  # what runs the tests keeps what is logged there, and cannot pass such a text on
    root.setLevel(level)
    handler.handle(logging.makeLogRecord({"name": "x", "msg": "a\nb\u2028c\ud800 %s", "args": ("d\r\ne",)}))
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert line["text"] == "a\nb\u2028c\ud800 d\r\ne"


def test_alerts_are_events(lines: Lines, payloads: bool) -> None:
    telemetry = KeptTelemetry()
    telemetry.alert("headwater_log_silent", {"log": "l"}, "silent", "it is secret")
    telemetry.alert("headwater_log_silent", {"log": "l"}, None)
    raised, over = lines()
    assert (raised["event"], raised["alert"], raised["text"]) == ("alert_raised", "headwater_log_silent", "silent")
    assert raised["labels"] == {"log": "l"}
    assert over["event"] == "alert_over"
    assert ("it is secret" in json.dumps([raised, over])) is payloads


def chained(error: Exception) -> Exception:
    try:
        raise error from ValueError("it is secret")
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BadData("it is secret", topic="t", partition=1, offset=2), "BadData in topic t, partition 1, offset 2"),
        (Failed("Revenue.placed", "OrderPlaced 1", "it is secret"), "Revenue.placed failed on OrderPlaced 1"),
        (chained(Failed("f", "w", "it is secret")), "f failed on w: ValueError"),
        (Unavailable("the server is away"), "Unavailable: the server is away"),
        (Misuse("a table changed"), "Misuse: a table changed"),
        (chained(Misuse("it is secret")), "Misuse from ValueError"),
        (ValueError("it is secret"), "ValueError"),
    ],
)
def test_what_is_said_of_an_error_without_words_of_data(error: Exception, text: str) -> None:
    assert without_payload(error) == text
