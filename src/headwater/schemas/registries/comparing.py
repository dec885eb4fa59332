"""Two revisions side by side: what differs in their texts, and who can read whom."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from headwater.errors import Misuse
from headwater.schemas.compatibility import unreadable
from headwater.schemas.identity import laid_out
from headwater.schemas.port import Schema
from headwater.schemas.registries.port import Registered


class Compared(NamedTuple):
    """Arguments: subject; older, newer: what is compared; text: a unified diff; backward: why the newer cannot read
    what the older wrote (empty: it can); forward: the other way round."""

    subject: str
    older: str
    newer: str
    text: str
    backward: list[str]
    forward: list[str]


def compared(
    subject: str, revisions: Sequence[Registered], working: Schema | None, old: int | None, new: int | None
) -> Compared:
    """Compares two revisions.

    Arguments: working: the schema of the working code (None: it has no such class); old, new: revisions; None: the
    last one before the other, and the working code, or the last one if there is none.
    Raises: Misuse: there is no such revision.
    """
    schemas = {one.revision: one.schema for one in revisions}
    last = max(schemas, default=0)
    if new is None and working is None:
        new = last
    newer = working if new is None else schemas.get(new)
    if old is None:
        old = last if new is None else new - 1
    older = schemas.get(old)
    if older is None or newer is None:
        missing = old if older is None else new
        raise Misuse(f"{subject} has no revision {missing}; it has {', '.join(map(str, schemas)) or 'none'}")
    names = f"revision {old}", "the working code" if new is None else f"revision {new}"
    lines = difflib.unified_diff(
        laid_out(older.text).splitlines(keepends=True), laid_out(newer.text).splitlines(keepends=True), *names
    )
    if older.kind != newer.kind:
        other = [f"one is a schema of {older.kind}, the other of {newer.kind}"]
        return Compared(subject, *names, "".join(lines), other, other)
    return Compared(subject, *names, "".join(lines), _told(newer, older), _told(older, newer))


def _told(reader: Schema, writer: Schema) -> list[str]:
    return [f"{one.path or 'the message'}: {one.reason}" for one in unreadable(reader, writer)]
