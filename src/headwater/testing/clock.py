"""Virtual time and ids that repeat: the `Environment` of tests."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from headwater.environment import KeptTelemetry, Tracing, uuid7
from headwater.errors import Misuse

START = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)


class VirtualEnvironment:
    """A clock that stands still until it is moved, and ids that are the same in each run. Thread-safe.

    What the library stamps on events and commands comes from here. Deadlines (`monotonic_s`) stay on the
    machine's clock: they guard against things that do not answer, and those do not answer in real time.

    Arguments: start: aware; seed: two environments of one log need different ones, their ids must not meet.
    """

    def __init__(self, start: datetime = START, *, seed: int = 0) -> None:
        if start.tzinfo is None:
            raise Misuse("start must be aware, such as datetime(2024, 4, 10, tzinfo=UTC)")
        if not 0 <= seed < 1 << 12:
            raise Misuse(f"seed={seed}: it goes into 12 bits of each id, so choose 0 to {(1 << 12) - 1}")
        self._now, self._seed, self._made = start.astimezone(UTC), seed, 0
        self._lock = threading.Lock()
        self.telemetry = KeptTelemetry()
        self.tracing: Tracing | None = None

    def now(self) -> datetime:
        """The virtual time, in UTC."""
        return self._now

    def monotonic_s(self) -> float:
        """Seconds on the machine's clock."""
        return time.monotonic()

    def new_id(self) -> str:
        """A UUIDv7 made of the virtual time, the seed and a count: in order, and the same in each run."""
        with self._lock:
            self._made += 1
            made = self._made
        random = self._seed << 64 | made
        return uuid7(int(self._now.timestamp() * 1000), random.to_bytes(10, "big"))

    def advance(self, by: timedelta) -> datetime:
        """Moves the clock on and returns the new time. Raises: Misuse: backwards."""
        if by < timedelta(0):
            raise Misuse(f"time does not go back (advance by {by})")
        with self._lock:
            self._now += by
        return self._now
