"""Between Python values and the fields of a Redis hash, which are texts; a column at a time.

| type                      | field                                                                       |
|---------------------------|-----------------------------------------------------------------------------|
| str                       | itself                                                                      |
| int, float                | its digits, any number of them; as Python writes it                          |
| bool                      | 1 or 0                                                                      |
| bytes                     | base64                                                                      |
| None                      | the field is not there                                                      |
| anything else             | as in a file of SQLite (see `cells`): Decimal exact, dates and times in ISO  |
|                           | 8601 (datetimes in UTC), an Enum's value, and JSON for what has parts       |

On the way to the server's scripts and back None is False: a list in Lua ends where it has nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from headwater.errors import Misuse
from headwater.stores.cells import Cell, Translate, cell_for, refuse_other_types
from headwater.stores.shapes import without_none

Text = str | bool
"""A field's text; False: there is none."""

FIXED = (date, UUID, bool)
"""Types whose texts all have one length."""

ORDERED = (str, date, datetime, UUID, bool)
"""Types whose texts sort as their values do."""

_TEXTS: dict[str, tuple[Translate | None, Translate | None]] = {
    "TEXT": (None, None),
    "INTEGER": (int.__repr__, int),
    "REAL": (lambda value: repr(float(value)), float),
    "BLOB": (lambda value: base64.b64encode(value).decode(), base64.b64decode),
}


class RedisCell(NamedTuple):
    """How values of one type are kept. Arguments: encode, decode: for one that is not None (None: it stays)."""

    encode: Translate | None
    decode: Translate | None


def redis_cell(kind: Any) -> RedisCell:
    """How values of a type (without None) are kept."""
    cell = cell_for(kind)
    write, read = _TEXTS[cell.sql.partition(" ")[0]]
    return RedisCell(_after(cell.encode, write), _after(read, cell.decode))


def _after(first: Translate | None, second: Translate | None) -> Translate | None:
    if first is None or second is None:
        return first or second
    return lambda value: second(first(value))


class RedisColumns:
    """The translation of one table's rows.

    Arguments: title: of the table; row: the class; columns: name and annotation of each, in the order of its fields.
    """

    def __init__(self, title: str, row: type[Any], columns: Sequence[tuple[str, Any]]) -> None:
        self._title, self._row = title, row
        self.names = [name for name, _ in columns]
        self.kinds = [without_none(annotation) for _, annotation in columns]
        self._given: list[Cell] = [cell_for(kind) for kind, _ in self.kinds]
        self.cells = [redis_cell(kind) for kind, _ in self.kinds]

    def encode(self, index: int, values: Collection[Any]) -> list[Text]:
        """A column's texts. Raises: Misuse: a value that does not fit."""
        given, encode = self._given[index], self.cells[index].encode
        refuse_other_types(self._title, self.names[index], self.kinds[index], given.accepts, values)
        try:
            if None in values:
                texts: list[Any] = [False if v is None else v if encode is None else encode(v) for v in values]
            else:
                texts = list(values if encode is None else map(encode, values))
            if encode is None:  # half of a surrogate pair is found here
                "".join(filter(None, texts)).encode()
        except (Misuse, ValueError, OverflowError) as error:
            raise Misuse(f"{self._title}, column {self.names[index]}: {error}") from error
        return texts

    def decode(self, rows: Sequence[Sequence[Text]]) -> list[Any]:
        """Instances from rows of texts. Raises: Misuse: rows that were not written through a store."""
        if not rows:
            return []
        try:
            return list(map(self._row, *map(self._decode, self.cells, zip(*rows, strict=True))))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Misuse(f"a row of {self._title} is not what headwater wrote: {error}") from error

    def _decode(self, cell: RedisCell, texts: Sequence[Any]) -> Iterable[Any]:
        decode = cell.decode
        if False in texts:
            return [None if text is False else text if decode is None else decode(text) for text in texts]
        return texts if decode is None else map(decode, texts)

    def rank(self, index: int) -> Callable[[Any], Any]:
        """What values of a column are sorted by: None and what is not a number come first."""
        kind, _ = self.kinds[index]
        cell = self._given[index]
        if kind is Decimal:
            return lambda value: (0, 0) if value is None or value.is_nan() else (1, value)
        if kind is float:
            return lambda value: (0, 0) if value is None or value != value else (1, value)
        if isinstance(kind, type) and issubclass(kind, Enum) and cell.accepts:
            return lambda value: (0, 0) if value is None else (1, value.value)
        if kind is time or not cell.accepts:  # not all of them can be compared
            encode = cell.encode or str
            return lambda value: (0, "") if value is None else (1, encode(value))
        return lambda value: (0, 0) if value is None else (1, value)
