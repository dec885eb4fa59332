"""A user's question to a search server, in its own language: the body of a search, as JSON, with the table's name.

    {"index": "revenue", "query": {"range": {"day": {"gte": "?"}}}, "sort": ["day"]}

    {"index": "open_order", "size": 0, "aggs": {"customer": {"terms": {"field": "customer_id"},
                                                             "aggs": {"total": {"sum": {"field": "total"}}}}}}

What is found are rows: the fields of the documents, or a row per bucket, its key under the aggregation's name. A search
cannot write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from headwater.errors import Misuse, Unavailable
from headwater.stores.opensearch_connection import Connection, TimedOut, path_of
from headwater.stores.opensearch_state import MISSING
from headwater.stores.opensearch_tables import Hit, SearchTable
from headwater.stores.opensearch_values import argument
from headwater.stores.port import Answer

P = TypeVar("P", bound=Any)
PAGE = 2_000
SCROLL = "1m"
"""So long a long answer is kept there between two of its parts."""

_EXAMPLE = 'write {"index": "name_of_a_table", "query": {…}}'


class _Hit(msgspec.Struct):
    source: dict[str, Any] = msgspec.field(name="_source", default_factory=dict)


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Found(msgspec.Struct):
    hits: _Hits
    aggregations: dict[str, Any] | None = None
    scroll_id: str | None = msgspec.field(name="_scroll_id", default=None)


_FOUND = msgspec.json.Decoder(_Found)


class _Of(msgspec.Struct):
    headwater: dict[str, Any] = {}


class _Mapping(msgspec.Struct):
    meta: _Of = msgspec.field(name="_meta", default_factory=_Of)


class _Index(msgspec.Struct):
    mappings: _Mapping


def ask(
    connection: Connection,
    alias: Callable[[str], str],
    text: str,
    args: Sequence[object] | Mapping[str, object],
    timeout_s: float | None,
) -> Answer:
    """See `Store.query`. Arguments: alias: from a table's name to that of its index."""
    table, body = read_question(text, args)
    index = alias(table)
    asking = Asking(connection, timeout_s)
    asking.ask("POST", path_of(index, "_refresh"))
    everything = "size" not in body and "from" not in body and not ({"aggs", "aggregations"} & body.keys())
    body.setdefault("size", PAGE if everything else 10)
    first = asking.ask("POST", path_of(index, "_search") + (f"?scroll={SCROLL}" if everything else ""), body)
    found = _FOUND.decode(first)
    if found.aggregations is not None:
        rows = buckets(found.aggregations)
        names = tuple(dict.fromkeys(name for row in rows for name in row))
        return Answer(names, (tuple(row.get(name) for name in names) for row in rows))
    columns = chosen(body.get("_source")) or columns_of(asking, index)
    pages = asking.pages(found, _FOUND.decode) if everything else iter([found])
    return Answer(columns, (cells(hit.source, columns) for page in pages for hit in page.hits.hits))


class Asking:
    """A question of several requests. Arguments: connection; timeout_s: for all of them (None: each has its own)."""

    def __init__(self, connection: Connection, timeout_s: float | None) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._end_s = time.monotonic() + (timeout_s or 0)

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Raises: Unavailable: the time is over. Misuse: the server does not understand it."""
        if self._timeout_s is None:
            return self._connection.ask(method, path, body, query=True).body
        over = f"the query did not end within {self._timeout_s:g} s and was stopped"
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise Unavailable(over)
        try:
            return self._connection.ask(method, path, body, timeout_s=left_s, query=True).body
        except TimedOut as error:
            raise Unavailable(over) from error

    def pages(self, first: P, decode: Callable[[bytes], P]) -> Iterator[P]:
        """All parts of a long answer, as it was when it was asked. Arguments: decode: an answer to a search."""
        page = first
        try:
            while page.hits.hits:
                yield page
                if len(page.hits.hits) < PAGE:
                    return
                more = {"scroll": SCROLL, "scroll_id": page.scroll_id}
                page = decode(self.ask("POST", "/_search/scroll", more))
        finally:
            self._connection.ask("DELETE", "/_search/scroll", {"scroll_id": page.scroll_id}, accept=[MISSING])


def hits_of(
    connection: Connection, table: SearchTable, body: dict[str, Any], most: int | None
) -> Iterator[list[Hit[Any]]]:
    """The documents that a search finds, in parts. Arguments: body: without a size; most: so many are enough."""
    asking, path = Asking(connection, None), path_of(table.index, "_search")
    size = PAGE if most is None else min(PAGE, most)
    first = table.page.decode(asking.ask("POST", path, {**body, "size": size}))
    if len(first.hits.hits) < size or size == most:
        yield first.hits.hits
        return
    begun = table.page.decode(asking.ask("POST", f"{path}?scroll={SCROLL}", {**body, "size": PAGE}))
    for page in asking.pages(begun, table.page.decode):
        yield page.hits.hits


def read_question(text: str, args: Sequence[object] | Mapping[str, object]) -> tuple[str, dict[str, Any]]:
    """The table and the body of a search; `"?"` or `":name"` stand for arguments. Raises: Misuse."""
    try:
        body = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Misuse(f"a query of a search server is a search as JSON ({error}): {_EXAMPLE}") from error
    table = body.pop("index", None)
    if not isinstance(table, str):
        raise Misuse(f"the query does not say in which table it searches: {_EXAMPLE}")
    if isinstance(args, Mapping):
        return table, _named(body, args)
    values = iter(args)
    filled = _placed(body, values, len(args)) if args else body
    if next(values, None) is not None:
        raise Misuse(f'the query has fewer places ("?") than the {len(args)} arguments that were supplied')
    return table, filled


def _named(part: Any, args: Mapping[str, object]) -> Any:
    if isinstance(part, dict):
        return {name: _named(inner, args) for name, inner in part.items()}
    if isinstance(part, list):
        return [_named(inner, args) for inner in part]
    if isinstance(part, str) and part.startswith(":") and args:
        if part[1:] not in args:
            raise Misuse(f"the query asks for {part}, and there is no such argument")
        return argument(args[part[1:]])
    return part


def _placed(part: Any, values: Iterator[object], count: int) -> Any:
    if isinstance(part, dict):
        return {name: _placed(inner, values, count) for name, inner in part.items()}
    if isinstance(part, list):
        return [_placed(inner, values, count) for inner in part]
    if part != "?":
        return part
    for value in values:
        return argument(value)
    raise Misuse(f'the query has more places ("?") than the {count} arguments that were supplied')


def chosen(source: object) -> tuple[str, ...]:
    """The columns that a question names, if it does."""
    if isinstance(source, Mapping):
        source = source.get("includes")
    names = [source] if isinstance(source, str) else source
    if not isinstance(names, list) or any(not isinstance(name, str) or "*" in name for name in names):
        return ()
    return tuple(names)


def columns_of(asking: Asking, index: str) -> tuple[str, ...]:
    """All columns of the table behind a name, in order."""
    for one in msgspec.json.decode(asking.ask("GET", path_of(index, "_mapping")), type=dict[str, _Index]).values():
        return tuple(one.mappings.meta.headwater.get("columns", ()))
    return ()


def cells(source: Mapping[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    """A document's columns; `a.b` is what is inside a column."""

    def cell(name: str) -> Any:
        if name in source or "." not in name:
            return source.get(name)
        found: Any = source
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    return tuple(map(cell, columns))


def buckets(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Aggregations as rows: one per innermost bucket, with what stands beside it on its way."""
    row: dict[str, Any] = {}
    inner: list[dict[str, Any]] = []
    for name, one in found.items():
        if not isinstance(one, Mapping):
            continue
        if "buckets" in one:
            each = one["buckets"]
            keyed = each.items() if isinstance(each, Mapping) else ((bucket.get("key"), bucket) for bucket in each)
            for key, bucket in keyed:
                shown = bucket.get("key_as_string", key)
                first = {name: shown, "doc_count": bucket.get("doc_count")}
                inner += [{**first, **rest} for rest in buckets(bucket)]
        elif "value" in one:
            row[name] = one["value"]
        elif "doc_count" in one:
            for rest in buckets(one):
                row.update({f"{name}.{key}" if key in row else key: value for key, value in rest.items()})
            row.setdefault(name, one["doc_count"])
        else:
            row[name] = dict(one)
    return [{**one, **row} for one in inner] if inner else [row]
