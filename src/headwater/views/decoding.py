"""From records to rows of DuckDB: the fields that a view uses, read straight from the JSON of a whole batch.

    batch ─► Arrow (text), looked through ─► one `from_json_strict` per event type ─► rows, some of them doubtful
    doubtful ─► their class, one by one ─► rows again, or a trouble for the failure policy

It is fast, reads decimals from their text without a float in between, and is lenient for all its name: a text becomes
a number, null becomes NULL, and digits are rounded away without a word. So a row counts only if its text shows that
nothing of this can have happened (see `doubts`); else its class decides (see `rewriting`). What that takes is written
anew in the usual form and read again. Nothing that a record holds fails its batch, and what becomes of a record is the
same in whichever batch it comes.

The texts of a batch are looked through as one; only where something is found, each is looked at by itself. That needs
no connection, so it is done while the batch before is worked on (see `Decode`).

A view looks at the fields that it uses, and at nothing else of a record.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import duckdb
import msgspec
import pyarrow as pa

from headwater.errors import BadData
from headwater.failures.parking import Place, Trouble, place_of, trouble_in, trouble_of
from headwater.log.port import Record
from headwater.messages.codec import Codec
from headwater.messages.unreadable import Unreadable
from headwater.projections.gathering import bad_data
from headwater.schemas.topics import Codecs
from headwater.views.doubts import found_in, incomplete, is_in_any, suspicious
from headwater.views.metadata import Metadata
from headwater.views.plan import EventType, Relation
from headwater.views.rewriting import Rewriting
from headwater.views.settling import settled_fields
from headwater.views.types import DOUBT, METADATA, PLACE, literal, quoted

BATCH = "hw_batch"
"""What the records of a batch are registered as: `i`, their place in it, `v`, their text, and metadata."""

AT_ONCE = 5_000
"""So many values Arrow takes in one call, which keeps Python's lock from the thread at work on the batch before."""

Decode = Callable[[duckdb.DuckDBPyConnection], dict[Place, Trouble]]
"""The rest of decoding a batch, once its turn has come. Returns why some records have no row."""


class Texts(NamedTuple):
    """What a batch says. Arguments: values: as text, null where there is none; broken: places of those that are none;
    suspicious: whether one of them may have to be read in another way (see `doubts`)."""

    values: pa.Array
    broken: Sequence[int]
    suspicious: bool


class Decoder:
    """Fills the table of one relation of events, which is named by its alias. Arguments: relation; codecs."""

    def __init__(self, relation: Relation, codecs: Codecs) -> None:
        self._relation = relation
        classes = [kind.cls for kind in relation.types if kind.cls is not None]
        self._codec: Codec[Any] = codecs.of(relation.name, classes)
        self._rewriting = Rewriting(relation.types, self._codec)
        self._metadata = Metadata([one.name for one in relation.columns], self._codec)
        self._table = quoted(relation.alias)
        self._pattern = suspicious(relation.types)
        self._trusted, self._tested, self._anew = self._rows(""), self._rows(self._pattern), self._rows(None)
        self._others = self._rows_of_others()

    def prepare(self, records: Sequence[Record]) -> Decode:
        """Makes the rows of a batch, each with the place of its record. This may be called while another batch is
        decoded.

        A tombstone has no row and is no trouble, nor is a record of a type that the view does not read.
        """
        texts, broken = texts_of(records)
        return partial(self._decode, records, Texts(texts, broken, is_in_any(self._pattern, texts)))

    def _decode(
        self, records: Sequence[Record], texts: Texts, connection: duckdb.DuckDBPyConnection
    ) -> dict[Place, Trouble]:
        troubles: dict[Place, Trouble] = {}
        doubtful = sorted({*self._read(connection, texts, records, troubles), *texts.broken})
        again = list(self._written_anew(doubtful, records, troubles))
        if again:
            anew = pa.array([text for _, text in again], pa.string())
            with self._given(connection, [i for i, _ in again], anew, records, troubles):
                connection.execute(f"INSERT INTO {self._table} {self._anew}")
        return troubles

    def _read(
        self,
        connection: duckdb.DuckDBPyConnection,
        texts: Texts,
        records: Sequence[Record],
        troubles: dict[Place, Trouble],
    ) -> list[int]:
        """Makes the rows of the records that are read exactly. Returns the places of the doubtful ones."""
        begin, values = f"CREATE OR REPLACE TEMP TABLE {self._table} AS ", texts.values
        with self._given(connection, range(len(records)), values, records, troubles):
            try:
                rows = self._tested if texts.suspicious else self._trusted
                [(made,)] = connection.execute(begin + rows).fetchall()
            except (duckdb.ProgrammingError, duckdb.DataError):  # one is no JSON, lacks a field, or has one twice
                [(made,)] = connection.execute(begin + self._tested).fetchall()
            others = connection.execute(self._others).fetchall() if made < len(values) - values.null_count else []
        doubtful = connection.execute(f"SELECT {PLACE} FROM {self._table} WHERE {DOUBT}").fetchall()
        if doubtful:
            connection.execute(f"DELETE FROM {self._table} WHERE {DOUBT}")
        return [i for (i,) in (*doubtful, *others)]

    @contextmanager
    def _given(
        self,
        connection: duckdb.DuckDBPyConnection,
        places: Sequence[int],
        texts: pa.Array,
        records: Sequence[Record],
        troubles: dict[Place, Trouble],
    ) -> Iterator[None]:
        """Lets statements read these records, as BATCH."""
        numbers = pa.py_buffer(array("i", places))  # in a quarter of the time that Arrow takes to look at each
        columns = {"i": pa.Array.from_buffers(pa.int32(), len(places), [None, numbers]), "v": texts}
        if self._metadata.names:
            columns |= self._metadata.columns(places, texts, records, troubles)
        connection.register(BATCH, pa.table(columns))
        try:
            yield
        finally:
            connection.unregister(BATCH)

    def _written_anew(
        self, places: Sequence[int], records: Sequence[Record], troubles: dict[Place, Trouble]
    ) -> Iterator[tuple[int, str]]:
        """Doubtful records that can be read, in the usual form."""
        for i in places:
            record = records[i]
            try:
                found = self._rewriting.texts(record)
            except BadData as error:
                troubles[place_of(record)] = trouble_of(error)
                continue
            if isinstance(found, Unreadable):
                troubles[place_of(record)] = trouble_in(found, bad_data(found, record))
            else:
                yield from [(i, text) for text in found]

    def _rows(self, pattern: str | None) -> str:
        """SELECT of a batch's rows. Arguments: pattern: for which each text is looked through, and that may be no JSON;
        empty: all are JSON; None: nothing is doubtful, not even what is missing."""
        return " UNION ALL ".join(self._rows_of(kind, pattern) for kind in self._relation.types)

    def _rows_of(self, kind: EventType, pattern: str | None) -> str:
        own = {"eventType": "VARCHAR", "eventVersion": "BIGINT"}  # that it says them once
        structure = own | {field.wire: field.type.structure for field in kind.fields}
        arguments = f"(v, {literal(msgspec.json.encode(structure).decode())})"
        fields = settled_fields(kind)
        listed = []
        for one in self._relation.columns:
            if one.name == "_type":
                text = literal(kind.name)
            elif one.name in METADATA:
                text = quoted(one.name)
            else:
                text = fields.get(one.name, f"NULL::{one.type.sql}")
            listed.append(f"{text} AS {quoted(one.name)}")
        if pattern is None:
            value, bad = f"from_json{arguments}", "false"
        elif not pattern:
            value, bad = f"from_json_strict{arguments}", incomplete(kind)
        else:  # the strict function is asked last: what it refuses takes it long
            value = f"TRY(from_json{arguments})"
            strict = f"TRY(from_json_strict{arguments}) IS NULL"
            bad = f"CASE WHEN {found_in(pattern)} OR {incomplete(kind)} THEN true ELSE {strict} END"
        return (
            f"SELECT i AS {PLACE}{''.join(f', {text}' for text in listed)}, {bad} AS {DOUBT}"
            f" FROM (SELECT *, {value} AS x FROM {BATCH}"
            f" WHERE starts_with(v, {literal(self._rewriting.prefixes[kind.name])}))"
        )

    def _rows_of_others(self) -> str:
        """SELECT of the places of records that do not begin as this library writes the types that the view reads, and
        may be of one of them."""
        known = " OR ".join(f"starts_with(v, {literal(text)})" for text in self._rewriting.prefixes.values())
        other = 'regexp_extract(v, \'^\\{"eventType":"([^"\\\\]+)",\', 1)'
        # An old version of a type that the view does not read may be read as one that it does.
        types = [kind.name for kind in self._relation.types]
        names = ", ".join(literal(name) for name in dict.fromkeys(["", *types, *self._codec.upcasting.names]))
        return f"SELECT i FROM {BATCH} WHERE v IS NOT NULL AND NOT ({known}) AND {other} IN ({names})"


def texts_of(records: Sequence[Record]) -> tuple[pa.Array, list[int]]:
    """The values as text; those that are none are left out, and their places given."""
    parts = (records[begin : begin + AT_ONCE] for begin in range(0, len(records) or 1, AT_ONCE))
    values = pa.concat_arrays([pa.array([record.value for record in part], pa.binary()) for part in parts])
    try:
        return values.cast(pa.string()), []
    except pa.ArrowInvalid:
        found: list[str | None] = []
        broken = []
        for i, record in enumerate(records):
            try:
                found.append(None if record.value is None else record.value.decode())
            except UnicodeDecodeError:
                found.append(None)
                broken.append(i)
        return pa.array(found, pa.string()), broken
