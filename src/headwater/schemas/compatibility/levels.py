"""Levels of compatibility: which earlier schemas a new one is compared with, and in which direction.

| level | who must read what |
|---|---|
| BACKWARD | the new schema reads what was written with the one before it |
| FORWARD | the one before it reads what is written with the new schema |
| FULL | both |
| …_TRANSITIVE | the same, with all earlier ones instead of the last |
| NONE | nothing is asked |

BACKWARD_TRANSITIVE is the default: a log is read again from offset 0, so today's code meets what every earlier schema
wrote. BACKWARD alone lets a field go and come back with another type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, get_args

from headwater.errors import Misuse
from headwater.schemas.compatibility.avro import unreadable_avro
from headwater.schemas.compatibility.found import ADVICE, Direction, Found
from headwater.schemas.compatibility.json_schema import unreadable_json
from headwater.schemas.derivation import SchemaKind
from headwater.schemas.port import Schema

Level = Literal["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"]
DEFAULT_LEVEL: Final[Level] = "BACKWARD_TRANSITIVE"
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

_UNREADABLE: Final[dict[SchemaKind, Callable[[Schema, Schema], Iterator[Found]]]] = {
    "avro": unreadable_avro,
    "json": unreadable_json,
}


class Break(NamedTuple):
    """Why a schema is not compatible with an earlier one.

    Arguments: revision: of the earlier one; direction; path: of the field, `items[].price` (empty: the message
    itself); reason: what does not fit there; advice: what to do instead.
    """

    revision: int
    direction: Direction
    path: str
    reason: str
    advice: str

    def __str__(self) -> str:
        what = "what revision {} wrote cannot be read" if self.direction == "backward" else "revision {} cannot read it"
        return f"{self.path or 'the message'}: {self.reason}, so {what.format(self.revision)}; {self.advice}"


def level_named(text: str) -> Level:
    """Raises: Misuse: there is no such level."""
    for level in LEVELS:
        if text == level:
            return level
    raise Misuse(f"there is no compatibility {text!r}; the levels are {', '.join(LEVELS)}")


def unreadable(reader: Schema, writer: Schema) -> list[Found]:
    """Where a reader with one schema cannot read what was written with another; empty: it reads all of it.

    Raises: Misuse: one of them is no schema, or they are of two formats.
    """
    if reader.kind != writer.kind:
        raise Misuse(f"a schema of {reader.kind} cannot be compared with one of {writer.kind}")
    try:
        return list(dict.fromkeys(_UNREADABLE[reader.kind](reader, writer)))
    except RecursionError as error:
        raise Misuse("a schema is nested too deeply to be compared") from error


def breaks(level: Level, new: Schema, earlier: Sequence[tuple[int, Schema]]) -> list[Break]:
    """What is wrong with a new schema, in the order of the earlier ones.

    Arguments: earlier: revision and schema, oldest first. Those of another format are left out: a topic may change its
    codec, and both are read then.
    Raises: Misuse: one of them is no schema.
    """
    if level == "NONE":
        return []
    same_kind = [(revision, schema) for revision, schema in earlier if schema.kind == new.kind]
    compared = same_kind if level.endswith("_TRANSITIVE") else same_kind[-1:]
    wrong: list[Break] = []
    for revision, schema in compared:
        if not level.startswith("FORWARD"):
            wrong += _told(revision, "backward", unreadable(new, schema))
        if not level.startswith("BACKWARD"):
            wrong += _told(revision, "forward", unreadable(schema, new))
    return wrong


def _told(revision: int, direction: Direction, found: list[Found]) -> list[Break]:
    return [Break(revision, direction, one.path, one.reason, ADVICE[one.cause, direction]) for one in found]
