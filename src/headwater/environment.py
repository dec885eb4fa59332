"""The ports for time, ids and randomness: nothing else in the library asks the machine for them.

`SYSTEM` is the real one; `testing` brings a virtual one. The core (entities, owners' decisions) never calls
these: it receives times and ids as arguments.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Protocol


class Environment(Protocol):
    """Where time and ids come from."""

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
    """The machine's own clock and randomness."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()

    def new_id(self) -> str:
        return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


SYSTEM: Environment = System()
