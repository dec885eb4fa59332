"""Applying a batch to rows in memory: load what it touches, call the reactions in order, write each row once.

Pure but for the rows it loads: no log, no store's own names. What a reaction looks up or changes through
`Rows` is the same object that other reactions of the batch see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from headwater.errors import Failed, HeadwaterError, Misuse, Unavailable
from headwater.log.port import Record
from headwater.messages.declare import Event
from headwater.messages.envelope import Meta
from headwater.projections.declare import DELETED, Projection, row_key, table_of
from headwater.projections.sink import Sink
from headwater.stores.port import Key, Loading, TableSchema, key_of_row

P = TypeVar("P", bound=Projection)


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A reaction, ready to be called.

    Arguments: name: for errors; table: whose row it changes; make: a row from its key; call: the function with
    (row, event, meta, rows), whatever its author left out; returns None, DELETED, or the row in place of
    the old one where `replaces`; short: the author's own, if it wants (row, event) and nothing more; sinks: whether it
    writes with the store's own cursor, too.
    """

    name: str
    table: TableSchema[Any]
    make: Callable[..., Any]
    call: Callable[[Any, Any, Meta | None, Rows], object]
    replaces: bool = False
    short: Callable[[Any, Any], object] | None = None
    sinks: bool = False


Call = tuple[Record, Event, Meta | None, Handler, Key]
"""One handler for one event and one row; the meta is None where nobody wants it. A plain tuple: there is one
for every event of a batch."""

_key = itemgetter(4)


class Stopped(HeadwaterError):
    """A record's events cannot be applied; those before it can. Becomes `cause` above."""

    def __init__(self, record: Record, cause: Failed) -> None:
        super().__init__(str(cause))
        self.record, self.cause = record, cause


class TableRows:
    """The rows of one table that a batch touches. `rows`: as they are now, None where there is none; `written`:
    the keys whose rows are to be saved, or deleted."""

    def __init__(self, schema: TableSchema[Any]) -> None:
        self.schema = schema
        self.rows: dict[Key, Any] = {}
        self.written: dict[Key, None] = {}
        self._looked_up: dict[Key, bytes] = {}
        self._before: dict[Key, tuple[Any, bool]] | None = None

    def load(self, loading: Loading, keys: Sequence[Key]) -> None:
        self.rows.update(dict.fromkeys(keys))
        self.rows.update(loading.load(self.schema, keys))

    def look_up(self, key: Key) -> Any | None:
        """A row that is known already; if it is changed, it is saved."""
        row = self.rows[key]
        if row is not None and key not in self.written and key not in self._looked_up:
            self._looked_up[key] = msgspec.json.encode(row)
        return row

    def begin(self) -> None:
        """From here on, what is touched can be undone."""
        self._before = {}

    def touch(self, key: Key) -> None:
        """A row that is there is going to be looked at or changed."""
        if self._before is not None and key not in self._before:
            self._before[key] = deepcopy(self.rows[key]), key in self.written

    def undo(self) -> None:
        """Puts the rows back that were touched since `begin`."""
        for key, (row, written) in (self._before or {}).items():
            self.rows[key] = row
            if not written:
                self.written.pop(key, None)

    def save(self, loading: Loading) -> None:
        """One write per changed row."""
        for key, before in self._looked_up.items():
            if key not in self.written and msgspec.json.encode(self.rows[key]) != before:
                self.written[key] = None
        saved = {key: self.rows[key] for key in self.written}
        gone = [key for key, row in saved.items() if row is None]
        for key in gone:
            del saved[key]
        refuse_moved(self.schema, saved)
        loading.delete(self.schema, gone)
        loading.save(self.schema, saved.values())
        self.written.clear()
        self._looked_up.clear()


def refuse_moved(schema: TableSchema[Any], saved: Mapping[Key, Any]) -> None:
    """Raises: Misuse: a row's key columns are not those that it was found under."""
    found = key_of_row(schema, saved.values())
    if found == list(saved):  # nearly always, without a step for each
        return
    for key, now in zip(saved, found, strict=True):
        if now != key:
            raise Misuse(
                f"the row {key} of {schema.title} was given the key {now}: a row keeps its key; delete it and put "
                "another one"
            )


class Rows:
    """Other rows of the same projection, or of the projections in its group, as they are at this event.

    What is looked up may be changed: it is saved with the batch. Looking up many rows costs one statement
    each; rows that events name belong into `key=` or `keys=`, which are loaded together.
    """

    def __init__(self, loading: Loading, tables: dict[TableSchema[Any], TableRows]) -> None:
        self._loading, self._tables = loading, tables
        self._sink: Sink[Any] = Sink(loading)

    def get(self, projection: type[P], *key: object) -> P | None:
        """The row with that key, or None."""
        table, found = self._find(projection, key)
        row: P | None = table.look_up(found)
        return row

    def put(self, row: Projection) -> None:
        """Adds a row, or replaces the one with its key."""
        projection = type(row)
        key = tuple(getattr(row, name) for name in projection.__hw__.key_fields)
        table, found = self._find(projection, key)
        table.rows[found] = row
        table.written[found] = None

    def delete(self, projection: type[Projection], *key: object) -> None:
        """Removes the row with that key, if there is one."""
        table, found = self._find(projection, key)
        table.rows[found] = None
        table.written[found] = None

    def _find(self, projection: type[Projection], key: Key) -> tuple[TableRows, Key]:
        table = self._tables.get(table_of(projection))
        if table is None:
            raise Misuse(
                f"{projection.__name__} is not maintained together with this projection: declare both with the same "
                'group="…"'
            )
        found = row_key(projection, key)
        if found not in table.rows:
            table.load(self._loading, [found])
        table.touch(found)
        return table, found


def fold(loading: Loading, schemas: Sequence[TableSchema[Any]], calls: Sequence[Call]) -> None:
    """Applies calls in order and saves the rows.

    Raises: Stopped: a handler failed, with its record; nothing must be committed then. Whatever the store
    raises passes through, also to where a handler looks up rows.
    """
    tables = {schema: TableRows(schema) for schema in schemas}
    for schema, table in tables.items():
        of_table = calls if len(tables) == 1 else [call for call in calls if call[3].table is schema]
        keys = dict.fromkeys(map(_key, of_table))
        table.load(loading, list(keys))
        table.written.update(keys)  # or nothing is
    call_each(loading, tables, calls)
    for table in tables.values():
        table.save(loading)


def call_each(loading: Loading, tables: dict[TableSchema[Any], TableRows], calls: Iterable[Call]) -> None:
    """Carries out calls whose rows are loaded, in order. Raises: as `fold`."""
    rows = Rows(loading, tables)
    now_of = {schema: table.rows for schema, table in tables.items()}
    for call in calls:
        record, event, meta, handler, key = call
        now = now_of[handler.table]
        try:
            row = now[key]
            if row is None:
                row = now[key] = handler.make(*key)
            short = handler.short
            result = handler.call(row, event, meta, rows) if short is None else short(row, event)
            if result is not None:
                now[key] = settled(result, handler)
        except Unavailable:
            raise
        except Exception as error:  # the author's function may raise anything
            raise Stopped(record, failure(call, error)) from error


def settled(result: object, handler: Handler) -> object | None:
    """The row that a handler's answer leaves. Raises: Misuse."""
    if handler.replaces:
        return result
    if result is DELETED:
        return None
    raise Misuse(f"it returned {result!r}: change the row and return nothing, or return hw.DELETED")


def failure(call: Call, error: Exception, part: str = "") -> Failed:
    """What went wrong where, and what to do next."""
    record, event, meta, handler, _ = call
    words = str(error) if isinstance(error, HeadwaterError) else f"{type(error).__name__}: {error}"
    place = f"topic {record.topic}, partition {record.partition}, offset {record.offset}"
    failed = Failed(
        part + handler.name,
        f"{type(event).__name__} {event_id(record, meta)} ({place})",
        f"{words}; correct it and start again, it goes on with this event",
    )
    failed.__cause__ = error
    return failed


def event_id(record: Record, meta: Meta | None) -> str:
    said = None if meta is not None else dict(record.headers).get("ce_id")
    if said is not None:
        return said.decode(errors="replace")
    return meta.id if meta is not None else f"{record.topic}-{record.partition}-{record.offset}"
