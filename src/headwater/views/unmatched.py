"""Rows of an outer join that have no partner, where rows of the same key may have expired, as SQL of DuckDB. Pure text.

All rows of a key cannot be joined anew there, for what some of them were joined with is gone. The pairs are those of an
inner join. Beside them a row stands alone while it has no partner, which only changes for rows that are *touched*: that
came or went, or that meet a row of the other side which did. All that a touched row can be joined with is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from headwater.views.kept import Change, folded
from headwater.views.types import quoted


class Side(NamedTuple):
    """Of a join. Arguments: kept: the table of its rows before the batch; change: what the batch changes in them;
    aliases: its columns."""

    kept: str
    change: str
    aliases: list[str]

    @property
    def now(self) -> str:
        return f"(FROM {self.kept} UNION ALL BY NAME FROM {self.change})"

    @property
    def shown(self) -> str:
        return ", ".join(map(quoted, self.aliases))


def touched_rows(name: str, side: Side, partners: Side, on: str) -> Change:
    """The rows of a side that may stand alone since the batch, or did before it. Arguments: name: of the join; on: when
    two rows meet."""
    met = f"SELECT {side.shown} FROM {side.kept} SEMI JOIN {partners.change} AS o ON {on}"
    return Change(quoted(f"touched {side.aliases[0]} of {name}"), f"SELECT {side.shown} FROM {side.change} UNION {met}")


def rows_alone(touched: str, side: Side, partners: Side, on: str) -> Iterator[str]:
    """SELECTs of the touched rows that stood alone before the batch, which go, and of those that do now."""
    same = " AND ".join(f"s.{quoted(one)} IS NOT DISTINCT FROM k.{quoted(one)}" for one in side.aliases)
    for sign, rows, others in ((-1, side.kept, partners.kept), (1, side.now, partners.now)):
        mine = folded(f"(SELECT s.* FROM {rows} AS s SEMI JOIN {touched} AS k ON {same})", side.shown)
        there = folded(f"(SELECT o.* FROM {others} AS o SEMI JOIN {touched} AS k ON {on})", partners.shown)
        yield f"SELECT {side.shown}, {sign} * w AS w FROM ({mine}) AS m ANTI JOIN ({there}) AS o ON {on}"
