"""Transactions of one file on several connections, and what must happen while there is none of them.

    entered: many at a time ─► a transaction        closed: one at a time, after all that have entered are out

DuckDB lets connections commit beside each other. Where the rows that a name shows are exchanged, or the file is copied,
nobody may be about to commit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Thread-safe. Who has closed it may enter."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed_by: int | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Waits while it is closed by somebody else."""
        mine = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._closed_by in (None, mine))
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Waits until nobody is inside; until the end nobody else comes in."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed_by is None)
            self._closed_by = threading.get_ident()
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._closed_by = None
                self._changed.notify_all()
