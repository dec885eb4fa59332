"""The garbage collector waits while a large batch is worked on.

A batch of ten thousand events is some tens of thousands of objects that all live until its end. The collector would
look at them again and again and find nothing: a quarter of the time that a read model takes in Python. At the end they
are gone, without it.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_S = 1.0
"""Threads that take turns in working on batches keep it waiting for no longer: what only it can free would pile up."""


class _Waiting:
    """Whether the collector waits, and how many threads want it to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._since_s = 0.0

    def enter(self) -> bool:
        """Returns whether it is to be left again: not where the program has no collector anyway."""
        with self._lock:
            if not self._count:
                if not gc.isenabled():
                    return False
                self._since_s = time.monotonic()
            self._count += 1
            gc.disable()
            return True

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            now_s = time.monotonic()
            if not self._count or now_s - self._since_s > LONGEST_S:
                self._since_s = now_s
                gc.enable()


_WAITING = _Waiting()


@contextmanager
def collection_waits() -> Iterator[None]:
    """No collection begins inside. Where the program has none anyway, it stays so; of several threads that are inside,
    the last one that is done lets it go on, and any other one that is done when it has waited for `LONGEST_S`."""
    entered = _WAITING.enter()
    try:
        yield
    finally:
        if entered:
            _WAITING.leave()
