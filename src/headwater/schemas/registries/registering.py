"""What registries of our own decide alike: whether a schema is there, may come, and which id it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.schemas.compatibility import Break, Level, breaks
from headwater.schemas.identity import IDS, canonical, id_from
from headwater.schemas.port import Schema
from headwater.schemas.registries.port import Registered


def found_in(revisions: Sequence[Registered], schema: Schema) -> Registered | None:
    """The revision that is this schema."""
    wanted = canonical(schema)
    return next((one for one in revisions if canonical(one.schema) == wanted), None)


def broken_by(schema: Schema, revisions: Sequence[Registered], level: Level) -> list[Break]:
    """Why a schema must not follow these revisions."""
    return breaks(level, schema, [(one.revision, one.schema) for one in revisions])


def free_id(schema: Schema, taken: Mapping[int, Schema]) -> int:
    """The id of a schema: the one it has already, or that follows from it, or the next that is free."""
    wanted, number = canonical(schema), id_from(schema)
    while number in taken and canonical(taken[number]) != wanted:
        number = number % IDS + 1
    return number
