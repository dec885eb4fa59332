"""Rows that this process has written last: a batch that changes them again need not ask for them.

That one of them is as it was is never trusted: the script that commits looks at each of them, and where somebody else
was there, the work is done again with what is stored, and nothing of that table is remembered for a while: its rows are
fed by several runners.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, islice
from typing import Any

from headwater.stores.redis_cells import Text

MOST_ROWS = 50_000
MOST_BYTES = 600
"""Of a row, on average: larger ones are not remembered."""

PAUSE = 100
"""So many batches are written without remembering anything, once a row was found changed by somebody else."""


Row = tuple[str, tuple[Text, ...]]
"""The commit that wrote it, and the texts of its columns. A plain tuple: there are thousands in a batch."""


class _Table:
    """`whole`: all rows of the table are there, as it was empty before the first of them."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.whole = False
        self.pause = 0


class Remembered:
    """Rows as this process has committed them, `MOST_ROWS` of each table. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, _Table] = {}

    def look(self, table: str, endings: Iterable[str]) -> tuple[dict[str, Row], bool]:
        """Those of the rows that are remembered, by the endings of their names; and whether there are no others."""
        with self._lock:
            found = self._tables.get(table)
            if found is None:
                return {}, False
            rows = found.rows
            return {ending: rows[ending] for ending in endings if ending in rows}, found.whole

    def put(self, table: str, written: Mapping[str, Row], gone: Collection[str], *, empty: bool) -> None:
        """Takes in what was committed. Arguments: gone: endings of rows that were deleted; empty: the table had no rows
        before."""
        given: Iterable[Any] = chain.from_iterable(texts for _, texts in written.values())
        size_bytes = len("".join(filter(None, given)))
        with self._lock:
            found = self._tables.setdefault(table, _Table())
            if found.pause:
                found.pause -= 1
                return
            if size_bytes > MOST_BYTES * len(written):
                found.rows, found.whole = {}, False
                return
            rows = found.rows
            found.whole = found.whole or (empty and not rows)
            full = len(rows) + len(written) > MOST_ROWS
            for ending in chain(gone, written if full else ()):
                rows.pop(ending, None)  # what is written now comes last
            rows.update(written)
            if len(rows) > MOST_ROWS:
                found.whole = False
                for ending in list(islice(rows, len(rows) - MOST_ROWS)):
                    del rows[ending]

    def distrust(self, tables: Iterable[str]) -> None:
        """Somebody else has changed rows there."""
        with self._lock:
            for table in tables:
                found = self._tables[table] = _Table()
                found.pause = PAUSE

    def clear(self) -> None:
        """Tables were removed, or exchanged."""
        with self._lock:
            self._tables.clear()
