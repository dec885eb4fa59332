"""The rows of a query as instances of a class: `query(sql, into=Summary)`.

A column goes into the field of its name, in Python or on the wire; columns without a field are left out. Cells
are turned into the field's type as the stores wrote them: decimals and times from text, lists and values from JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_origin

import msgspec

from headwater.errors import Misuse
from headwater.stores.cells import cell_for
from headwater.stores.port import Answer
from headwater.stores.shapes import without_none

T = TypeVar("T")


def rows_as(answer: Answer, into: type[T]) -> Iterator[T]:
    """The rows, each as one `into`: a class of `hw.Value` or any Struct, a mapping, or, for a single column, its type.

    Raises: Misuse: a field without default has no column, or a cell does not fit.
    """
    if not isinstance(into, msgspec.StructMeta):
        single = len(answer.columns) == 1 and not issubclass(get_origin(into) or into, Mapping)
        for row in answer:
            yield _converted(row[0] if single else dict(zip(answer.columns, row, strict=True)), into)
        return
    fields = {name: field for field in msgspec.structs.fields(into) for name in (field.encode_name, field.name)}
    wanted = [(i, fields[name]) for i, name in enumerate(answer.columns) if name in fields]
    nested = {field.encode_name for _, field in wanted if not cell_for(without_none(field.type)[0]).accepts}
    places = [(i, field.encode_name, field.encode_name in nested) for i, field in wanted]
    for row in answer:
        yield _converted({name: _unpacked(row[i]) if packed else row[i] for i, name, packed in places}, into)


def _unpacked(cell: Any) -> Any:
    """A value from the JSON in a cell; text that is none is taken as it is."""
    if not isinstance(cell, str):
        return cell
    try:
        return msgspec.json.decode(cell)
    except msgspec.DecodeError:
        return cell


def _converted(value: Any, into: type[T]) -> T:
    try:
        return msgspec.convert(value, into, strict=False)
    except msgspec.ValidationError as error:
        raise Misuse(f"a row of the query does not fit {into.__name__}: {error}") from error
