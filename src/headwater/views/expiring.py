"""Rows of two streams that nothing can be joined with any more, as SQL of DuckDB: they leave what is kept. Pure text.

Theory of operation. Left and right rows of `WITHIN (INTERVAL b, INTERVAL a, grace => INTERVAL g)` meet if

    left - b <= right <= left + a

Each relation has a clock per partition (see `clock`), and takes a row up to g past the last partner that it can have:

    left + a + g >= clock of its partition        right + b + g >= clock of its partition

What does not come in time is late, and in no join. So which rows count follows from the log alone. Clocks only go up,
so all rows that are still to come are at or past the *floor* of their relation, the least clock of its partitions less
a + g, or b + g. With these floors a kept row has no more partners to come when

    left + a < floor of the right side            right + b < floor of the left side

and is left out where what is kept is merged. An outer join also has to know whether a left row has partners already,
so there each side is kept until the rows that it was joined with have expired, too, which is a + b later. What stands
left of a second join within a time is changed by the first one: its floor is the lesser one of both.

A partition that has had no row yet keeps everything, and so does a record that is set aside, with the clock that was
before it: it may be tried again.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater.views.clock import Clock, clock_of
from headwater.views.kept import Change, Floor, table_of
from headwater.views.plan import Join, Relation, View, Window
from headwater.views.types import PLACE, literal, quoted


class Expiring:
    """Of the joins of one view. Arguments: view: it has a WITHIN with a grace, and each of them has; runner: whose
    tables they are; held: the table of records that are set aside.

    `changes`: what is made of a batch, before the changes of relations; `opening`: tables; `clocks`; `floors`.
    """

    def __init__(self, view: View, runner: str, held: str) -> None:
        self.changes: list[Change] = []
        self.opening: list[str] = []
        self.clocks: list[Clock] = []
        self.floors: list[Floor] = []
        self._takes_us = dict(takes_us(view))
        topics = dict[str, list[str]]()
        for relation, time in timed(view):
            clock, aside = (table_of(runner, f"{part} {relation.alias}") for part in ("clock", "aside"))
            before = topics.setdefault(relation.name, [])
            found = self._clock(relation, time, clock, aside, tuple(before))
            before.append(late_of(relation))
            self.clocks.append(found)
            self.floors.append(self._floor(relation, clock, aside, held))
            self.opening += found.create
            self.changes += [Change(times_of(relation), found.times), Change(late_of(relation), found.late)]

    def _clock(self, relation: Relation, time: str, clock: str, aside: str, before: tuple[str, ...]) -> Clock:
        alias = quoted(relation.alias)
        rows = f"{alias} JOIN {times_of(relation)} AS tm ON tm.i = {alias}.{PLACE} WHERE true"
        takes = Window("session", time, self._takes_us[relation.alias], 0, 0)
        return clock_of(
            relation, takes, alias, rows, clock, aside, times=times_of(relation), late=late_of(relation), told=before
        )

    def _floor(self, relation: Relation, clock: str, aside: str, held: str) -> Floor:
        known = f"(SELECT count(*) FROM {clock} WHERE p >= 0 AND m IS NOT NULL) >= ?"
        free = f"NOT EXISTS (SELECT 1 FROM {aside} WHERE m IS NULL)"
        least = f"least((SELECT min(m) FROM {clock} WHERE p >= 0), (SELECT min(m) FROM {aside}))"
        return Floor(
            relation.name,
            f"DELETE FROM {aside} AS a WHERE NOT EXISTS (SELECT 1 FROM {held} AS h "
            f'WHERE h.topic = {literal(relation.name)} AND h."partition" = a.p AND h.record_offset = a.o)',
            f"CREATE OR REPLACE TEMP TABLE {floor_of(relation)} AS SELECT CASE WHEN {known} AND {free} THEN "
            f"epoch_us({least}) - {self._takes_us[relation.alias]} END AS t",
        )

    def reads(self, relation: Relation) -> bool:
        """Whether rows of this relation can be late."""
        return relation.alias in self._takes_us

    def of(self, view: View, step: Join) -> tuple[str, str]:
        """When what is kept left and right of a join within a time is no longer needed: conditions over its rows, NULL:
        it is."""
        near, left, right = step.within, floor_before(view, step), f"(SELECT t FROM {floor_of(step.right)})"
        assert near is not None, "it is a join within a time"
        lefts, rights = f"epoch_us({near.left})", f"epoch_us({near.right})"
        left_done, right_done = f"{lefts} + {near.after_us} < {right}", f"{rights} + {near.before_us} < {left}"
        if step.side == "inner":
            return left_done, right_done
        both_us = near.before_us + near.after_us
        return f"{left_done} AND {lefts} + {both_us} < {left}", f"{right_done} AND {rights} + {both_us} < {right}"


def takes_us(view: View) -> Iterator[tuple[str, int]]:
    """Alias of a relation -> for how long after a row's time it takes the row."""
    joins = [step for step in view.steps if isinstance(step, Join) and step.within is not None]
    most_us = 0
    for step in joins:
        assert step.within is not None
        grace_us = step.within.grace_us or 0
        most_us = max(most_us, step.within.after_us + grace_us)
        yield step.right.alias, step.within.before_us + grace_us
    yield view.relation.alias, most_us


def timed(view: View) -> Iterator[tuple[Relation, str]]:
    """The relations that are joined within a time, with the time of their rows."""
    first = True
    for step in view.steps:
        if isinstance(step, Join) and step.within is not None:
            if first:
                yield view.relation, step.within.left
                first = False
            yield step.right, step.within.right


def floor_before(view: View, step: Join) -> str:
    """From which time on what stands left of a join may change still, in microseconds."""
    floors = [f"(SELECT t FROM {floor_of(view.relation)})"]
    for one in view.steps:
        if one is step:
            break
        if isinstance(one, Join) and one.within is not None:
            floors.append(f"(SELECT t - {one.within.after_us} FROM {floor_of(one.right)})")
    every = " AND ".join(f"{one} IS NOT NULL" for one in floors)
    return f"CASE WHEN {every} THEN least({', '.join(floors)}) END" if len(floors) > 1 else floors[0]


def is_late(relation: Relation) -> str:
    """Whether a row of a batch, in `t`, came too late."""
    return f"EXISTS (SELECT 1 FROM {late_of(relation)} AS l WHERE l.i = t.{PLACE})"


def times_of(relation: Relation) -> str:
    return quoted(f"hw times {relation.alias}")


def late_of(relation: Relation) -> str:
    return quoted(f"hw late {relation.alias}")


def floor_of(relation: Relation) -> str:
    return quoted(f"hw floor {relation.alias}")
