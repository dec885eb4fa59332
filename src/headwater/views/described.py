"""Records that others write, as a statement describes them: JSON objects whose fields have the types of SQL.

Each is read by a decoder made of the declared types and written anew in the usual form, which DuckDB then reads
exactly. A field may be missing or null. In a table the key of a record says whose row it is: a later record of the same
key takes the place of an earlier one, and a tombstone removes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

import duckdb
import msgspec
import pyarrow as pa

from headwater.errors import BadData
from headwater.failures.parking import Place, Trouble, place_of, trouble_of
from headwater.log.port import Record
from headwater.messages.codec import Codec
from headwater.messages.envelope import Meta
from headwater.messages.unreadable import Unreadable
from headwater.projections.gathering import bad_data
from headwater.schemas.topics import Codecs
from headwater.views.decoding import Decode
from headwater.views.fitting import unfit
from headwater.views.kept import GONE, ROW_KEY, VERSION, span_of
from headwater.views.metadata import ENVELOPE, PLACES, TIME, Envelopes
from headwater.views.plan import Relation
from headwater.views.row_keys import as_column, said_by
from headwater.views.topics import events_of
from headwater.views.types import JSON, PLACE, WHOLE, ListOf, MapOf, Member, SqlType, StructOf, literal, quoted

DESCRIBED = "hw_described"
"""What the records of a batch are registered as."""

PYTHON: Final[Mapping[str, Any]] = {
    "VARCHAR": str,
    "BOOLEAN": bool,
    "DOUBLE": float,
    "FLOAT": float,
    "REAL": float,
    "DATE": date,
    "TIME": time,
    "TIMESTAMPTZ": datetime,
    "UUID": UUID,
}
"""What values of a type are read as."""


class Described(NamedTuple):
    """A record that can be read. Arguments: place: in its batch; record; text: in the usual form, None: a tombstone;
    meta: its envelope."""

    place: int
    record: Record
    text: str | None
    meta: Meta


class Records:
    """Fills the table of one relation of records that others write, which is named by its alias.

    Arguments: relation; codecs.
    """

    def __init__(self, relation: Relation, codecs: Codecs) -> None:
        [self._type] = relation.types
        self._relation = relation
        self._codec: Codec[Any] = codecs.of(relation.name, events_of(relation))
        self._envelopes = Envelopes(self._codec)
        members = tuple(Member(field.wire, field.wire, field.type) for field in self._type.fields)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(python_of(StructOf(members)))
        self._keys = {
            f.wire: (f"f{i}", python_of(f.type)) for i, f in enumerate(self._type.fields) if f.wire in relation.key
        }
        self._found: Mapping[Place, Described] = {}
        self._records: Sequence[Record] = ()

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._fill(connection, [])

    def prepare(self, records: Sequence[Record]) -> Decode:
        """See `Input`."""
        found: dict[Place, Described] = {}
        troubles: dict[Place, Trouble] = {}
        for i, record in enumerate(records):
            if record.topic != self._relation.name or (record.value is None and not self._relation.key):
                continue
            try:
                found[place_of(record)] = self._read(i, record)
            except BadData as error:
                troubles[place_of(record)] = trouble_of(error)
        return partial(self._decode, records, found, troubles)

    def _decode(
        self,
        records: Sequence[Record],
        found: Mapping[Place, Described],
        troubles: dict[Place, Trouble],
        connection: duckdb.DuckDBPyConnection,
    ) -> dict[Place, Trouble]:
        self._records, self._found = records, found
        return troubles

    def choose(self, connection: duckdb.DuckDBPyConnection, chosen: Sequence[int] | None) -> None:
        records = self._records if chosen is None else [self._records[i] for i in chosen]
        rows = [found for one in records if (found := self._found.get(place_of(one))) is not None]
        if self._relation.key and not self._relation.history:
            rows = list({one.record.key: one for one in rows}.values())
        self._fill(connection, rows)

    def _read(self, place: int, record: Record) -> Described:
        """Raises: BadData: it is not as described."""
        if self._relation.key and record.key is None:
            raise bad(record, "it has no key, which tells whose row it is")
        meta = self._envelopes.of(record)
        if isinstance(meta, Unreadable):
            raise bad_data(meta, record)
        [content] = self._codec.contents([record])
        value = self._codec.as_json(content)
        if isinstance(value, Unreadable):
            raise bad_data(value, record)
        if value is None:
            return Described(place, record, None, meta)
        try:
            found = self._decoder.decode(value)
            self._compare(found, record)
            text = msgspec.json.encode(found).decode()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise bad(record, str(error)) from error
        for i, field in enumerate(self._type.fields):
            plain = msgspec.to_builtins(getattr(found, f"f{i}"), builtin_types=(Decimal, msgspec.Raw))
            for why in unfit(plain, field.type):
                raise bad(record, f"{field.wire}: {why}")
        return Described(place, record, text, meta)

    def _compare(self, found: Any, record: Record) -> None:
        """Fills in what the key of a record says of the row and its value does not. Raises: BadData: they do not agree,
        or there is no object."""
        if found is None:
            raise bad(record, "it is null, and an object is expected")
        assert record.key is not None or not self._keys, "looked at before"
        for wire, said in said_by(record.key or b"", list(self._keys)).items():
            name, kind = self._keys[wire]
            value, of_key = getattr(found, name), as_column(said, kind)
            if of_key is None:
                continue
            if value is not None and value != of_key:
                raise bad(record, f"{wire} is {value}, and the record's key says {of_key}: a PRIMARY KEY says the same")
            setattr(found, name, of_key)
        missing = [wire for wire, (name, _) in self._keys.items() if getattr(found, name) is None]
        if missing:
            raise bad(record, f"it has no {missing[0]}, which tells whose row it is, and its key does not say it")

    def _fill(self, connection: duckdb.DuckDBPyConnection, rows: Sequence[Described]) -> None:
        relation = self._relation
        columns = {
            "i": pa.array([one.place for one in rows], pa.int32()),
            "v": pa.array([one.text or "{}" for one in rows], pa.string()),
            "rk": pa.array([one.record.key for one in rows], pa.binary()),
            "gone": pa.array([one.text is None for one in rows], pa.bool_()),
            "since": pa.array([one.meta.time for one in rows], TIME),
        }
        for name in dict.fromkeys([*(one.name for one in relation.columns), "_partition", "_offset"]):
            if name in PLACES:
                kind, get = PLACES[name]
                columns[name] = pa.array([get(one.record) for one in rows], kind)
            elif name in ENVELOPE:
                kind, of = ENVELOPE[name]
                columns[name] = pa.array([of(one.meta) for one in rows], kind)
            elif name == "_type":
                columns[name] = pa.array([""] * len(rows), pa.string())
        fields = {field.column: f"x.{quoted(field.wire)}" for field in self._type.fields}
        listed = [f"i AS {PLACE}"] + [
            f"{fields.get(one.name, quoted(one.name))} AS {quoted(one.name)}" for one in relation.columns
        ]
        if relation.key:
            listed += [f"rk AS {quoted(ROW_KEY)}", f"gone AS {quoted(GONE)}"]
        if relation.history:
            listed.append(f"{VERSION} AS {quoted(span_of(relation))}")
        structure = msgspec.json.encode({one.wire: one.type.structure for one in self._type.fields}).decode()
        value = f"from_json(v, {literal(structure)})" if self._type.fields else "NULL"
        connection.register(DESCRIBED, pa.table(columns))
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {quoted(relation.alias)} AS SELECT {', '.join(listed)}"
                f" FROM (SELECT *, {value} AS x FROM {DESCRIBED})"
            )
        finally:
            connection.unregister(DESCRIBED)


def bad(record: Record, why: str) -> BadData:
    return BadData(why, topic=record.topic, partition=record.partition, offset=record.offset)


def python_of(kind: SqlType) -> Any:
    """What values of a type are read as; null is one of them."""
    if isinstance(kind, ListOf):
        return list[python_of(kind.of)] | None  # type: ignore[misc] # made of a description
    if isinstance(kind, MapOf):
        return dict[str, python_of(kind.of)] | None  # type: ignore[misc] # as above
    if isinstance(kind, StructOf):
        members = [(f"f{i}", python_of(one.type), nothing_of(one.type)) for i, one in enumerate(kind.members)]
        names = {f"f{i}": one.wire for i, one in enumerate(kind.members)}
        return msgspec.defstruct("Described", members, rename=names) | None
    if kind.name in WHOLE:
        end = 1 << (WHOLE[kind.name] - 1)
        return Annotated[int, msgspec.Meta(ge=-end, le=end - 1)] | None
    if kind == JSON:
        return msgspec.Raw
    return (Decimal if kind.name.startswith("DECIMAL") else PYTHON[kind.name]) | None


def nothing_of(kind: SqlType) -> Any:
    """What stands for a field that a record does not have."""
    return msgspec.Raw(b"null") if kind == JSON else None
