"""One table of a Redis store: the names of its keys, and its rows as texts.

    shop:account_v1:ann     a row: a hash with a field per column, and `_hw`, which commit wrote it last
    shop:account_v1         a sorted set: what the rows' names end with
    shop:account            where the rows are that the name shows: account_v1 (see `redis_switching`)

A row's name ends with the texts of its key columns, with a colon between them. Where more than one of them may have
any length, colons and per cent signs in them are escaped as in addresses (%3A, %25).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

import msgspec

from headwater.errors import Misuse
from headwater.stores.cells import refuse_bad_keys
from headwater.stores.port import Key, TableSchema, refuse_other_keys
from headwater.stores.redis_cells import FIXED, ORDERED, RedisColumns, Text

WRITTEN_BY = "_hw"
"""The field of a row that names the commit that wrote it last."""


class Entry(msgspec.Struct):
    """What the list of tables says of one: who fills it, and its shape."""

    runner: str
    shape: dict[str, str]


def version_name(name: str, version: int) -> str:
    return f"{name}_v{version}"


class RedisTable:
    """How one table is kept. Raises: Misuse: its key or a column's name cannot be."""

    def __init__(self, schema: TableSchema[Any]) -> None:
        self.schema = schema
        self.columns = RedisColumns(schema.title, schema.row, schema.columns)
        self.name = version_name(schema.name, schema.version)
        names = self.columns.names
        refuse_bad_keys(schema.title, schema.columns, schema.key)
        if WRITTEN_BY in names:
            raise Misuse(f"{schema.title}: no column can be called {WRITTEN_BY}, every row in Redis has one already")
        self._key = [names.index(name) for name in schema.key]
        kinds = [self.columns.kinds[index][0] for index in self._key]
        self._escaped = sum(kind not in FIXED for kind in kinds) > 1
        self.sorted_by_key = (
            not self._escaped
            and all(kind in FIXED for kind in kinds[:-1])
            and all(kind in ORDERED or _is_text(kind) for kind in kinds)
        )
        """Whether the sorted set has the rows in the order of their keys."""

    def endings(self, keys: Collection[Key]) -> list[str]:
        """What the names of the rows with these keys end with. Raises: Misuse: one is no key of this table."""
        refuse_other_keys(self.schema, keys)
        if not keys:
            return []
        return self._joined(map(self.columns.encode, self._key, zip(*keys, strict=True)))

    def texts(self, rows: Collection[Any]) -> tuple[list[str], list[tuple[Text, ...]]]:
        """What the names of rows end with, and the texts of their columns. Raises: Misuse: a value of the wrong
        type."""
        if not rows:
            return [], []
        columns = [
            self.columns.encode(index, list(map(attrgetter(name), rows)))
            for index, name in enumerate(self.columns.names)
        ]
        return self._joined([columns[index] for index in self._key]), list(zip(*columns, strict=True))

    def wanted(self, where: Mapping[str, object]) -> dict[str, object]:
        """The values that columns must have, as they come back from the store. Raises: Misuse."""
        found = {}
        for name, value in where.items():
            index = self._index(name)
            [text] = self.columns.encode(index, [value])
            decode = self.columns.cells[index].decode
            found[name] = None if text is False else text if decode is None else decode(text)
        return found

    def sort(self, rows: list[Any], order: Sequence[str]) -> None:
        """In place: by these columns ("-total": descending), then by the key."""
        terms = [(name.removeprefix("-"), name.startswith("-")) for name in order]
        for name, down in reversed([*terms, *((name, False) for name in self.schema.key)]):
            rank, value = self.columns.rank(self._index(name)), attrgetter(name)
            rows.sort(key=lambda row: rank(value(row)), reverse=down)

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Raises: Misuse: the table has no such column."""
        for name in names:
            self._index(name)

    def _joined(self, columns: Iterable[list[Text]]) -> list[str]:
        parts: list[Any] = list(columns)
        if len(parts) == 1:
            return list(parts[0])
        if self._escaped:
            parts = [[text.replace("%", "%25").replace(":", "%3A") for text in texts] for texts in parts]
        return list(map(":".join, zip(*parts, strict=True)))

    def _index(self, name: str) -> int:
        if name not in self.columns.names:
            raise Misuse(f"{self.schema.title} has no column {name!r}: it has {', '.join(self.columns.names)}")
        return self.columns.names.index(name)


def _is_text(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum) and all(isinstance(one.value, str) for one in kind)
