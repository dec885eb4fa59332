"""Applying a batch in which something fails: slower than `fold`, and a record that fails takes nothing with it.

Record by record, in order: what a handler has changed before it failed is undone, its record is set aside, and so are
the later records of its key. The rest of the batch is as if they had never been there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from headwater.errors import Failed, Misuse, Unavailable
from headwater.failures.parking import Parking, Place, Trouble, place_of, trouble_of
from headwater.log.port import Record
from headwater.projections.folding import Call, Rows, Stopped, TableRows, failure, settled
from headwater.projections.gathering import Gathered
from headwater.stores.port import Loading, TableSchema


def fold_carefully(
    loading: Loading,
    schemas: Sequence[TableSchema[Any]],
    records: Sequence[Record],
    gathered: Gathered,
    parking: Parking,
    *,
    saving: bool = False,
) -> None:
    """Applies what can be applied of a batch, and tells the rest to `parking`.

    Arguments: records: of the batch; gathered: what they mean; saving: rows are saved after each record, which finds
    the one that left a row that the store refuses.
    Raises: Stopped: at that record; nothing must be committed then. What the store raises passes through.
    """
    calls = by_record(gathered.calls)
    tables = {schema: TableRows(schema) for schema in schemas}
    if not saving:
        _load(loading, tables, gathered.calls)
    rows = Rows(loading, tables)
    for record in records:
        if parking.parks(record):
            continue
        place = place_of(record)
        trouble = gathered.troubles.get(place)
        mine = calls.get(place, ()) if trouble is None else ()
        with told(mine):
            if saving:
                _load(loading, tables, mine)
            trouble = trouble or _trouble_with(mine, tables, rows)
            if trouble is not None:
                parking.fail(record, trouble)
            elif saving:
                _save(loading, tables)
    _save(loading, tables)


def by_record(calls: Sequence[Call]) -> Mapping[Place, list[Call]]:
    found: dict[Place, list[Call]] = {}
    for call in calls:
        found.setdefault(place_of(call[0]), []).append(call)
    return found


def _trouble_with(calls: Sequence[Call], tables: Mapping[TableSchema[Any], TableRows], rows: Rows) -> Trouble | None:
    """Carries out the calls of one record, all or none. Returns why none."""
    for table in tables.values():
        table.begin()
    for call in calls:
        try:
            _carry_out(call, tables, rows)
        except Failed as failed:
            if any(handler.sinks for _, _, _, handler, _ in calls):  # only the store can undo what they have written
                raise Stopped(call[0], failed) from failed
            for table in tables.values():
                table.undo()
            return trouble_of(failed)
    return None


def _carry_out(call: Call, tables: Mapping[TableSchema[Any], TableRows], rows: Rows) -> None:
    """As the loop of `fold`. Raises: Failed."""
    _, event, meta, handler, key = call
    table = tables[handler.table]
    table.touch(key)
    try:
        row = table.rows[key]
        if row is None:
            row = table.rows[key] = handler.make(*key)
        result = handler.call(row, event, meta, rows)
        if result is not None:
            table.rows[key] = settled(result, handler)
    except Unavailable:
        raise
    except Exception as error:  # the author's function may raise anything
        raise failure(call, error) from error
    table.written[key] = None


def _load(loading: Loading, tables: Mapping[TableSchema[Any], TableRows], calls: Sequence[Call]) -> None:
    """The rows that calls name, as far as they are not there."""
    for schema, table in tables.items():
        keys = dict.fromkeys(
            key for _, _, _, handler, key in calls if handler.table is schema and key not in table.rows
        )
        if keys:
            table.load(loading, list(keys))


def _save(loading: Loading, tables: Mapping[TableSchema[Any], TableRows]) -> None:
    for table in tables.values():
        table.save(loading)


@contextmanager
def told(calls: Sequence[Call]) -> Iterator[None]:
    """Around the calls of a record. Raises: Stopped: the store refuses a row or a key of theirs."""
    try:
        yield
    except Misuse as error:
        if not calls:
            raise
        raise Stopped(calls[-1][0], failure(calls[-1], error)) from error
