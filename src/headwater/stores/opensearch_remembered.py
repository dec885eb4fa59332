"""Rows that this process has written last: to ask for each of them before the next batch would take half of its time.

That one of them is as it was is never trusted. A row is written on condition of its version, and one that was only read
is looked at before the commit; where somebody else was there, the work is done again with what is stored, and nothing
of that index is remembered for a while: its rows are fed by several runners.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from headwater.stores.opensearch_documents import Known

MOST_BYTES = 32_000_000
PAUSE = 100
"""So many batches are written without remembering anything, once a row was found changed by somebody else."""


class Remembered:
    """Documents as this process has committed them, up to `MOST_BYTES` of each index. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Known]] = {}
        self._sizes: dict[str, int] = {}
        self._pauses: dict[str, int] = {}

    def look(self, index: str, ids: Sequence[str]) -> dict[str, Known]:
        """Those of them that are remembered; their columns are to be read from what is kept."""
        with self._lock:
            found = self._known.get(index)
            return {id: found[id] for id in ids if id in found} if found else {}

    def put(self, index: str, written: Iterable[tuple[str, Known]]) -> None:
        """Takes in what was committed; without columns: it is not remembered any more."""
        with self._lock:
            pause = self._pauses.get(index, 0)
            self._pauses[index] = max(0, pause - 1)
            if pause:
                return
            found, size = self._known.setdefault(index, {}), self._sizes.get(index, 0)
            for id, known in written:
                before = found.pop(id, None)
                size -= 0 if before is None or before.kept is None else len(before.kept)
                if known.kept is not None:
                    found[id] = known  # the last of all
                    size += len(known.kept)
            while size > MOST_BYTES:
                size -= len(found.pop(next(iter(found))).kept or b"")
            self._sizes[index] = size

    def distrust(self, indices: Iterable[str]) -> None:
        """Somebody else has changed rows there."""
        with self._lock:
            for index in indices:
                self._pauses[index] = PAUSE
                self._known.pop(index, None)
                self._sizes.pop(index, None)
