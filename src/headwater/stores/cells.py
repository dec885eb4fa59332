"""Between Python values and the cells of an SQL table, a column at a time.

Work is done on whole columns, so that the loop over rows runs in C: `encode` gets all values of one column and
gives what SQLite binds, `decode` the reverse. Every value is checked against its column's type on the way
in, because one that does not fit would only be found when somebody reads the row.

| type                      | cell                                                                        |
|---------------------------|-----------------------------------------------------------------------------|
| str, int, float, bool     | TEXT, INTEGER, REAL, INTEGER (0, 1); bytes: BLOB                             |
| int of more than 64 bits  | TEXT (see `integers`)                                                       |
| Decimal                   | TEXT, exact, compared as a number (see `decimals`)                          |
| date, time, UUID, timedelta | TEXT, ISO 8601                                                             |
| datetime                  | TEXT, ISO 8601 in UTC: the order of the texts is the order of the times     |
| an Enum, a Literal        | its value                                                                   |
| anything else             | TEXT, as JSON                                                               |
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args, get_origin
from uuid import UUID

import msgspec

from headwater.errors import Misuse
from headwater.stores.integers import all_fit, from_cell, to_cell
from headwater.stores.shapes import describe, without_none

Translate = Callable[[Any], Any]


class Cell(NamedTuple):
    """How values of one type are kept.

    Arguments: sql: the column's type; accepts: classes of values that need no further check; encode, decode:
    for one value that is not None (None: it is kept as it is).
    """

    sql: str
    accepts: tuple[type, ...]
    encode: Translate | None
    decode: Translate | None


def utc_text(value: datetime) -> str:
    if value.tzinfo is None:
        raise Misuse(f"{value!r} has no time zone: use datetimes with one")
    return value.astimezone(UTC).isoformat()


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


_CELLS: dict[Any, Cell] = {
    str: Cell("TEXT", (str,), None, None),
    bool: Cell("INTEGER", (bool,), None, bool),
    int: Cell("INTEGER", (int,), None, None),
    float: Cell("REAL", (float, int), None, None),
    bytes: Cell("BLOB", (bytes,), None, None),
    Decimal: Cell("TEXT COLLATE decimal", (Decimal,), str, Decimal),
    date: Cell("TEXT", (date,), date.isoformat, date.fromisoformat),
    datetime: Cell("TEXT", (datetime,), utc_text, datetime.fromisoformat),
    time: Cell("TEXT", (time,), time.isoformat, time.fromisoformat),
    timedelta: Cell("TEXT", (timedelta,), msgspec.to_builtins, lambda text: msgspec.convert(text, timedelta)),
    UUID: Cell("TEXT", (UUID,), str, UUID),
}


def cell_for(kind: Any) -> Cell:
    """How values of a type (without None) are kept."""
    found = _CELLS.get(kind)
    if found is not None:
        return found
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        values = {type(member.value) for member in kind}
        if values == {str} or values == {int}:
            return Cell(_CELLS[values.pop()].sql, (kind,), lambda member: member.value, kind)
    if get_origin(kind) is Literal:
        literals = {type(value) for value in get_args(kind)}
        if literals == {str} or literals == {int}:
            only = literals.pop()
            return Cell(_CELLS[only].sql, (only,), one_of(kind), None)
    return Cell("TEXT", (), as_json(kind), msgspec.json.Decoder(kind, strict=False).decode)


def one_of(kind: Any) -> Translate:
    """Lets the values of a Literal pass. The function raises: Misuse."""
    allowed = frozenset(get_args(kind))

    def check(value: Any) -> Any:
        if value not in allowed:
            raise Misuse(f"{value!r} is not {describe(kind)}")
        return value

    return check


def as_json(kind: Any) -> Translate:
    """Writes values of a type as JSON that reads back as that type. The function raises: Misuse."""
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(kind)

    def encode(value: Any) -> str:
        try:
            raw = encoder.encode(value)
            decoder.decode(raw)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise Misuse(f"{value!r} is not {describe(kind)}: {error}") from error
        return raw.decode()

    return encode


class Columns:
    """The translation of one table's rows.

    Arguments: row: the class; types: name and annotation of each column, in the order of its fields; key: names of
    those that make the key.
    """

    def __init__(self, title: str, row: type[Any], types: Sequence[tuple[str, Any]], key: Collection[str]) -> None:
        self._title, self._row = title, row
        self.names = [name for name, _ in types]
        self._kinds = [without_none(annotation) for _, annotation in types]
        self.cells = [cell_for(kind) for kind, _ in self._kinds]
        self._large = {i for i, (name, _) in enumerate(types) if self._kinds[i][0] is int and name not in key}

    def optional(self, index: int) -> bool:
        # SQLite keeps a float that is not a number as NULL.
        return self._kinds[index][1] or self._kinds[index][0] is float

    def large(self, index: int) -> bool:
        """Whether it may hold integers of more than 64 bits."""
        return index in self._large

    def encode(self, columns: Iterable[Iterable[Any]], indexes: Sequence[int]) -> Iterable[tuple[Any, ...]]:
        """Rows of cells from columns of values; `indexes` says which columns they are."""
        return zip(*(self._encode(i, list(values)) for i, values in zip(indexes, columns, strict=True)), strict=True)

    def decode(self, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Instances from rows of cells. Raises: Misuse: cells that were not written through a store."""
        if not rows:
            return []
        try:
            return list(map(self._row, *map(self._decode, range(len(self.cells)), zip(*rows, strict=True))))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Misuse(f"a row of {self._title} is not what headwater wrote: {error}") from error

    def _encode(self, index: int, values: list[Any]) -> Iterable[Any]:
        cell = self.cells[index]
        self._check(index, values)
        try:
            if cell.encode is None:
                return bindable(cell, values, large=index in self._large)
            if None in values:
                return [None if value is None else cell.encode(value) for value in values]
            return list(map(cell.encode, values))
        except (Misuse, ValueError, OverflowError) as error:
            raise Misuse(f"{self._title}, column {self.names[index]}: {error}") from error

    def _check(self, index: int, values: list[Any]) -> None:
        refuse_other_types(self._title, self.names[index], self._kinds[index], self.cells[index].accepts, values)

    def _decode(self, index: int, cells: Sequence[Any]) -> Iterable[Any]:
        decode = self.cells[index].decode
        if self._kinds[index][0] is float and not self._kinds[index][1]:
            return map(_nan, cells)
        if decode is None:
            return map(from_cell, cells) if index in self._large and str in set(map(type, cells)) else cells
        if None in cells:
            return [None if cell is None else decode(cell) for cell in cells]
        return map(decode, cells)


def refuse_other_types(
    title: str, column: str, kind: tuple[Any, bool], accepts: tuple[type, ...], values: Collection[Any]
) -> None:
    """Looks at the classes of a column's values.

    Arguments: title: of the table; kind: the column's type, and whether it may be None; accepts: classes of values that
    need no further check (none: the type is checked where the value is written as JSON).
    Raises: Misuse: a value of another type.
    """
    strange = set(map(type, values)).difference(accepts)
    if not strange:
        return
    annotation, optional = kind
    if optional:
        strange.discard(type(None))
    for value in values if accepts else ():
        if type(value) in strange and not _fits(value, annotation, accepts):
            raise Misuse(f"{title}, column {column}: {value!r} is no {describe(annotation)} but {type(value).__name__}")
    if not accepts and type(None) in strange:
        raise Misuse(f"{title}, column {column}: None is no {describe(annotation)}")


def refuse_bad_keys(title: str, columns: Iterable[tuple[str, Any]], key: Collection[str]) -> None:
    """Raises: Misuse: a column of the key is of a type whose equal values may be written in several ways."""
    for name, annotation in columns:
        kind, optional = without_none(annotation)
        cell = cell_for(kind)
        if name in key and (optional or not cell.accepts or cell.sql not in ("TEXT", "INTEGER")):
            raise Misuse(
                f"{title}: {name} cannot be in the key ({kind}): "
                "use a str, int, bool, date, datetime, UUID, Enum or Literal that is never None"
            )


def bindable(cell: Cell, values: list[Any], *, large: bool) -> list[Any]:
    """Values as SQLite takes them. Arguments: large: integers of more than 64 bits may be kept.

    Raises: Misuse: such an integer, where it may not. ValueError, OverflowError: half of a surrogate pair, an integer
    that nothing can hold.
    """
    present = [value for value in values if value is not None]
    if cell.sql == "TEXT":
        "".join(present).encode()
    elif cell.sql == "REAL":
        if not all_fit([value for value in present if isinstance(value, int)]):
            return [float(value) if isinstance(value, int) else value for value in values]
    elif cell.sql == "INTEGER" and not all_fit(present):
        if not large:
            raise Misuse(f"{max(present, key=abs)} does not fit in 64 bits: use a str")
        return [None if value is None else to_cell(value) for value in values]
    return values


def _fits(value: Any, kind: Any, accepts: tuple[type, ...]) -> bool:
    """Whether a value of a subclass may stand for its base: not a bool for a number, nor a time for a date."""
    if isinstance(value, bool) or (isinstance(value, datetime) and kind is date):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, accepts)


def argument(value: Any) -> Any:
    """A value given with a query, as its cell would be."""
    if value is None or type(value) in (str, float, bytes):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, int):
        return to_cell(int(value))
    for kind in (datetime, date, time, timedelta, Decimal, UUID):
        if isinstance(value, kind):
            encode = _CELLS[kind].encode
            return value if encode is None else encode(value)
    if isinstance(value, (str, float, bytes)):
        return value
    return msgspec.json.encode(value).decode()
