"""Whether the sums of a table still fit what they are kept in: a batch that makes one larger than that is refused.

What is kept are partial sums, which are added up when they are read and when they are merged. If the sum of a group did
not fit then, every question that adds it up would fail, and every merge. So the record that would push a group over is
found when it comes, whatever batch it comes in, and goes where other values go that do not fit.

To add up the groups of a batch each time costs a scan of the table. It is done only where it can matter:

    rows that were added ─► is one of them more than a small share of the room that is left? Almost never
      it is, or many rows have come ─► all numbers of the table without their signs: do they fit together? Then all do
        they do not ─► the groups of the batch, added up: refused, if one does not fit

DuckDB adds rows in an order of its own, so what they come to on the way has to fit, too: what is above zero and what is
below it are added up apart. Where a group has both, that is more than it comes to until its rows are merged; it matters
only where either of them is as large as what the sum can hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import duckdb

from headwater.views.kept import KeptTable, Sum, Sums

ROWS = 10_000_000
"""After so many rows the room that is left is measured again; a row may take so great a part of it unseen."""

SURE = 0.99
"""So much of what fits is taken for sure: it is measured in doubles."""

OF_ADDING: Final = ("Overflow in SUM", "Overflow in HUGEINT addition")
"""What is in DuckDB's words where a sum does not fit."""

TRIED = "hw_tried"
"""The table of what a batch adds, where its groups are added up."""


class Room:
    """Of the sums of one table. Arguments: table. `scarce`: whether the last batch may have been too much."""

    def __init__(self, table: KeptTable, sums: Sums) -> None:
        self.scarce = False
        self._table, self._sums = table, sums
        self._rows_left, self._shares = 0, dict[str, float]()

    def look(self, connection: duckdb.DuckDBPyConnection, written: str, added: int) -> None:
        """Looks at what a batch has added. Arguments: written: where; added: how many rows. Raises:
        duckdb.OutOfRangeException: the sum of a group does not fit any more."""
        if not added:
            return
        if added <= self._rows_left and not self._is_large(connection, written):
            self._rows_left, self.scarce = self._rows_left - added, False
            return
        left = self._left(connection)
        self.scarce = min(left.values()) <= 0
        if not self.scarce:
            self._rows_left, self._shares = ROWS, {name: room / ROWS for name, room in left.items()}
            return
        self._rows_left = 0
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {TRIED} AS {self._table.adds}")
        self._refuse(connection, self._kept_of_tried())
        connection.execute(f"DROP TABLE {TRIED}")

    def tried(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The same for rows that are in `TRIED` and are not added, if the room is scarce. Raises: as `look`."""
        if self.scarce:
            self._refuse(connection, f"{self._kept_of_tried()} UNION ALL FROM {TRIED}")

    def explained(self, error: duckdb.OutOfRangeException) -> duckdb.OutOfRangeException:
        """The error of a batch by itself, in our words where it is about a sum."""
        return explained(error, self._sums.columns)

    def _is_large(self, connection: duckdb.DuckDBPyConnection, written: str) -> bool:
        """Whether there is a row that takes more than its share. Most rows are passed over by what is known of many of
        them together."""
        asked = []
        for one in self._sums.columns:
            share = f"'{self._shares[one.name]:.{one.scale}f}'::{one.type}"
            asked.append(f"SELECT 1 FROM {written} WHERE {one.name} > {share} OR {one.name} < -{share}")
        return bool(connection.execute(f"{' UNION ALL '.join(asked)} LIMIT 1").fetchall())

    def _left(self, connection: duckdb.DuckDBPyConnection) -> Mapping[str, float]:
        """How much more each sum can hold, if all groups were one and all rows of one sign."""
        columns = self._sums.columns
        listed = ", ".join(f"coalesce(sum(abs({one.name}::DOUBLE)), 0)" for one in columns)
        [taken] = connection.execute(f"SELECT {listed} FROM {self._table.name}").fetchall()
        return {one.name: one.most * SURE - float(there) for one, there in zip(columns, taken, strict=True)}

    def _kept_of_tried(self) -> str:
        """SELECT of what is kept of the groups in `TRIED`."""
        same = " AND ".join(f"b.{key} IS NOT DISTINCT FROM t.{key}" for key in self._sums.keys)
        return f"SELECT b.* FROM {self._table.name} AS b SEMI JOIN {TRIED} AS t ON {same or 'true'}"

    def _refuse(self, connection: duckdb.DuckDBPyConnection, source: str) -> None:
        for one in self._sums.columns:
            for signed in ("greatest", "least"):
                rows = f"(SELECT * REPLACE ({signed}({one.name}, 0::{one.type}) AS {one.name}) FROM ({source}))"
                totals = self._sums.totals.replace(self._table.name, rows)
                try:
                    connection.execute(f"SELECT max({one.name}) FROM ({totals})").fetchall()
                except duckdb.OutOfRangeException as error:
                    raise explained(error, [one]) from error


def explained(error: duckdb.OutOfRangeException, sums: Sequence[Sum]) -> duckdb.OutOfRangeException:
    """What DuckDB says where it adds, in words that say what of. Arguments: sums: one of which does not fit."""
    if not any(text in str(error) for text in OF_ADDING):
        return error
    shown = " or ".join(f"the sum in {one.shown} would no longer fit in {one.type}" for one in sums)
    return duckdb.OutOfRangeException(f"{shown} ({error})")


def room_of(table: KeptTable) -> Room | None:
    """None: the table has no sums that can become too large."""
    return None if table.sums is None else Room(table, table.sums)
