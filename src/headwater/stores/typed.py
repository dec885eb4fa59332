"""The rows of a query as instances of a class: `query(sql, into=Summary)`.

A column goes into the field of its name, in Python or on the wire; columns without a field are left out. Cells
are turned into the field's type as the stores wrote them: decimals and times from text, lists and values from JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar, get_origin

import msgspec

from headwater.errors import Misuse
from headwater.stores.cells import cell_for
from headwater.stores.integers import MARK
from headwater.stores.port import Answer
from headwater.stores.shapes import without_none

T = TypeVar("T")


def rows_as(answer: Answer, into: type[T]) -> Iterator[T]:
    """The rows, each as one `into`: a class of `hw.Value` or any Struct, a mapping, or, for a single column, its type.

    Raises: Misuse: a field without default has no column, a cell does not fit, or a mapping cannot have all columns
    since several have one name.
    """
    if not isinstance(into, msgspec.StructMeta):
        is_mapping = issubclass(get_origin(into) or into, Mapping)
        single = len(answer.columns) == 1 and not is_mapping
        if is_mapping:
            _refuse_doubled(answer.columns)
        read = {int: _digits, str: _words}.get(without_none(into)[0], _as_it_is)
        for row in answer:
            yield _converted(read(row[0]) if single else dict(zip(answer.columns, row, strict=True)), into)
        return
    fields = {name: field for field in msgspec.structs.fields(into) for name in (field.encode_name, field.name)}
    wanted = [(i, fields[name]) for i, name in enumerate(answer.columns) if name in fields]
    places = [(i, field.encode_name, _reader(field.type)) for i, field in wanted]
    for row in answer:
        yield _converted({name: read(row[i]) for i, name, read in places}, into)


def _refuse_doubled(columns: Sequence[str]) -> None:
    doubled = [name for name, count in Counter(columns).items() if count > 1]
    if doubled:
        raise Misuse(
            f"several columns of the query are called {', '.join(doubled)}, and a mapping has one of a name: give the "
            f"others a name of their own, … AS {doubled[0]}_1"
        )


def _reader(annotation: Any) -> Callable[[Any], Any]:
    """From a cell to what `msgspec` makes the type of."""
    kind, _ = without_none(annotation)
    if kind is int:
        return _digits
    if kind is str:
        return _words
    return _as_it_is if cell_for(kind).accepts else _unpacked


def _as_it_is(cell: Any) -> Any:
    return cell


def _words(cell: Any) -> Any:
    """Some stores have types for what others keep as a text."""
    return cell if cell is None or isinstance(cell, (str, int, float, bytes)) else msgspec.to_builtins(cell)


def _digits(cell: Any) -> Any:
    """An integer of more than 64 bits is kept with a mark, or is a decimal without a fraction."""
    if isinstance(cell, str):
        return cell.removesuffix(MARK)
    whole = isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value()
    return int(cell) if whole else cell


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
