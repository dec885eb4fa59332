"""The ports for time, ids, randomness and telemetry: nothing else in the library asks the machine for them.

`SYSTEM` is the real one; `testing` brings a virtual one. The core (entities, owners' decisions) never calls
these: it receives times and ids as arguments.

What the library notices of itself goes to `Environment.telemetry`: gauges, which say how something is now, and
alerts, for which somebody should get up. The default keeps both for whoever asks in this process, and logs alerts.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

logger = logging.getLogger("headwater.telemetry")

DRAWN_AT_ONCE = 512

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""A UUID's variant digit (its upper bits are 10) by any hexadecimal digit."""


Labels = Mapping[str, str]
"""What a gauge or an alert is about, such as topic and partition. Never an entity's id."""


class Telemetry(Protocol):
    """Where the library tells how it is. Called from any thread, often; it must neither wait nor raise."""

    def gauge(self, name: str, labels: Labels, value: float) -> None:
        """How something is from now on. Arguments: name: with its unit last, as Prometheus wants it."""
        ...

    def alert(self, name: str, labels: Labels, text: str | None) -> None:
        """Raises an alert, or changes its text. Arguments: text: what is wrong, where, and what to do; None: it is
        over."""
        ...


class KeptTelemetry:
    """Keeps the latest of each for this process, and logs alerts (`headwater.telemetry`). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._alerts: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}

    @property
    def gauges(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """By name and labels (in alphabetical order)."""
        with self._lock:
            return dict(self._gauges)

    @property
    def alerts(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], str]:
        """The texts of those that are not over, by name and labels."""
        with self._lock:
            return dict(self._alerts)

    def gauge(self, name: str, labels: Labels, value: float) -> None:
        with self._lock:
            self._gauges[name, tuple(sorted(labels.items()))] = value

    def alert(self, name: str, labels: Labels, text: str | None) -> None:
        key = name, tuple(sorted(labels.items()))
        with self._lock:
            before = self._alerts.pop(key, None)
            if text is not None:
                self._alerts[key] = text
        if text is not None and before is None:
            logger.error("%s", text)
        elif text is None and before is not None:
            logger.info("over: %s", before)


class Environment(Protocol):
    """Where time and ids come from, and where telemetry goes."""

    @property
    def telemetry(self) -> Telemetry:
        """Where the library tells how it is."""
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

    Arguments: telemetry: where it goes (None: a `KeptTelemetry` of its own).
    """

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self.telemetry: Telemetry = KeptTelemetry() if telemetry is None else telemetry
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
