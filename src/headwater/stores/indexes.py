"""Indexes that a table declares, in stores that have some: which are to be made, and which are not wanted any more.

An index belongs to the rows and not to a name: where tables are exchanged (see `switching`), theirs go with them. So it
is known by its columns, which its name says as a fingerprint, and not by the table's name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence

from headwater.errors import Misuse

BEGINS = "hw_ix_"
"""With this the names of our indexes begin; others are left alone."""

Index = tuple[str, ...]
"""The columns of an index, in order."""


def refuse_bad_indexes(title: str, columns: Collection[str], indexes: Sequence[Index]) -> None:
    """Raises: Misuse: an index of columns that the table has not, or one that is declared twice."""
    for index in indexes:
        unknown = [name for name in index if name not in columns]
        if unknown or not index:
            raise Misuse(f"{title} has no column {', '.join(unknown)!r} for an index: it has {', '.join(columns)}")
    if len(set(indexes)) < len(indexes):
        raise Misuse(f"{title} declares an index twice")


def new_name(index: Index) -> str:
    """A name that no other index of the store has."""
    return f"{BEGINS}{_fingerprint(index)}_{secrets.token_hex(4)}"


def compared(declared: Sequence[Index], names: Collection[str]) -> tuple[list[Index], list[str]]:
    """What a table wants and what it has. Arguments: names: of the indexes that it has.

    Returns: the indexes to make, the names of those to drop.
    """
    ours = [name for name in names if name.startswith(BEGINS)]
    wanted = {_fingerprint(index): index for index in declared}
    there = {name.removeprefix(BEGINS).partition("_")[0] for name in ours}
    extra = [name for name in ours if name.removeprefix(BEGINS).partition("_")[0] not in wanted]
    return [index for fingerprint, index in wanted.items() if fingerprint not in there], extra


def _fingerprint(index: Index) -> str:
    return hashlib.blake2b("\0".join(index).encode(), digest_size=8).hexdigest()
