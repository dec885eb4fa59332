"""Between Python values and the columns of a PostgreSQL table, a column at a time.

A whole column goes to the server as one array literal, `{"9.90","10.00"}`, which its statement unnests: so a batch
is one statement, and the loop over its values runs in C. What comes back is what psycopg makes of each type.

| type                      | column                                                                      |
|---------------------------|-----------------------------------------------------------------------------|
| str                       | text, sorted by code points (COLLATE "C"), as Python and SQLite sort         |
| int                       | numeric, which has no largest one; in a key: bigint                          |
| float, bool, bytes        | double precision, boolean, bytea                                            |
| Decimal                   | numeric, exact                                                              |
| date, time, timedelta     | date, time (without a zone), interval                                       |
| datetime                  | timestamptz                                                                 |
| UUID                      | uuid                                                                        |
| an Enum, a Literal        | its value; whole numbers as bigint                                          |
| anything else             | jsonb                                                                       |

PostgreSQL keeps no NUL in texts, but an event may bring one, and must not stop a read model for it: NUL is written as
the control character SUB and a 0, SUB itself as SUB and a 1, in jsonb as well.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args, get_origin
from uuid import UUID

import msgspec

from headwater.errors import Misuse
from headwater.stores.cells import as_json, cell_for, one_of, refuse_other_types, utc_text
from headwater.stores.integers import all_fit
from headwater.stores.shapes import without_none

NUL, SUB = "\0", "\x1a"
_WITHOUT_NUL = str.maketrans({NUL: SUB + "0", SUB: SUB + "1"})
_JSON_ESCAPE = re.compile(r"\\(u0000|u001a|u001A|.)")
_JSON_WITHOUT_NUL = {"u0000": "\\u001a0", "u001a": "\\u001a1", "u001A": "\\u001a1"}
_JSON_ESCAPED = re.compile(r"\\(u001a0|u001a1|.)")
_JSON_WITH_NUL = {"u001a0": "\\u0000", "u001a1": "\\u001a"}
LONGEST_NUMBER = 16_000
"""Digits on each side of the point that a numeric surely has room for."""

Texts = Callable[[list[Any]], list[str]]
"""From values of one type, none of them None, to texts that the server reads as such values."""


class PostgresCell(NamedTuple):
    """How values of one type are kept.

    Arguments: sql: the column's type; texts; decode: for one value of psycopg's that is not None (None: it is right
    already).
    """

    sql: str
    texts: Texts
    decode: Callable[[Any], Any] | None = None


def without_nul(text: str) -> str:
    return text.translate(_WITHOUT_NUL) if NUL in text or SUB in text else text


def with_nul(text: str) -> str:
    return text if SUB not in text else text.replace(SUB + "0", NUL).replace(SUB + "1", SUB)


def _strings(values: list[Any]) -> list[str]:
    joined = "".join(values)
    joined.encode()  # half of a surrogate pair is found here
    return list(map(without_nul, values)) if NUL in joined or SUB in joined else values


def _integers(values: list[Any]) -> list[str]:
    return list(map(int.__repr__, values))


def _small_integers(values: list[Any]) -> list[str]:
    if not all_fit(values):
        raise Misuse(f"{max(values, key=abs)} does not fit in 64 bits: use a str")
    return list(map(int.__repr__, values))


def _floats(values: list[Any]) -> list[str]:
    return [repr(float(value)) for value in values]


def _decimals(values: list[Any]) -> list[str]:
    texts = list(map(str, values))
    joined = "".join(texts)
    if "E" in joined or "N" in joined or len(joined) > LONGEST_NUMBER:
        for value in values:
            exponent = value.as_tuple().exponent
            if isinstance(exponent, int) and (exponent < -LONGEST_NUMBER or value.adjusted() > LONGEST_NUMBER):
                raise Misuse(f"{value!r} has more digits than PostgreSQL keeps")
            if value.is_nan() and str(value) != "NaN":
                raise Misuse(f"{value!r} is a NaN that PostgreSQL has not: it keeps Decimal('NaN')")
    return texts


def _times(values: list[Any]) -> list[str]:
    for value in values:
        if value.tzinfo is not None:
            raise Misuse(f"{value!r} has a time zone, and a time of day in PostgreSQL has none: use a datetime")
    return [value.isoformat() for value in values]


def _spans(values: list[Any]) -> list[str]:
    return [f"{v.days} days {v.seconds} seconds {v.microseconds} microseconds" for v in values]


def _bytes(values: list[Any]) -> list[str]:
    return ["\\x" + value.hex() for value in values]


_TEXT = PostgresCell('text COLLATE "C"', _strings, with_nul)
_BIGINT = PostgresCell("bigint", _small_integers)
_CELLS: dict[Any, PostgresCell] = {
    str: _TEXT,
    int: PostgresCell("numeric", _integers, int),
    bool: PostgresCell("boolean", lambda values: list(map(str, values))),
    float: PostgresCell("double precision", _floats),
    bytes: PostgresCell("bytea", _bytes),
    Decimal: PostgresCell("numeric", _decimals),
    date: PostgresCell("date", lambda values: list(map(date.isoformat, values))),
    datetime: PostgresCell("timestamptz", lambda values: list(map(utc_text, values))),
    time: PostgresCell("time", _times),
    timedelta: PostgresCell("interval", _spans),
    UUID: PostgresCell("uuid", lambda values: list(map(str, values))),
}


def postgres_cell(kind: Any, *, key: bool) -> PostgresCell:
    """How values of a type (without None) are kept. Arguments: key: in a column of the key."""
    if kind is int and key:
        return _BIGINT
    found = _CELLS.get(kind)
    if found is not None:
        return found
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and cell_for(kind).accepts:
        base = _TEXT if isinstance(next(iter(kind)).value, str) else _BIGINT
        return PostgresCell(base.sql, lambda values: base.texts([one.value for one in values]), _member(kind, base))
    if get_origin(kind) is Literal and cell_for(kind).accepts:
        base = _TEXT if isinstance(get_args(kind)[0], str) else _BIGINT
        check = one_of(kind)
        return PostgresCell(base.sql, lambda values: base.texts(list(map(check, values))), base.decode)
    write = as_json(kind)
    read = msgspec.json.Decoder(kind, strict=False).decode
    return PostgresCell(
        "jsonb", lambda values: [without_json_nul(write(v)) for v in values], lambda text: read(with_json_nul(text))
    )


def _member(kind: Any, base: PostgresCell) -> Callable[[Any], Any]:
    decode = base.decode
    return kind if decode is None else lambda value: kind(decode(value))


def without_json_nul(text: str) -> str:
    if "\\u00" not in text:
        return text
    return _JSON_ESCAPE.sub(lambda found: _JSON_WITHOUT_NUL.get(found[1], found[0]), text)


def with_json_nul(text: str) -> str:
    if "\\u001a" not in text:
        return text
    return _JSON_ESCAPED.sub(lambda found: _JSON_WITH_NUL.get(found[1], found[0]), text)


def array(texts: Iterable[str | None]) -> str:
    """An array literal. A NUL, which no text has here, stands between them while signs are escaped."""
    texts = list(texts)
    if None in texts:
        return "{" + ",".join("NULL" if text is None else f'"{_escaped(text)}"' for text in texts) + "}"
    return '{"' + _escaped(NUL.join(texts)).replace(NUL, '","') + '"}' if texts else "{}"  # type: ignore[arg-type] # no None


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class PostgresColumns:
    """The translation of one table's rows.

    Arguments: title: of the table; row: the class; columns: name and annotation of each, in the order of its fields;
    key: names of those that make the key.
    """

    def __init__(self, title: str, row: type[Any], columns: Sequence[tuple[str, Any]], key: Collection[str]) -> None:
        self._title, self._row = title, row
        self.names = [name for name, _ in columns]
        self._kinds = [without_none(annotation) for _, annotation in columns]
        self._accepts = [cell_for(kind).accepts for kind, _ in self._kinds]
        self.cells = [
            postgres_cell(kind, key=name in key) for (kind, _), name in zip(self._kinds, self.names, strict=True)
        ]

    def optional(self, index: int) -> bool:
        """Whether it may be None."""
        return self._kinds[index][1]

    def encode(self, index: int, values: Collection[Any]) -> str:
        """The array literal of a column's values. Raises: Misuse: one that does not fit."""
        refuse_other_types(self._title, self.names[index], self._kinds[index], self._accepts[index], values)
        texts = self.cells[index].texts
        try:
            if None in values:
                present = iter(texts([value for value in values if value is not None]))
                return array(None if value is None else next(present) for value in values)
            return array(texts(list(values)))
        except (Misuse, ValueError, OverflowError) as error:
            raise Misuse(f"{self._title}, column {self.names[index]}: {error}") from error

    def decode(self, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Instances from rows of psycopg's values. Raises: Misuse: rows that were not written through a store."""
        if not rows:
            return []
        try:
            return list(map(self._row, *map(self._decode, range(len(self.cells)), zip(*rows, strict=True))))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Misuse(f"a row of {self._title} is not what headwater wrote: {error}") from error

    def _decode(self, index: int, values: Sequence[Any]) -> Iterable[Any]:
        decode = self.cells[index].decode
        if decode is None:
            return values
        if self.optional(index):
            return [None if value is None else decode(value) for value in values]
        return map(decode, values)


def argument(value: Any) -> Any:
    """A value given with a query, as psycopg takes it."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return without_nul(value)
    if isinstance(value, datetime):
        utc_text(value)  # refuses one without a zone
        return value
    if value is None or isinstance(value, (int, float, bytes, date, time, timedelta, Decimal, UUID, list, tuple)):
        return list(value) if isinstance(value, tuple) else value
    return without_json_nul(msgspec.json.encode(value).decode())
