"""The SQL type of what a class declares: from the annotations of events and states to `types.SqlType`.

| Python | SQL |
|---|---|
| `str`, `bytes` (its base64 text), `timedelta` (ISO 8601) | VARCHAR |
| `int` | BIGINT |
| `float` | DOUBLE |
| `Decimal` | DECIMAL(38,9); with `Annotated[Decimal, msgspec.Meta(extra={"scale": 2})]` DECIMAL(38,2) |
| `bool`, `date`, `time`, `UUID` | BOOLEAN, DATE, TIME, UUID |
| `datetime` | TIMESTAMPTZ |
| an Enum, a Literal | the type of its values |
| `list[T]`, `set[T]`, `tuple[T, ...]` | T[] |
| `dict[K, T]` | MAP(VARCHAR, T) |
| a class of `hw.Value` | STRUCT(…) |
| `T | None` | T |
| anything else: other unions, `Any`, a bare `list` or `dict` | JSON |
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID as Uuid

import msgspec
from sqlglot import exp

from headwater.messages.annotations import unwrapped
from headwater.messages.checking import is_value_class
from headwater.messages.shapes import complete
from headwater.views.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DECIMAL,
    DOUBLE,
    JSON,
    TIME,
    TIMESTAMP,
    UUID,
    VARCHAR,
    ListOf,
    MapOf,
    Member,
    Scalar,
    SqlType,
    StructOf,
)

SCALARS: Final[dict[Any, SqlType]] = {
    str: VARCHAR,
    bytes: VARCHAR,
    timedelta: VARCHAR,
    int: BIGINT,
    float: DOUBLE,
    Decimal: DECIMAL,
    bool: BOOLEAN,
    date: DATE,
    time: TIME,
    datetime: TIMESTAMP,
    Uuid: UUID,
}


def members_of_class(cls: Any, open_classes: tuple[Any, ...] = ()) -> tuple[Member, ...]:
    """The fields of a declared class, in order.

    Arguments: open_classes: those that this one is inside of: a class inside itself is JSON there.
    Raises: Misuse: a name in an annotation is not defined.
    """
    complete(cls, late=True)
    types = cls.__hw_shape__.types
    return tuple(
        Member(wire, python, type_of(types[python], (*open_classes, cls)))
        for python, wire in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    )


def type_of(annotation: Any, open_classes: tuple[Any, ...] = ()) -> SqlType:
    """The SQL type of an annotation; JSON for what has none."""
    annotation = unwrapped(annotation)
    if annotation in SCALARS:
        return SCALARS[annotation]
    if is_value_class(annotation):
        return JSON if annotation in open_classes else StructOf(members_of_class(annotation, open_classes))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return type_of_values(member.value for member in annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return type_of_values(parts)
    if origin is Annotated:
        return with_scale(type_of(parts[0], open_classes), annotation.__metadata__)
    if origin in (Union, UnionType):
        left = [part for part in parts if part is not NoneType]
        return type_of(left[0], open_classes) if len(left) == 1 else JSON
    if origin in (list, set, frozenset) or (origin is tuple and parts[1:] == (Ellipsis,)):
        return ListOf(type_of(parts[0], open_classes))
    if origin is dict:
        return MapOf(type_of(parts[1], open_classes))
    return JSON


def type_of_values(values: Iterable[Any]) -> SqlType:
    kinds = {type(value) for value in values}
    return SCALARS.get(kinds.pop(), JSON) if len(kinds) == 1 else JSON


def with_scale(found: SqlType, marks: Iterable[Any]) -> SqlType:
    """A decimal with the scale that its annotation declares, if it does."""
    if found != DECIMAL:
        return found
    extras = [mark.extra or {} for mark in marks if isinstance(mark, msgspec.Meta)]
    scales = [extra["scale"] for extra in extras if "scale" in extra]
    return Scalar(f"DECIMAL(38,{scales[0]})") if scales else found


def type_of_duckdb(name: str) -> SqlType:
    """The type that DuckDB calls so, with its parts if they have names."""
    if "TUPLE(" in name or (not name.startswith(("STRUCT(", "MAP(")) and not name.endswith("]")):
        return Scalar(name)
    return type_of_sql(exp.DataType.build(name, dialect="duckdb"))


def type_of_sql(declared: exp.DataType) -> SqlType:
    """The type that a statement declares for a column of what others write. Any time is in UTC."""
    if declared.this in (exp.DType.ARRAY, exp.DType.LIST) and declared.expressions:
        return ListOf(type_of_sql(declared.expressions[0]))
    if declared.this == exp.DType.MAP and len(declared.expressions) == 2:
        return MapOf(type_of_sql(declared.expressions[1]))
    if declared.this == exp.DType.STRUCT:
        return StructOf(tuple(Member(one.name, one.name, type_of_sql(one.kind)) for one in declared.expressions))
    if declared.this in (exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ):
        return TIMESTAMP
    if declared.this == exp.DType.TEXT:
        return VARCHAR
    return Scalar(declared.sql("duckdb").upper().replace(", ", ","))
