"""Integers of any size in SQLite, whose own have 64 bits.

One that does not fit is kept in its INTEGER column as a text, its digits and an n (18446744073709551616n): SQLite
takes neither for the other. It comes back exact, is found by equality and is summed exactly; arithmetic in SQL is
SQLite's own, floating point. SQL sorts texts behind all numbers, so a negative one too is larger than any that fits;
among themselves they sort by value with COLLATE decimal, as `Store.rows` does. A key has to fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

LARGEST = 2**63 - 1
MARK = "n"
_MARKED = re.compile(rf"-?[1-9][0-9]{{18,4299}}{MARK}")


def fits(number: int) -> bool:
    return -LARGEST - 1 <= number <= LARGEST


def all_fit(numbers: Sequence[int]) -> bool:
    return not numbers or (fits(min(numbers)) and fits(max(numbers)))


def to_cell(number: int) -> int | str:
    """What SQLite is given. Raises: ValueError: more digits than Python writes (4300)."""
    return number if fits(number) else f"{number}{MARK}"


def without_mark(cell: Any) -> Any:
    """What a question to the file itself found: of an integer that does not fit, its digits. Anything else stays."""
    found = isinstance(cell, str) and _MARKED.fullmatch(cell)
    return cell.removesuffix(MARK) if found and not fits(int(cell.removesuffix(MARK))) else cell


def from_cell(cell: Any) -> Any:
    """The integer of a cell; what is no text stays as it is. Raises: ValueError: a text that is none."""
    return int(cell.removesuffix(MARK)) if isinstance(cell, str) else cell
