"""Taking back what a transaction has written that will never be committed: its documents are as they were before."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from headwater.errors import Unavailable
from headwater.stores.opensearch_bulk import Write, bulk
from headwater.stores.opensearch_connection import Connection
from headwater.stores.opensearch_state import Version
from headwater.stores.opensearch_tables import writing

PAGE = 2_000


class _Mark(msgspec.Struct):
    before: msgspec.Raw = msgspec.Raw()


class _Source(msgspec.Struct):
    mark: _Mark = msgspec.field(name="_hw", default_factory=_Mark)


class _Hit(msgspec.Struct):
    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    seq_no: int = msgspec.field(name="_seq_no")
    term: int = msgspec.field(name="_primary_term")
    source: _Source = msgspec.field(name="_source")


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Page(msgspec.Struct):
    hits: _Hits


_PAGE = msgspec.json.Decoder(_Page)


def settle(connection: Connection, indices: Collection[str], names: Collection[str]) -> None:
    """Finds and restores the documents of transactions that nobody may commit any more.

    Arguments: indices: where their runner writes; names: the transactions'. Raises: Unavailable.
    """
    if not indices:
        return
    body = {
        "query": {"terms": {"_hw.txn": sorted(names)}},
        "size": PAGE,
        "seq_no_primary_term": True,
        "_source": ["_hw.before"],
    }
    path = f"/{','.join(indices)}"
    while True:
        connection.ask("POST", f"{path}/_refresh?ignore_unavailable=true")
        reply = connection.ask("POST", f"{path}/_search?ignore_unavailable=true", body)
        hits = _PAGE.decode(reply.body).hits.hits
        if not hits:
            return
        take_back(connection, [restoring(hit) for hit in hits])


def restoring(hit: _Hit) -> Write:
    before = bytes(hit.source.mark.before) or None
    return Write(writing(hit.index), hit.id, Version(hit.seq_no, hit.term), before, True)


def take_back(connection: Connection, writes: Sequence[Write]) -> None:
    """Writes documents as they were before; who has changed one since has seen to it. Raises: Unavailable."""
    refused = bulk(connection, writes).refused
    if refused is not None:
        raise Unavailable(
            f"{connection.place}: what a transaction had written is not taken back yet: {refused}"
        ) from refused
