"""What a compiled view consists of: the tables that it keeps, what a batch adds to them, and how its rows are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from headwater.views.clock import Clock
from headwater.views.closing import Closing
from headwater.views.file_tables import state_prefix
from headwater.views.plan import Relation
from headwater.views.types import quoted

ROW_KEY, GONE = "hw key", "hw gone"
"""Columns of a table that others write: whose row a record is, and whether it removes it."""

VERSION = "{'since': since, 'until': NULL::TIMESTAMPTZ, 'part': _partition, 'place': _offset}"
"""When a version of a row began, and in which order those of one time did."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A column of partial sums. Arguments: name: quoted; type: of what they come to; scale: its digits after the point;
    shown: what it is called to the reader of an error."""

    name: str
    type: str
    scale: int
    shown: str

    @property
    def most(self) -> float:
        """What it can hold, about."""
        return 10.0 ** (38 - self.scale) if self.type.startswith("DECIMAL") else 2.0**127


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of a table, which a batch may make larger than they can be (see `room`). Arguments: columns; totals:
    SELECT of what each group comes to, which fails where one does not fit; keys: columns, quoted, that rows of a group
    have in common; none: all rows are one."""

    columns: tuple[Sum, ...]
    totals: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptTable:
    """A table of a view's state.

    Arguments: name: with its schema, quoted; adds: SELECT of what the changed rows come to, which has its columns;
    fold: SELECT of the same content in as few rows as can be, None: there are no fewer; keys: the columns that tell
    rows apart in that, listed, where the rows of some keys can be folded without the others ("": they cannot);
    lasting: whether it keeps what it has of windows that have closed; expired: when a row is no longer needed, a
    condition over its columns and the floors of the view ("": never); sums: those that can become too large.
    """

    name: str
    adds: str
    fold: str | None
    keys: str = ""
    lasting: bool = field(default=False, repr=False)
    expired: str = field(default="", repr=False)
    sums: Sums | None = field(default=None, repr=False)


class Change(NamedTuple):
    """A table that is made of each batch before anything is added to what is kept. Arguments: name: quoted; query."""

    name: str
    query: str

    @property
    def statement(self) -> str:
        return f"CREATE OR REPLACE TEMP TABLE {self.name} AS {self.query}"


@dataclass(frozen=True, slots=True)
class Floor:
    """From which time on rows of a relation are still to come (see `expiring`).

    Arguments: topic: of the relation; release: forgets the clock of records that are no longer set aside; bound: makes
    the floor, whose parameter is the number of partitions of the topic.
    """

    topic: str
    release: str
    bound: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """Arguments: tables: what is kept; rows: SELECT of the view's rows as they are now; changes: what is made of a
    batch first, in this order; all of it sees what is kept as it was before the batch; opening: statements that make,
    where they are missing, the tables that `changes` look at, over tables of a batch without rows; clocks, closing: of
    windows with a grace; clocks, floors: of joins within a time with a grace."""

    tables: tuple[KeptTable, ...]
    rows: str
    changes: tuple[Change, ...] = ()
    opening: tuple[str, ...] = ()
    clocks: tuple[Clock, ...] = ()
    closing: Closing | None = None
    floors: tuple[Floor, ...] = ()


def made(name: str, query: str) -> str:
    """The statement that makes a table for the rows of a query, where it is missing."""
    return f"CREATE TABLE IF NOT EXISTS {name} AS {query} WITH NO DATA"


def table_of(runner: str, part: str) -> str:
    """The name of a table of a view's own, with its schema."""
    return f"hw.{quoted(state_prefix(runner) + part)}"


def folded(name: str, columns: str) -> str:
    """SELECT of a table of rows with weights in which each row stands once. Arguments: columns: all but the weight."""
    return f"SELECT {columns}, sum(w)::BIGINT AS w FROM {name} GROUP BY ALL HAVING sum(w) <> 0"


def states_of(relation: Relation, runner: str) -> KeptTable:
    """The table that keeps the states of a relation, as JSON by id."""
    name = table_of(runner, f"states of {relation.alias}")
    return KeptTable(name, f"SELECT id, state, w FROM {changed_states(relation)}", folded(name, "id, state"))


def changed_states(relation: Relation) -> str:
    """The table of what a batch changes in them: old states with the weight -1, new ones with 1."""
    return quoted(f"hw states {relation.alias}")


def span_of(relation: Relation) -> str:
    """The column that says from when to when a row of a table was as it is."""
    return f"hw span {relation.alias}"


def identity_of(relation: Relation) -> list[str]:
    """The columns that tell the rows of a table apart."""
    return [ROW_KEY] if relation.origin == "records" else list(relation.key)


def columns_of(relation: Relation) -> list[str]:
    """All columns of the rows of a relation."""
    own = [one.name for one in relation.columns]
    return [*own, ROW_KEY, GONE] if relation.origin == "records" and relation.key else own
