"""Waiting in tests: for a condition, with a deadline, never for a length of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.005


def eventually(condition: Callable[[], T | None], timeout_s: float = 60.0, *, saying: str | None = None) -> T:
    """The first true answer of a condition that is asked again and again.

    Arguments: condition: called without arguments; what it raises goes through; timeout_s: seconds until the
    test fails; saying: what was waited for, for the failure's text (None: the condition's own name).
    Raises: AssertionError: it did not become true in time; the text holds its last answer.
    """
    __tracebackhide__ = True
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (answer := condition()):
        if time.monotonic() > deadline:
            what = saying or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"within {timeout_s:g} s it did not happen: {what} (last answer: {answer!r})")
        pause.wait(PAUSE_S)
    return answer
