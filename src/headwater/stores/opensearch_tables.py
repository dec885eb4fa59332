"""One table of a search store: its index, and its rows as documents.

    {"name": "ann", "total": "9.90",
     "_hw": {"order": {"total": "6150099"}, "txn": "7/1f…/shop-account-v1", "before": {…}}}

`_hw` is the store's own part: what numbers sort by, which transaction wrote the document, and the row as it was before
(see `opensearch_transactions`). A row that was deleted stays as a document of nothing but `_hw` until the next batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from headwater.errors import Misuse
from headwater.stores.cells import cell_for, refuse_bad_keys, refuse_other_types
from headwater.stores.opensearch_connection import Cause
from headwater.stores.opensearch_values import Field, field_for, order_columns, present, searched
from headwater.stores.port import Key, TableSchema, refuse_other_keys
from headwater.stores.shapes import without_none

LONGEST_ID = 400
NESTED = 1_000_000
"""A list of more Values than that is refused by the server; its own default is 10,000."""

D = TypeVar("D")
_ENCODER = msgspec.json.Encoder()


class Mark(msgspec.Struct, Generic[D], omit_defaults=True, frozen=True):
    """`_hw` of a document.

    Arguments: txn: what wrote it (None: it is committed for sure); before: the whole document as it was then (None:
    there was no row); deleted: there is no row now; order: what columns are sorted by, where not by themselves.
    """

    txn: str | None = None
    before: D | None = None
    deleted: bool = False
    order: dict[str, str] | None = None


class _Before(msgspec.Struct, omit_defaults=True, frozen=True):
    """`_hw` of a document that is kept inside another."""

    order: dict[str, str] | None = None


class Hit(msgspec.Struct, Generic[D]):
    """A document as the server tells of it. Arguments: error: why it cannot be looked for."""

    id: str = msgspec.field(name="_id")
    error: Cause | None = None
    seq_no: int = msgspec.field(name="_seq_no", default=-1)
    term: int = msgspec.field(name="_primary_term", default=0)
    source: D | None = msgspec.field(name="_source", default=None)


class Found(msgspec.Struct, Generic[D]):
    """An answer to `_mget`."""

    docs: list[Hit[D]]


class _Hits(msgspec.Struct, Generic[D]):
    hits: list[Hit[D]]


class Page(msgspec.Struct, Generic[D]):
    """An answer to `_search`."""

    hits: _Hits[D]
    scroll_id: str | None = msgspec.field(name="_scroll_id", default=None)


class SearchTable:
    """The documents of one table.

    Arguments: schema; index: where they are; runner: who fills it.
    Raises: Misuse: its key or a column's name cannot be.
    """

    def __init__(self, schema: TableSchema[Any], index: str, runner: str) -> None:
        self.schema, self.index, self.runner = schema, index, runner
        self.names = [column.name for column in schema.columns]
        refuse_bad_keys(schema.title, schema.columns, schema.key)
        if "_hw" in self.names:
            raise Misuse(f"{schema.title}: _hw is no name of a column here, it is the store's own")
        self._kinds = [without_none(column.type) for column in schema.columns]
        self._accepts = [cell_for(kind).accepts for kind, _ in self._kinds]
        self._fields = [field_for(k, key=n in schema.key) for (k, _), n in zip(self._kinds, self.names, strict=True)]
        self._key = [self.names.index(name) for name in schema.key]
        self._plain_key = len(self._key) == 1 and self._kinds[self._key[0]][0] is str
        self._ordered = [i for i, field in enumerate(self._fields) if field.order is not None]
        columns: list[Any] = [(f"c{i}", field.kept | None, None) for i, field in enumerate(self._fields)]
        rename = {f"c{i}": name for i, name in enumerate(self.names)}
        rename["hw"] = "_hw"
        self._before: Any = msgspec.defstruct("Before", [*columns, ("hw", _Before, _Before())], rename=rename)
        before: Any = self._before
        mark: Any = Mark[before]
        document: Any = msgspec.defstruct("Document", [*columns, ("hw", mark, Mark())], rename=rename)
        self.found: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Found[document])
        self.page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Page[document])
        self._many: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[document])

    @property
    def definition(self) -> dict[str, Any]:
        """What the index is made of; shards and copies are left to the server and its templates."""
        fields = dict(zip(self.names, self._fields, strict=True))
        own = {
            "txn": {"type": "keyword", "doc_values": False},
            "deleted": {"type": "boolean"},
            "order": {"type": "object", "dynamic": False, "properties": order_columns(fields)},
        }
        columns = {name: field.mapping for name, field in fields.items()}
        return {
            "settings": {"index.refresh_interval": "1s", "index.mapping.nested_objects.limit": NESTED},
            "mappings": {
                "dynamic": False,
                "_meta": {"headwater": {"table": self.schema.title, "columns": self.names}},
                "properties": {**columns, "_hw": {"type": "object", "dynamic": False, "properties": own}},
            },
        }

    def ids(self, keys: Collection[Key]) -> list[str]:
        """The documents' names of keys. Raises: Misuse: one does not fit."""
        if not keys:
            return []
        refuse_other_keys(self.schema, keys)
        columns = [self._encode(i, values) for i, values in zip(self._key, zip(*keys, strict=True), strict=True)]
        return list(map(self._id, zip(*columns, strict=True)))

    def _id(self, cells: tuple[Any, ...]) -> str:
        """A key of one short text is the name itself, so that others can ask for it."""
        if self._plain_key:
            text: str = cells[0]
            if text and text[0] not in "[_" and len(text.encode()) <= LONGEST_ID:
                return text
        name = msgspec.json.encode(cells).decode()
        if len(name.encode()) <= LONGEST_ID:
            return name
        return "[#" + hashlib.blake2b(name.encode(), digest_size=32).hexdigest()

    def documents(self, rows: Collection[Any]) -> tuple[list[str], list[bytes]]:
        """Ids of rows, and their documents as they are kept: with the order in their `_hw`, and nothing else.

        Raises: Misuse: a value does not fit.
        """
        if not rows:
            return [], []
        values = [list(map(attrgetter(name), rows)) for name in self.names]
        columns = [self._encode(i, column) for i, column in enumerate(values)]
        ids = list(map(self._id, zip(*(columns[i] for i in self._key), strict=True)))
        documents = map(self._before, *columns, self._marks(values))
        return ids, list(map(_ENCODER.encode, documents))

    def _marks(self, values: Sequence[Sequence[Any]]) -> Iterable[_Before]:
        orders: list[dict[str, str]] = []
        for i in self._ordered:
            field, name = self._fields[i], self.names[i]
            column = [value for value in values[i] if value is not None]
            if field.order is None or (field.sorted is not None and field.sorted(column)):
                continue
            orders = orders or [{} for _ in values[i]]
            for place, value in enumerate(values[i]):
                text = None if value is None else field.order(value)
                if text is not None:
                    orders[place][name] = text
        return (_Before(order or None) for order in orders) if orders else repeat(_Before())

    def _encode(self, index: int, values: Collection[Any]) -> list[Any]:
        refuse_other_types(self.schema.title, self.names[index], self._kinds[index], self._accepts[index], values)
        encode = self._fields[index].encode
        try:
            return list(values) if encode is None else present(values, encode)
        except (Misuse, ValueError, OverflowError) as error:
            raise Misuse(f"{self.schema.title}, column {self.names[index]}: {error}") from error

    def kept(self, document: Any) -> bytes:
        """A document, or what one was before, as the next one keeps it."""
        *columns, mark = msgspec.structs.astuple(document)
        return _ENCODER.encode(self._before(*columns, _Before(mark.order)))

    def read(self, kept: Collection[bytes]) -> list[Any]:
        """Documents from what is kept of them."""
        found: list[Any] = self._many.decode(b"[" + b",".join(kept) + b"]")
        return found

    def rows(self, documents: Sequence[Any]) -> list[Any]:
        """Instances. Raises: Misuse: documents that were not written through a store."""
        if not documents:
            return []
        try:
            columns = list(zip(*map(msgspec.structs.astuple, documents), strict=True))[: len(self.names)]
            return list(map(self.schema.row, *map(self._decode, self._fields, columns)))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Misuse(f"a row of {self.schema.title} is not what headwater wrote: {error}") from error

    def _decode(self, field: Field, values: tuple[Any, ...]) -> Sequence[Any]:
        decode = field.decode
        if decode is None:
            return values
        return [None if value is None else decode(value) for value in values]

    def selection(self, where: Mapping[str, object], order: Sequence[str]) -> dict[str, Any]:
        """The query and its order. It may find more rows than those asked for, and never less: `matches` tells."""
        must: list[Any] = []
        for name, value in where.items():
            index = self._index(name)
            self._encode(index, [value])
            if value is None:
                must.append({"bool": {"must_not": {"exists": {"field": name}}}})
                continue
            found = searched(self._fields[index], name, value)
            if found is not None:
                must.append({"term": {found[0]: {"value": found[1]}}})
        sort = [term for name in [*order, *self.schema.key] for term in self._sorted(name)]
        return {"query": {"bool": {"filter": must, "must_not": HIDDEN}}, "sort": sort}

    def matches(self, row: Any, where: Mapping[str, object]) -> bool:
        """Whether a row's columns equal those asked for."""
        return all(getattr(row, name) == value for name, value in where.items())

    def _sorted(self, name: str) -> list[dict[str, Any]]:
        """None comes before everything, as in the other stores; a number that its field cannot hold after all."""
        down = name.startswith("-")
        name = name.removeprefix("-")
        sorts = self._fields[self._index(name)].sorts
        if not sorts:
            raise Misuse(f"{self.schema.title} cannot be sorted by {name}: its values have no order in a search server")
        how = {"order": "desc", "missing": "_last"} if down else {"order": "asc", "missing": "_first"}
        return [{sort.format(name): how} for sort in sorts]

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise Misuse(f"{self.schema.title} has no column {name!r}: it has {', '.join(self.names)}")
        return self.names.index(name)


HIDDEN = [{"term": {"_hw.deleted": True}}]
"""What no search shows: rows that are deleted."""


def writing(index: str) -> str:
    """The name under which an index is written: a request that comes when it is gone must not make another one."""
    return f"{index}-writing"


def written(kept: bytes | None, txn: str, before: bytes | None) -> bytes:
    """A document as a transaction writes it. Arguments: kept: as it is kept afterwards (None: the row is deleted);
    txn: the transaction's name; before: what was kept until then (None: there was no row)."""
    about = b'"txn":' + _ENCODER.encode(txn) + (b"" if before is None else b',"before":' + before)
    if kept is None:
        return b'{"_hw":{"deleted":true,' + about + b"}}"
    return kept[:-2] + (b"" if kept.endswith(b"{}}") else b",") + about + b"}}"
