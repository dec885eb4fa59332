"""Exact decimals in SQLite, which has none.

A Decimal is kept as its text. Two things that SQL does with numbers are taught to each connection:

- The collation `decimal` of the column: comparing, ORDER BY, GROUP BY, min and max go by value, so
  "9.50" < "10.0" = "10.00". (The sqlite3 program does not know it and says so; there, ORDER BY total + 0.)
- `sum` over decimals is exact. Its result is a number where that loses nothing (up to 15 digits, which a double
  keeps exactly), so that ORDER BY sum(total) and HAVING sum(total) > 100 work, and a text beyond that.
  Arithmetic inside SQL (total * 2) and avg are SQLite's own: floating point.

`sum` over integers and floats gives what SQLite's own gives. The price, per row: 0.6 µs for a decimal and
0.2 µs for an integer, where SQLite's own takes 0.03 µs.
"""

from __future__ import annotations

import sqlite3
from decimal import Context, Decimal, InvalidOperation

from headwater.stores.integers import LARGEST, MARK

EXACT = Context(prec=5000, traps=[])
"""More digits than any sum of cells has; the caller's context must not round here."""

ZERO = Decimal(0)
SAFE_DIGITS = 15


def compare(a: str, b: str) -> int:
    """Collation: by value; texts that are no decimals come last, by their characters."""
    if a == b:
        return 0
    try:
        x, y = Decimal(a), Decimal(b)
    except InvalidOperation:
        try:
            x, y = Decimal(a.removesuffix(MARK)), Decimal(b.removesuffix(MARK))
        except InvalidOperation:
            return (a > b) - (a < b)
    return (x > y) - (x < y)


class Sum:
    """SQL's sum, as a window function too: `step` and `inverse` per row, `value` so far. Texts that are no
    numbers count as 0, as in SQLite's own."""

    def __init__(self) -> None:
        self._count = 0
        self._integer = 0
        self._exact: Decimal | None = None
        self._float: float | None = None

    def step(self, value: object) -> None:
        if value is None:
            return
        self._count += 1
        if type(value) is str:
            self._exact = EXACT.add(self._exact or ZERO, decimal(value))
        elif type(value) is int:
            self._integer += value
        elif type(value) is float:
            self._float = (self._float or 0.0) + value

    def inverse(self, value: object) -> None:
        if value is None:
            return
        self._count -= 1
        if type(value) is str:
            self._exact = EXACT.subtract(self._exact or ZERO, decimal(value))
        elif type(value) is int:
            self._integer -= value
        elif type(value) is float:
            self._float = (self._float or 0.0) - value

    def value(self) -> int | float | str | None:
        if self._count == 0:
            return None
        if self._exact is None:
            return as_number(Decimal(self._integer)) if self._float is None else self._float + self._integer
        total = EXACT.add(self._exact, Decimal(self._integer))
        if self._float is not None:
            total = EXACT.add(total, Decimal(repr(self._float)))
        return as_number(total)

    def finalize(self) -> int | float | str | None:
        return self.value()


def decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return decimal(text[: -len(MARK)]) if text.endswith(MARK) else ZERO


def as_number(total: Decimal) -> int | float | str:
    """The number that SQL compares best and that reads back as the same decimal."""
    if not total.is_finite():
        return str(total)
    if total == total.to_integral_value() and abs(total) <= LARGEST:
        return int(total)
    return float(total) if len(total.normalize(EXACT).as_tuple().digits) <= SAFE_DIGITS else str(total)


def teach(connection: sqlite3.Connection) -> None:
    """Gives a connection the collation and the sum."""
    connection.create_collation("decimal", compare)
    connection.create_window_function("sum", 1, Sum)
