"""Promises about time, on a machine that may stand still for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable

from headwater.testing.conformance.log.waiting import attempts


def in_time(limit_s: float, act: Callable[[], object]) -> None:
    """Acts until it took less than `limit_s`, which must be so within a minute: what holds the machine up does not do
    so each time, what is too slow by itself does."""
    for _ in attempts(60, f"it takes less than {limit_s:g} s"):
        started = time.monotonic()
        act()
        if (took_s := time.monotonic() - started) < limit_s:
            return
        print(f"took {took_s:.1f} s")
