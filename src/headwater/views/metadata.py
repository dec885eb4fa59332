"""What a view may ask of a record beside its fields: its place, its key, and its envelope, as columns of Arrow.

Headers that look as usual are read for a whole batch; the envelope of any other record is read as everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headwater.failures.parking import Place, Trouble, place_of, trouble_in
from headwater.log.port import Record
from headwater.messages.codec import Codec
from headwater.messages.envelope import Meta, read_meta, record_time
from headwater.messages.unreadable import Unreadable
from headwater.projections.gathering import bad_data

PLACES: Mapping[str, tuple[pa.DataType, Callable[[Record], Any]]] = {
    "_topic": (pa.string(), lambda record: record.topic),
    "_partition": (pa.int32(), lambda record: record.partition),
    "_offset": (pa.int64(), lambda record: record.offset),
}

TIME = pa.timestamp("us", tz="UTC")

ENVELOPE: Mapping[str, tuple[pa.DataType, Callable[[Meta], Any]]] = {
    "_key": (pa.string(), lambda meta: meta.entity_id),
    "_id": (pa.string(), lambda meta: meta.id),
    "_time": (TIME, lambda meta: meta.time),
    "_recorded": (TIME, lambda meta: meta.recorded),
    "_entity_id": (pa.string(), lambda meta: meta.entity_id),
    "_entity_version": (pa.int64(), lambda meta: meta.version),
    "_command_id": (pa.string(), lambda meta: meta.command_id),
    "_causation_id": (pa.string(), lambda meta: meta.causation_id),
    "_correlation_id": (pa.string(), lambda meta: meta.correlation_id),
    "_actor": (pa.string(), lambda meta: meta.actor),
}


SAID: Mapping[str, str] = {
    "_key": "ce_subject",
    "_id": "ce_id",
    "_time": "ce_time",
    "_recorded": "hw_recorded",
    "_entity_id": "ce_subject",
    "_entity_version": "ce_entityversion",
    "_command_id": "ce_commandid",
    "_causation_id": "ce_causationid",
    "_correlation_id": "ce_correlationid",
    "_actor": "ce_authid",
}
"""The header that a column is read from."""

USUAL: Mapping[pa.DataType, str] = {
    pa.string(): "(?s)^.",
    pa.int64(): "^[0-9]{1,18}$",
    TIME: r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$",
}
"""What a header looks like that is read as it is; all others are looked at one by one, as everywhere else."""

NEVER_SILENT = ("_id", "_key", "_entity_id")
"""Columns that have a value without their header."""

NAME_BEGINS = b'{"eventType":"'


class Envelopes:
    """What is known of records beside their fields. Arguments: codec: reads the time of a record without headers."""

    def __init__(self, codec: Codec[Any]) -> None:
        self._codec = codec

    def of(self, record: Record) -> Meta | Unreadable:
        """Of one that has a value; or why it cannot be read."""
        headers = record.headers
        silent = all(name != "ce_time" for name, _ in headers)
        said = self._codec.payload_time(self._codec.contents([record])[0]) if silent else None
        if isinstance(said, Unreadable):
            return said
        return read_meta(record.topic, record.partition, record.offset, record.key, headers, record.timestamp_ms, said)

    def times(self, records: Sequence[Record]) -> list[datetime | None]:
        """Of records whose headers are silent: as the payload says, or the log. None: the payload says it in a way that
        cannot be read."""
        times: list[datetime | None] = []
        for record, content in zip(records, self._codec.contents(records), strict=True):
            said = self._codec.payload_time(content)
            if isinstance(said, Unreadable):
                times.append(None)
            else:
                times.append(record_time(record.timestamp_ms) if said is None else said)
        return times


class Metadata:
    """Arguments: names: of columns, those of fields among them; codec: reads the time of a record without headers."""

    def __init__(self, names: Sequence[str], codec: Codec[Any]) -> None:
        self._places = [name for name in names if name in PLACES]
        self._envelope = [name for name in names if name in ENVELOPE]
        self.names = [*self._places, *self._envelope]
        self._envelopes = Envelopes(codec)
        self._types = {name.encode() for name in (*codec.classes, *codec.upcasting.names)}

    def columns(
        self, places: Sequence[int], texts: pa.Array, records: Sequence[Record], troubles: dict[Place, Trouble]
    ) -> dict[str, pa.Array]:
        """Arguments: places: of the records that are meant, in `records`; texts: their values. Where an envelope is
        asked for and there is none, the text is left out (`v`)."""
        chosen = [records[i] for i in places]
        found: dict[str, pa.Array] = {}
        for name in self._places:
            kind, get = PLACES[name]
            found[name] = pa.array(map(get, chosen), kind, size=len(chosen))
        if not chosen:
            return found | {name: pa.array([], ENVELOPE[name][0]) for name in self._envelope}
        if self._envelope:
            found |= self._of_envelopes(texts, chosen, troubles)
        return found

    def _of_envelopes(
        self, texts: pa.Array, records: Sequence[Record], troubles: dict[Place, Trouble]
    ) -> dict[str, pa.Array]:
        said = [dict(record.headers).get for record in records]
        columns: dict[str, pa.Array] = {}
        odd = pa.array([False] * len(records))
        for name in self._envelope:
            columns[name], not_usual = self._usual(name, said, records)
            odd = pc.or_(odd, not_usual)
        places = pc.indices_nonzero(odd).to_pylist()
        if places:
            metas = [self._meta(records[i], troubles) for i in places]
            for name, column in columns.items():
                kind, of = ENVELOPE[name]
                anew = pa.array([None if meta is None else of(meta) for meta in metas], kind)
                columns[name] = pc.replace_with_mask(column, odd, anew)
            gone = pc.replace_with_mask(odd, odd, pa.array([meta is None for meta in metas]))
            columns["v"] = pc.if_else(gone, None, texts)
        return columns

    def _usual(
        self, name: str, said: Sequence[Callable[[str], bytes | None]], records: Sequence[Record]
    ) -> tuple[pa.Array, pa.Array]:
        """A column as the headers say it, and whether it cannot be told like that, for each record."""
        header, kind = SAID[name], ENVELOPE[name][0]
        texts: Sequence[bytes | None] = [get(header) for get in said]
        if header == "ce_subject":
            texts = [record.key if text is None else text for text, record in zip(texts, records, strict=True)]
        try:
            column = pa.array(texts, pa.binary()).cast(pa.string())
            usual = pc.match_substring_regex(column, USUAL[kind])  # null where the header is silent
            odd = pc.invert(pc.fill_null(usual, name not in NEVER_SILENT))
            column = pc.if_else(pc.fill_null(usual, False), column, None).cast(kind)
        except pa.ArrowInvalid:  # not UTF-8, or a day that there is not
            return pa.nulls(len(texts), kind), pa.array([True] * len(texts))
        silent = pc.is_null(usual)
        places = pc.indices_nonzero(silent).to_pylist() if name == "_time" else []
        if places:
            times = self._envelopes.times([records[i] for i in places])
            column = pc.replace_with_mask(column, silent, pa.array(times, TIME))
            odd = pc.replace_with_mask(odd, silent, pa.array([time is None for time in times]))
        return column, odd

    def _meta(self, record: Record, troubles: dict[Place, Trouble]) -> Meta | None:
        value = record.value
        if value is None or self._is_of_another_type(value):
            return None
        found = self._envelopes.of(record)
        if isinstance(found, Meta):
            return found
        troubles[place_of(record)] = trouble_in(found, bad_data(found, record))
        return None

    def _is_of_another_type(self, value: bytes) -> bool:
        if not value.startswith(NAME_BEGINS):
            return False
        name = value[len(NAME_BEGINS) : value.find(b'"', len(NAME_BEGINS))]
        return b"\\" not in name and name not in self._types
