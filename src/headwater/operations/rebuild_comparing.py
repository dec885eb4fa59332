"""Compares the rows that a name shows with those beside them: counts, fingerprints, examples of what differs.

Rows are compared as the store keeps them, in the columns that both have, so that rows of an older version can be read,
too, whose class is not there any more. Rows and positions move together, so what is compared is of one moment where the
positions are the same before and after; that both stand at the same positions is said, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from headwater.log.port import Positions
from headwater.projections.read_model import ReadModel
from headwater.stores.port import Answer, TableSchema
from headwater.stores.switching import Shown, SwitchingStore, beside, beside_runner

EXAMPLES = 10
ATTEMPTS = 3
"""So often rows are read again that moved meanwhile."""

Cells = Mapping[str, Any]

encode = msgspec.json.Encoder(enc_hook=str).encode


class Side(NamedTuple):
    """Arguments: version: of a view, its fingerprint; rows: how many; hash: of all of them, in whatever order."""

    version: int | str
    rows: int
    hash: str


class Example(NamedTuple):
    """A row that differs. Arguments: key; old, new: the columns that differ, and None where there is no such row."""

    key: dict[str, Any]
    old: dict[str, Any] | None
    new: dict[str, Any] | None


class Comparison(NamedTuple):
    """A table as it is shown, and what is beside it.

    Arguments: old: None: the name shows nothing; only_old, only_new, changed: how many rows; columns_gone, columns_new:
    which only one side has; same_place: whether both sides were read at the same positions, and these did not move.
    """

    table: str
    old: Side | None
    new: Side
    only_old: int
    only_new: int
    changed: int
    columns_gone: list[str]
    columns_new: list[str]
    examples: list[Example]
    same_place: bool

    @property
    def equal(self) -> bool:
        return not (self.only_old or self.only_new or self.changed or self.columns_gone or self.columns_new)


def compare(model: ReadModel, store: SwitchingStore) -> list[Comparison]:
    """Compares all tables of a read model. Holds a fingerprint of each row in memory, some 200 bytes.

    Raises: Unavailable.
    """
    return [compare_table(model, table, store) for table in model.tables]


def compare_table(model: ReadModel, table: TableSchema[Any], store: SwitchingStore) -> Comparison:
    shown = store.shown(table.name)
    found = _read(table, shown, store, same_place=False)
    for _ in range(ATTEMPTS):
        before = _places(model, shown, store)
        found = _read(table, shown, store, same_place=before[0] == before[1])
        if before == _places(model, shown, store):
            return found
    return found._replace(same_place=False)


def _places(model: ReadModel, shown: Shown | None, store: SwitchingStore) -> tuple[Positions, Positions]:
    old = {} if shown is None else store.positions(shown.runner)
    return old, store.positions(beside_runner(model.runner))


def _read(table: TableSchema[Any], shown: Shown | None, store: SwitchingStore, *, same_place: bool) -> Comparison:
    there = beside(table).name, table.version
    mine = store.scan(*there)
    columns = mine.columns
    if shown is None:
        made = fingerprints(mine, table.key, columns)
        side = Side(table.version, len(made), hash_of(made))
        return Comparison(table.name, None, side, 0, len(made), 0, [], [], [], same_place)
    here = table.name, shown.version
    theirs = store.scan(*here)
    known = theirs.columns
    comparable = set(table.key) <= set(known)  # another key names other rows: all of them differ
    common = [name for name in known if name in columns] if comparable else []
    old = fingerprints(theirs, table.key if comparable else known, common)
    new = fingerprints(mine, table.key if comparable else columns, common)
    if not comparable:
        return _counted(table, shown.version, old, new, known, columns, same_place=same_place)
    gone, more = old.keys() - new.keys(), new.keys() - old.keys()
    changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
    wanted = {key for keys in (changed, gone, more) for key in sorted(keys)[:EXAMPLES]}
    rows = [rows_of(store.scan(*place), table.key, wanted) for place in (here, there)]
    return Comparison(
        table.name,
        Side(shown.version, len(old), hash_of(old)),
        Side(table.version, len(new), hash_of(new)),
        len(gone),
        len(more),
        len(changed),
        [name for name in known if name not in columns],
        [name for name in columns if name not in known],
        [example_of(table.key, rows[0].get(key), rows[1].get(key), common) for key in sorted(wanted)[:EXAMPLES]],
        same_place,
    )


def _counted(
    table: TableSchema[Any],
    version: int,
    old: Mapping[bytes, bytes],
    new: Mapping[bytes, bytes],
    known: Collection[str],
    columns: Collection[str],
    *,
    same_place: bool,
) -> Comparison:
    """Where rows have no key in common: all of them differ."""
    return Comparison(
        table.name,
        Side(version, len(old), hash_of(old)),
        Side(table.version, len(new), hash_of(new)),
        len(old),
        len(new),
        0,
        [name for name in known if name not in columns],
        [name for name in columns if name not in known],
        [],
        same_place,
    )


def key_text(row: Cells, key: Iterable[str]) -> bytes:
    return encode([row.get(name) for name in key])


def fingerprints(answer: Answer, key: Collection[str], columns: Collection[str]) -> dict[bytes, bytes]:
    """Key -> fingerprint of the row in these columns."""
    return {
        key_text(row, key): hashlib.blake2b(encode([row[name] for name in columns]), digest_size=16).digest()
        for row in answer.dicts()
    }


def hash_of(rows: Mapping[bytes, bytes]) -> str:
    """A fingerprint of all rows, whatever their order."""
    total = 0
    for one in rows.values():
        total ^= int.from_bytes(one, "big")
    return f"{total:032x}"


def rows_of(answer: Answer, key: Collection[str], wanted: Collection[bytes]) -> dict[bytes, Cells]:
    """The rows with these keys."""
    if not wanted:
        return {}
    return {text: row for row in answer.dicts() if (text := key_text(row, key)) in wanted}


def example_of(key: Collection[str], old: Cells | None, new: Cells | None, columns: Collection[str]) -> Example:
    either = old or new or {}
    differing = [name for name in columns if name not in key and (old or {}).get(name) != (new or {}).get(name)]
    sides = [None if row is None else {name: row[name] for name in differing} for row in (old, new)]
    return Example({name: either.get(name) for name in key}, *sides)
