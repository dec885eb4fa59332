"""The ports for time, ids, randomness and telemetry: nothing else in the library asks the machine for them.

`SYSTEM` is the real one; `testing` brings a virtual one. The core (entities, owners' decisions) never calls
these: it receives times and ids as arguments.

What the library notices of itself goes to `Environment.telemetry`: gauges, which say how something is now, counts of
what happened, and alerts, for which somebody should get up. The default keeps them for whoever asks in this process,
and logs alerts. `Environment.tracing` follows commands through processes; it is None where nobody wants that.

What is told in this way names topics, positions, handlers and kinds of errors. What records contain and what users'
code says of them is told apart from it, as `details`, so that it can be left out of what leaves the machine.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol

logger = logging.getLogger("headwater.telemetry")

DRAWN_AT_ONCE = 512

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""A UUID's variant digit (its upper bits are 10) by any hexadecimal digit."""


Labels = Mapping[str, str]
"""What a gauge or an alert is about, such as topic and partition. Never an entity's id."""


Series = tuple[str, tuple[tuple[str, str], ...]]
"""A name with its labels, in alphabetical order."""


class Alert(NamedTuple):
    """Arguments: text: what is wrong, where, and what to do; details: what data or users' code said of it; since: when
    it was raised (UTC)."""

    text: str
    details: str | None
    since: datetime


AlertSink = Callable[[str, Labels, Alert, bool], None]
"""Told of an alert: its name, its labels, and whether it is on. It must neither wait nor raise."""


class Telemetry(Protocol):
    """Where the library tells how it is. Called from any thread, often; it must neither wait nor raise."""

    def gauge(self, name: str, labels: Labels, value: float | None) -> None:
        """How something is from now on. Arguments: name: with its unit last, as Prometheus wants it; value: None:
        others tell that now, or nobody."""
        ...

    def count(self, name: str, labels: Labels, by: float = 1) -> None:
        """Something happened, so often. Arguments: name: with `_total` last."""
        ...

    def alert(self, name: str, labels: Labels, text: str | None, details: str | None = None) -> None:
        """Raises an alert, or changes its text. Arguments: text: what is wrong, where, and what to do; None: it is
        over; details: what data or users' code said."""
        ...


class KeptTelemetry:
    """Keeps the latest of each for this process, and logs alerts (`headwater.telemetry`). Thread-safe.

    Arguments: sinks: who is told when an alert is raised and when it is over.
    """

    def __init__(self, sinks: Collection[AlertSink] = ()) -> None:
        self._sinks = tuple(sinks)
        self._lock = threading.Lock()
        self._gauges: dict[Series, float] = {}
        self._counts: dict[Series, float] = {}
        self._alerts: dict[Series, Alert] = {}

    @property
    def gauges(self) -> dict[Series, float]:
        """By name and labels."""
        with self._lock:
            return dict(self._gauges)

    @property
    def counts(self) -> dict[Series, float]:
        """Since this process began, by name and labels."""
        with self._lock:
            return dict(self._counts)

    @property
    def alerts(self) -> dict[Series, Alert]:
        """Those that are not over, by name and labels."""
        with self._lock:
            return dict(self._alerts)

    def gauge(self, name: str, labels: Labels, value: float | None) -> None:
        with self._lock:
            if value is None:
                self._gauges.pop(series(name, labels), None)
            else:
                self._gauges[series(name, labels)] = value

    def count(self, name: str, labels: Labels, by: float = 1) -> None:
        key = series(name, labels)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + by

    def alert(self, name: str, labels: Labels, text: str | None, details: str | None = None) -> None:
        key = series(name, labels)
        with self._lock:
            before = self._alerts.pop(key, None)
            alert = before
            if text is not None:
                alert = Alert(text, details, datetime.now(UTC) if before is None else before.since)
                self._alerts[key] = alert
        on = text is not None
        if alert is None or on is (before is not None):
            return  # it was over, or it is told already
        level, words = (logging.ERROR, "%s") if on else (logging.INFO, "over: %s")
        said = alert.text if alert.details is None else f"{alert.text}: {alert.details}"
        fields = {"alert": name, "labels": dict(labels), "text": alert.text}
        event = "alert_raised" if on else "alert_over"
        logger.log(level, words, said, extra=logged(event, details=alert.details, **fields))
        for sink in self._sinks:
            sink(name, labels, alert, on)


def series(name: str, labels: Labels) -> Series:
    return name, tuple(sorted(labels.items()))


def logged(event: str, *, details: str | None = None, **fields: object) -> dict[str, object]:
    """The `extra=` of a line in the log of the process, for whoever writes it as data (`telemetry.logs`).

    Arguments: event: what happened, by name; fields: what is known of it; details: what data or users' code said.
    """
    return {"event": event, "fields": fields, "details": details}


SpanKind = Literal["producer", "consumer"]


class Span(Protocol):
    """A step of something that is followed. Thread-safe."""

    @property
    def traceparent(self) -> bytes | None:
        """For the header of what follows from it (W3C Trace Context); None: there is nothing to follow."""
        ...

    def current(self) -> AbstractContextManager[object]:
        """While it is entered, what this thread begins belongs to this step."""
        ...

    def end(self, outcome: str, *, failed: bool = False) -> None:
        """Once. Arguments: outcome: one word."""
        ...


class Tracing(Protocol):
    """Follows commands to their events and to what becomes of these. Thread-safe."""

    def begin(
        self, name: str, kind: SpanKind, causes: Sequence[bytes] | None, attributes: Mapping[str, str | int]
    ) -> Span:
        """Begins a step. Arguments: causes: the `traceparent` headers of what it is about: one is its parent, several
        are links; none begins something new; None: it belongs to what this thread is at."""
        ...


class Environment(Protocol):
    """Where time and ids come from, and where telemetry goes."""

    @property
    def telemetry(self) -> Telemetry:
        """Where the library tells how it is."""
        ...

    @property
    def tracing(self) -> Tracing | None:
        """What follows commands; None: nothing does, and nothing is spent on it."""
        ...

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back, for deadlines."""
        ...

    def new_id(self) -> str:
        """A UUIDv7 (RFC 9562) in its text form: ordered by time, unique across processes."""
        ...


def uuid7(unix_ms: int, random: bytes) -> str:
    """The UUIDv7 (RFC 9562 §5.7) of a time in milliseconds and 10 random bytes, in text form."""
    value = (unix_ms & (1 << 48) - 1) << 80 | int.from_bytes(random, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class System:
    """The machine's own clock and randomness. Thread-safe.

    Arguments: telemetry: where it goes (None: a `KeptTelemetry` of its own); tracing: such as
    `telemetry.spans.OpenTelemetryTracing`.
    """

    def __init__(self, telemetry: Telemetry | None = None, tracing: Tracing | None = None) -> None:
        self.telemetry: Telemetry = KeptTelemetry() if telemetry is None else telemetry
        self.tracing = tracing
        # Random ends of ids, drawn for many at once, and the text of the millisecond that was asked for last: an
        # owner makes tens of thousands a second.
        self._ends: list[str] = []
        self._begin = (0, "")
        self._watching = False

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()

    def new_id(self) -> str:
        unix_ms = time.time_ns() // 1_000_000
        known_ms, begin = self._begin
        if known_ms != unix_ms:
            digits = f"{unix_ms:012x}"
            begin = f"{digits[:8]}-{digits[8:]}-"
            self._begin = unix_ms, begin
        try:
            return begin + self._ends.pop()
        except IndexError:
            return begin + self._draw()

    def _draw(self) -> str:
        """Draws more ends, and returns one that is not among them."""
        if not self._watching:
            self._watching = True
            os.register_at_fork(after_in_child=self._ends.clear)  # a child must not give out its parent's
        drawn = _random_ends(os.urandom(10 * DRAWN_AT_ONCE))
        end = drawn.pop()
        self._ends.extend(drawn)
        return end


def _random_ends(random: bytes) -> list[str]:
    """What follows the time in a `uuid7`, for every 10 random bytes."""
    digits = random.hex()
    return [
        f"7{digits[i : i + 3]}-{_VARIANT[digits[i + 3]]}{digits[i + 4 : i + 7]}-{digits[i + 7 : i + 19]}"
        for i in range(0, len(digits), 20)
    ]


SYSTEM: Environment = System()
