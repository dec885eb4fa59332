"""Where the state of views may be kept besides a file of DuckDB: the port, and what goes through it.

    commit: BEGIN -> is this still the owner, and is what is kept what it has written? -> pieces -> count -> COMMIT

What is kept are the tables of the file and, of each, pieces: rows as an Arrow stream, with a weight. A table's rows are
those of its pieces with the weight 1, without those with the weight -1. So a commit writes what it adds and takes away,
and what a merge exchanges are whole pieces. Positions are rows of such a table, so they are in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from headwater.errors import Unavailable

FORMAT = 1


class Lost(Unavailable):
    """Another process has taken the state over, or what is kept is not what this process has written."""


class Piece(NamedTuple):
    """Rows of a table. Arguments: table: its name in SQL; weight: 1: they are there, -1: they are there no more;
    content: an Arrow stream."""

    table: str
    weight: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """What a transaction changes, in this order.

    Arguments: gone: tables and views that are there no more; emptied: tables of which no piece stays; defined: tables
    and views that are new, or a view that is another one: name -> the statement that makes it; pieces: what is added.
    """

    gone: Sequence[str]
    emptied: Sequence[str]
    defined: dict[str, str]
    pieces: Sequence[Piece]


class StateStore(Protocol):
    """One app's state of views. It has one owner at a time, and only the owner's commits come to anything.

    `place`: where it is, without a password.
    """

    place: str

    def claim(self) -> int:
        """Becomes the owner. Returns how many commits are kept. Raises: Unavailable: another process is, or the store
        cannot be reached. Misuse: it is something else."""

    def commits(self) -> int:
        """How many commits are kept, read anew; reaches the store again if it was away.

        Raises: Unavailable: it is away. Lost.
        """

    def definitions(self) -> dict[str, str]:
        """Tables and views: name -> the statement that makes it."""

    def pieces(self, table: str) -> Iterator[Piece]:
        """Those of one table, in no order."""

    def commit(self, number: int, changes: Changes) -> None:
        """Writes changes in one transaction that is on the disk when this returns.

        Arguments: number: how many commits there are before it.
        Raises: Unavailable: the store is away, and nobody knows whether it was written. Lost: it was not.
        """

    def close(self) -> None:
        """Lets another process become the owner. Idempotent."""
