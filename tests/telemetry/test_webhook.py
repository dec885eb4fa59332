"""Alerts that are sent by HTTP to a real server, which refuses, is silent or redirects."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from headwater.environment import KeptTelemetry
from headwater.errors import Misuse
from headwater.telemetry import webhook as module
from headwater.telemetry.webhook import Webhook

DEADLINE_S = 60.0


class Receiver:
    """Takes deliveries. `answers`: codes of the next ones, 200 after them; `open`: it answers only while that is
    set."""

    def __init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.deliveries.put(json.loads(body))
                receiver.open.wait(DEADLINE_S)
                code = receiver.answers.pop(0) if receiver.answers else 200
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.deliveries.put({"state": "a GET"})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.answers: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.deliveries: queue.Queue[dict[str, Any]] = queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook/a-secret"

    def next(self) -> dict[str, Any]:
        return self.deliveries.get(timeout=DEADLINE_S)

    def close(self) -> None:
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """One that is alive, however slow: what is given up is sent again, or is left when the program ends."""
    monkeypatch.setattr(module, "ANSWER_S", DEADLINE_S)
    monkeypatch.setattr(module, "LEAVING_S", DEADLINE_S)
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def webhook(receiver: Receiver) -> Iterator[Webhook]:
    webhook = Webhook(receiver.url, about={"app": "shop"})
    yield webhook
    receiver.open.set()
    webhook.close()


def test_an_alert_is_delivered_when_it_is_raised_and_when_it_is_over(receiver: Receiver, webhook: Webhook) -> None:
    telemetry = KeptTelemetry([webhook])
    telemetry.alert("headwater_reader_stuck", {"group": "g"}, "stuck", "secret words of data")
    telemetry.alert("headwater_reader_stuck", {"group": "g"}, "stuck, in other words")
    raised = receiver.next()
    assert raised.pop("id")
    assert raised.pop("since") <= raised.pop("at")
    assert raised == {
        "alert": "headwater_reader_stuck",
        "state": "raised",
        "labels": {"group": "g"},
        "text": "stuck",
        "app": "shop",
    }
    telemetry.alert("headwater_reader_stuck", {"group": "g"}, None)
    assert receiver.next()["state"] == "over"
    assert receiver.deliveries.empty()


@pytest.mark.parametrize("code", [500, 404, 302])
def test_what_was_not_taken_is_sent_again(
    receiver: Receiver, webhook: Webhook, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [code]
    KeptTelemetry([webhook]).alert("headwater_log_silent", {"log": "l"}, "silent")
    first, second = receiver.next(), receiver.next()
    assert first == second, "with the same id"
    assert first["state"] == "raised"
    (said,) = [record.getMessage() for record in caplog.records if record.name == "headwater.telemetry"][-1:]
    assert said == f"alerts cannot be delivered to 127.0.0.1, they wait: it answered {code}"
    assert "a-secret" not in caplog.text


def test_whoever_raises_an_alert_does_not_wait_and_the_newest_state_is_what_is_sent(
    receiver: Receiver, webhook: Webhook
) -> None:
    receiver.open.clear()
    telemetry = KeptTelemetry([webhook])
    telemetry.alert("first", {}, "is under way")
    assert receiver.next()["alert"] == "first"
    for _ in range(1000):  # nobody takes them meanwhile
        telemetry.alert("second", {}, "on")
        telemetry.alert("second", {}, None)
    telemetry.alert("third", {}, "on")
    assert receiver.deliveries.empty()
    receiver.open.set()
    got = [(one["alert"], one["state"]) for one in (receiver.next(), receiver.next())]
    assert sorted(got) == [("second", "over"), ("third", "raised")]


def test_what_waits_is_delivered_before_the_end(receiver: Receiver) -> None:
    webhook = Webhook(receiver.url, about={})
    telemetry = KeptTelemetry([webhook])
    for number in range(20):
        telemetry.alert("a", {"number": str(number)}, "on")
    webhook.close()
    assert receiver.deliveries.qsize() == 20


def test_details_are_sent_where_they_are_wanted(receiver: Receiver) -> None:
    webhook = Webhook(receiver.url, about={}, payloads=True)
    KeptTelemetry([webhook]).alert("a", {}, "on", "words of data")
    assert receiver.next()["details"] == "words of data"
    webhook.close()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:80", "http://", "ftp://host/"])
def test_only_http_is_an_address(url: str) -> None:
    with pytest.raises(Misuse, match="begins with http"):
        Webhook(url, about={})
