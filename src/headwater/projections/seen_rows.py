"""The tables in which a read model keeps what it has seen (see `seen`)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from headwater.errors import Unavailable
from headwater.projections.read_model import ReadModel
from headwater.stores.port import Store, TableSchema, bookkeeping_table


class SeenRow(msgspec.Struct):
    """The digests of the records at some positions. Arguments: bucket: of the positions from bucket * BUCKET on."""

    topic: str
    partition: int
    bucket: int
    digests: bytes


class StreamRow(msgspec.Struct):
    """What came of a stream of numbers."""

    topic: str
    partition: int
    stream: str
    last: int
    gaps: list[tuple[int, int]]


class TallyRow(msgspec.Struct):
    """What was found in a partition. Arguments: duplicates: records that were left out; skipped: numbers that did not
    come in their turn; late: those of them that came after all."""

    topic: str
    partition: int
    duplicates: int = 0
    skipped: int = 0
    late: int = 0


class Tables(NamedTuple):
    seen: TableSchema[SeenRow]
    streams: TableSchema[StreamRow]
    tallies: TableSchema[TallyRow]


def tables_of(runner: str) -> Tables:
    return Tables(
        bookkeeping_table("seen", runner, SeenRow, ("topic", "partition", "bucket")),
        bookkeeping_table("streams", runner, StreamRow, ("topic", "partition", "stream")),
        bookkeeping_table("tallies", runner, TallyRow, ("topic", "partition")),
    )


def tallies_in(store: Store, model: ReadModel) -> list[TallyRow]:
    """What was found so far, by partition; none, where nobody has maintained the read model yet."""
    try:
        return store.rows(tables_of(model.runner).tallies)
    except Unavailable:
        return []
