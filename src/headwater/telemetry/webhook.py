"""Alerts by HTTP: a POST of JSON when one is raised and when it is over, again until it was taken.

Whoever raises an alert only leaves it here; a thread delivers. While the receiver is away the newest state of each
alert is kept, so memory is bounded by how many different ones there are, and what was raised and is over meanwhile is
still told, once. `id` stays the same when a delivery is tried again: a receiver may have taken it without saying so.
"""

from __future__ import annotations

import json
import logging
import threading
import urllib.error
import urllib.request
from datetime import datetime
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

from headwater.environment import SYSTEM, Alert, Environment, Labels, Series, series
from headwater.errors import Misuse
from headwater.messages.times import time_text

logger = logging.getLogger("headwater.telemetry")

ANSWER_S = 10.0
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0
"""Between two attempts: twice as long each time, the last half of it left to chance."""

LEAVING_S = 5.0
"""How long `close` waits for what is not delivered."""


class _Undelivered(NamedTuple):
    id: str
    alert: Alert
    on: bool
    at: datetime


class Webhook:
    """An `AlertSink`. Thread-safe. Arguments: url: http or https; about: fields of every delivery, such as the app's
    name; environment: times, ids and chance; payloads: whether `details` are sent. Raises: Misuse: another address.
    """

    def __init__(
        self, url: str, *, about: dict[str, object], payloads: bool = False, environment: Environment = SYSTEM
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misuse("a webhook is an address that begins with http:// or https://")
        self._url, self._host, self._about = url, parts.hostname, about
        self._environment, self._payloads = environment, payloads
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._changed = threading.Condition()
        self._waiting: dict[Series, _Undelivered] = {}
        self._under_way = self._closing = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def __call__(self, name: str, labels: Labels, alert: Alert, on: bool) -> None:
        undelivered = _Undelivered(self._environment.new_id(), alert, on, self._environment.now())
        with self._changed:
            self._waiting[series(name, labels)] = undelivered
            self._changed.notify_all()

    def close(self) -> None:
        """Delivers what is left, as far as that goes in a few seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting and not self._under_way, LEAVING_S):
                logger.error(
                    "alerts were not delivered to %s: %s", self._host, ", ".join(key[0] for key in self._waiting)
                )
            self._closing = True
            self._changed.notify_all()
        self._thread.join(LEAVING_S)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                if self._closing:
                    return
                key = next(iter(self._waiting))
                one = self._waiting.pop(key)
                self._under_way = True
            failure = self._deliver(key, one)
            with self._changed:
                self._under_way = False
                if failure is not None:
                    self._waiting.setdefault(key, one)  # unless there is something newer
                self._changed.notify_all()
                if failure is None:
                    pause_s = FIRST_PAUSE_S
                    continue
                if pause_s == FIRST_PAUSE_S:
                    logger.warning("alerts cannot be delivered to %s, they wait: %s", self._host, failure)
                chance = int(self._environment.new_id()[-4:], 16) / 0x10000
                self._changed.wait_for(lambda: self._closing, pause_s * (0.5 + chance / 2))
                pause_s = min(2 * pause_s, LAST_PAUSE_S)

    def _deliver(self, key: Series, one: _Undelivered) -> str | None:
        """Returns what kept it from being taken."""
        name, labels = key
        content: dict[str, object] = {
            "id": one.id,
            "alert": name,
            "state": "raised" if one.on else "over",
            "labels": dict(labels),
            "text": one.alert.text,
            "since": time_text(one.alert.since),
            "at": time_text(one.at),
            **self._about,
        }
        if self._payloads and one.alert.details is not None:
            content["details"] = one.alert.details
        body = json.dumps(content).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"}, method="POST")
        try:
            with self._opener.open(request, timeout=ANSWER_S):
                return None
        except urllib.error.HTTPError as error:
            error.close()
            return f"it answered {error.code}"
        except (OSError, HTTPException) as error:
            return type(error).__name__ if not isinstance(error, urllib.error.URLError) else str(error.reason)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would become a GET: it is a failure."""

    def redirect_request(self, *args: object, **more: object) -> None:
        return None
