"""The SQL types of what records hold, as trees, so that a type can be cut down to the parts that a view uses.

The SQL is DuckDB's. Numbers with a decimal point are DECIMAL, read from the text of the JSON without passing through
a double; times are TIMESTAMPTZ and the session's time zone is UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. Arguments: name: DuckDB's name of the type."""

    name: str

    @property
    def sql(self) -> str:
        """The type as DuckDB's SQL."""
        return self.name

    @property
    def structure(self) -> Any:
        """The type as `from_json` wants it."""
        return self.name


@dataclass(frozen=True, slots=True)
class ListOf:
    """Any number of values, in order. A set or a tuple of one type is a list, too."""

    of: SqlType

    @property
    def sql(self) -> str:
        """The type as DuckDB's SQL."""
        return f"{self.of.sql}[]"

    @property
    def structure(self) -> Any:
        """The type as `from_json` wants it."""
        return [self.of.structure]


@dataclass(frozen=True, slots=True)
class MapOf:
    """Values by text. Arguments: of: the type of the values."""

    of: SqlType

    @property
    def sql(self) -> str:
        """The type as DuckDB's SQL."""
        return f"MAP(VARCHAR, {self.of.sql})"

    @property
    def structure(self) -> Any:
        """The type as `from_json` wants it."""
        return self.sql


@dataclass(frozen=True, slots=True)
class Member:
    """A field. Arguments: wire: its name in records; python: its name in the class; type."""

    wire: str
    python: str
    type: SqlType


@dataclass(frozen=True, slots=True)
class StructOf:
    """A value with fields."""

    members: tuple[Member, ...]

    @property
    def sql(self) -> str:
        """The type as DuckDB's SQL."""
        return f"STRUCT({', '.join(f'{quoted(one.wire)} {one.type.sql}' for one in self.members)})"

    @property
    def structure(self) -> Any:
        """The type as `from_json` wants it."""
        return {one.wire: one.type.structure for one in self.members}


SqlType: TypeAlias = Scalar | ListOf | MapOf | StructOf

BOOLEAN: Final = Scalar("BOOLEAN")
BIGINT: Final = Scalar("BIGINT")
DOUBLE: Final = Scalar("DOUBLE")
DECIMAL: Final = Scalar("DECIMAL(38,9)")
VARCHAR: Final = Scalar("VARCHAR")
TIMESTAMP: Final = Scalar("TIMESTAMPTZ")
DATE: Final = Scalar("DATE")
TIME: Final = Scalar("TIME")
UUID: Final = Scalar("UUID")
JSON: Final = Scalar("JSON")

PLACE, DOUBT = '"hw place"', '"hw doubt"'
"""Columns of the rows of a batch, quoted: the place of their record in it, and whether it is to be read again."""

WHOLE: Final[Mapping[str, int]] = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "INTEGER": 32, "BIGINT": 64}
"""Whole numbers with their bits."""

FROM_JSON: Final = frozenset(
    {*WHOLE, "VARCHAR", "BOOLEAN", "DOUBLE", "FLOAT", "REAL", "DATE", "TIME", "TIMESTAMPTZ", "UUID", "JSON"}
)
"""What values of JSON are read as, beside DECIMAL."""


def scalars_of(kind: SqlType) -> Iterator[Scalar]:
    """The types of one value that a type is made of."""
    if isinstance(kind, Scalar):
        yield kind
    elif isinstance(kind, StructOf):
        for member in kind.members:
            yield from scalars_of(member.type)
    else:
        yield from scalars_of(kind.of)


METADATA: Final[Mapping[str, SqlType]] = {
    "_topic": VARCHAR,
    "_partition": Scalar("INTEGER"),
    "_offset": BIGINT,
    "_key": VARCHAR,
    "_id": VARCHAR,
    "_type": VARCHAR,
    "_time": TIMESTAMP,
    "_recorded": TIMESTAMP,
    "_entity_id": VARCHAR,
    "_entity_version": BIGINT,
    "_command_id": VARCHAR,
    "_causation_id": VARCHAR,
    "_correlation_id": VARCHAR,
    "_actor": VARCHAR,
}
"""What every record has beside its fields; the meaning of each is that of `Meta`. `_type` is the event's wire name."""


def quoted(name: str) -> str:
    """A name as an identifier of SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
