"""The clock of a view whose windows have a grace, as SQL of DuckDB: which records come too late. Pure text.

Theory of operation. The clock of a partition is the greatest time that its rows have had so far, in the order of the
log; rows are what FROM and WHERE leave. A window takes a row while its end and the grace lie after the clock as it was
when the row came, the row itself included. So it depends on the log alone which rows count, not on how it was cut into
batches, nor on what other partitions hold. What is left out of any of its windows is late.

    rows of a batch, clock, aside ─► `TIMES`: per record the clock as it was then ─► `LATE`: what is late
    TIMES, LATE ─► clock                                   all in the transaction that adds the rows

A record that is set aside moves no clock. The clock as it was before it is kept in `aside`, so if it is tried again it
is judged by what was before it in the log. A late record has nothing there: it stays late.

Where processes share a view, each keeps the clocks of the partitions that it reads in its file, in one transaction with
how far it has read them. So whichever process reads a partition, and from wherever its file stands with it, the clock
is the same at each record.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.views.plan import Relation, Window
from headwater.views.types import PLACE, quoted

TIMES = "hw_times"
LATE = "hw_late"
CLOSED = -1
"""Where the number of a partition stands in the clock: the time up to which windows have been closed for good (see
`closing`)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The statements of a view's clock.

    Arguments: topic: whose partitions have it; create: its tables; times, late: SELECTs of a batch that `TIMES` and
    `LATE` are made of; told: SELECT of partition, offset, time, clock and number of windows of what is late; remember:
    keeps the clock for records that are set aside, whose partitions and offsets are parameters; advance: moves it;
    counts: SELECT of how many were late, by partition; takes_us: for how long after its time a row of a join is taken
    (of a window its end says more); release: forgets the clock of records that are no longer set aside, before that of
    others is kept ("": that is done where windows close, or rows expire).
    """

    topic: str
    create: tuple[str, ...]
    times: str
    late: str
    told: str
    remember: str
    advance: tuple[str, ...]
    counts: str
    takes_us: int
    release: str = field(default="", repr=False)


def clock_of(
    read: Relation,
    window: Window,
    rows: str,
    every_window: str,
    clock: str,
    aside: str,
    *,
    times: str = TIMES,
    late: str = LATE,
    told: tuple[str, ...] = (),
) -> Clock:
    """Arguments: read: what the rows are of; rows: FROM and WHERE of the rows of a batch, `every_window`: the same with
    `TIMES` as `tm` and all windows of each; clock, aside: names of tables; times, late: of what is made of a batch;
    told: what else says of records of the same topic that they are late: these are counted there."""
    assert window.grace_us is not None
    relation, time = quoted(read.alias), window.time
    seen = (
        f"SELECT i, any_value(p) AS p, any_value(o) AS o, max(t) AS t FROM (SELECT {relation}.{PLACE} AS i, "
        f'{relation}."_partition" AS p, {relation}."_offset" AS o, {time} AS t FROM {rows}) '
        "WHERE isfinite(t) GROUP BY i"
    )
    clocked = (
        f"WITH seen AS ({seen}), placed AS (SELECT seen.*, c.m AS before, coalesce(seen.o < c.o, false) AS again "
        f"FROM seen LEFT JOIN {clock} AS c ON c.p = seen.p) "
        "SELECT s.i, s.p, s.o, s.again, NOT s.again OR a.o IS NOT NULL AS first, greatest("
        f"(SELECT max(m) FROM {clock} WHERE p = {CLOSED}), CASE WHEN NOT s.again THEN greatest(s.before, "
        "max(s.t) OVER (PARTITION BY s.p, s.again ORDER BY s.i)) "
        "WHEN a.o IS NULL THEN greatest(s.before, s.t) ELSE greatest(a.m, s.t) END) AS m "
        f"FROM placed AS s LEFT JOIN {aside} AS a ON s.again AND a.p = s.p AND a.o = s.o"
    )
    after_us = window.grace_us + (window.size_us if window.kind == "session" else 0)
    early = f"epoch_us({time}) + {after_us} < epoch_us(tm.m)"
    behind = (
        "SELECT tm.i, any_value(tm.p) AS p, any_value(tm.o) AS o, min(t) AS t, any_value(tm.m) AS m, "
        f"count(*) AS windows, bool_or(tm.first) AS first FROM (SELECT tm.*, {time} AS t FROM {every_window} "
        f"AND {early} AND NOT ({takes(window)})) AS tm GROUP BY tm.i"
    )
    moved = (
        "SELECT p, max(o) AS o, max(m) AS m, sum(late)::BIGINT AS late FROM ("
        f"SELECT p, o, m, late FROM {clock} UNION ALL SELECT p, o + 1, m, 0 FROM {times} WHERE NOT again "
        f"UNION ALL SELECT p, NULL, NULL, 1 FROM {late} WHERE first{''.join(map(elsewhere, told))}) GROUP BY p"
    )
    before = (
        f"greatest((SELECT m FROM {clock} AS c WHERE c.p = x.p), "
        f"(SELECT max(m) FROM {times} AS t WHERE t.p = x.p AND NOT t.again AND t.o < x.o))"
    )
    return Clock(
        topic=read.name,
        create=(
            f"CREATE TABLE IF NOT EXISTS {clock} (p INTEGER, o BIGINT, m TIMESTAMPTZ, late BIGINT)",
            f"CREATE TABLE IF NOT EXISTS {aside} (p INTEGER, o BIGINT, m TIMESTAMPTZ)",
        ),
        times=clocked,
        late=behind,
        told=f"SELECT p, o, t, m, windows FROM {late} ORDER BY i",
        remember=(
            f"INSERT INTO {aside} SELECT x.p, x.o, {before} FROM (SELECT unnest(?::INTEGER[]) AS p, "
            "unnest(?::BIGINT[]) AS o) AS x "
            f"WHERE NOT EXISTS (SELECT 1 FROM {aside} AS a WHERE a.p = x.p AND a.o = x.o)"
        ),
        advance=(
            f"CREATE OR REPLACE TEMP TABLE hw_clock AS {moved}",
            f"DELETE FROM {clock}",
            f"INSERT INTO {clock} FROM hw_clock",
        ),
        counts=f"SELECT p, late FROM {clock} WHERE p >= 0",
        takes_us=after_us,
    )


def released(aside: str, held: str) -> str:
    """The statement that forgets the clock of records that are no longer set aside. Arguments: held: the table of those
    that are."""
    return (
        f"DELETE FROM {aside} AS a WHERE NOT EXISTS "
        f'(SELECT 1 FROM {held} AS h WHERE h."partition" = a.p AND h.record_offset = a.o)'
    )


def elsewhere(late: str) -> str:
    """A condition: the record is not among these, which are late as well."""
    return f" AND (p, o) NOT IN (SELECT (p, o) FROM {late})"


def takes(window: Window) -> str:
    """Whether a window still takes a row: a condition over `win`, the row, and `tm`."""
    if window.kind == "session":
        return f"epoch_us({window.time}) + {window.size_us + (window.grace_us or 0)} >= epoch_us(tm.m)"
    return f'epoch_us("win"."window_end") + {window.grace_us} > epoch_us(tm.m)'
