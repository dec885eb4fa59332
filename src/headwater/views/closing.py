"""Windows that no row can change any more, as SQL of DuckDB: they are put away as what they came to. Pure text.

    groups, bags ─► what closed windows came to ─► `closed`: a row per group, its counts, sums and numbers
    groups, bags ─► what is still open, merged       the values that were counted once each are gone

It happens where a view's tables are merged, so their size follows from the windows that are open, and merging them from
it as well. A window is closed when the clocks of all partitions have passed its end and the grace (a session: once more
the gap, for a row may come that much after its end and still join it). A partition that has had no row yet keeps all
windows open, and so does a record that is set aside, with the clock that was before it: it may be tried again.

No row can come for what is closed, so what is read from both tables is what it was. To be sure of it, the time up to
which windows were closed is kept, and a row of any partition is late for them.

In a view that processes share nothing is closed: no process has the clocks of all partitions, and what it keeps of a
window is folded with what others keep of it when it is read, for which COUNT(DISTINCT) needs the values.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.views.clock import CLOSED, released
from headwater.views.plan import Grouping, Window
from headwater.views.types import quoted
from headwater.views.windowed import END

BOUND = "hw_bound"


@dataclass(frozen=True, slots=True)
class Closing:
    """Arguments: name: of the table of closed windows; finished: SELECT of groups with all that they came to, from the
    other tables; release: forgets the clock of records that are no longer set aside; bound: makes the time up to which
    the clocks are, whose parameter is the number of partitions; mark: keeps it; closes: whether a group is closed, over
    its keys, NULL: it is not."""

    name: str
    finished: str
    release: str
    bound: str
    mark: str
    closes: str


def closing_of(
    window: Window, grouping: Grouping, finished: str, *, name: str, clock: str, aside: str, held: str
) -> Closing:
    """Arguments: held: the table of records that are set aside; others: as of `Closing` and `clock_of`."""
    assert window.grace_us is not None
    end = next(key.name for key in grouping.keys if key.expression == END)
    after_us, sign = (window.grace_us, "<=") if window.kind != "session" else (window.grace_us + window.size_us, "<")
    known = f"(SELECT count(*) FROM {clock} WHERE p >= 0 AND m IS NOT NULL) >= ?"
    free = f"NOT EXISTS (SELECT 1 FROM {aside} WHERE m IS NULL)"
    return Closing(
        name=name,
        finished=finished,
        release=released(aside, held),
        bound=f"CREATE OR REPLACE TEMP TABLE {BOUND} AS SELECT CASE WHEN {known} AND {free} THEN "
        f"least((SELECT min(m) FROM {clock} WHERE p >= 0), (SELECT min(m) FROM {aside})) END AS b",
        mark=f"INSERT INTO {clock} SELECT {CLOSED}, 0, b, 0 FROM {BOUND} WHERE b IS NOT NULL",
        closes=f"epoch_us({quoted(end)}) + {after_us} {sign} (SELECT epoch_us(b) FROM {BOUND})",
    )
