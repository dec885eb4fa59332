"""Sets and maps in one order, whatever order they were written in: equal ones are equal to SQL, too.

A set is written in the order in which its process happens to hold it, and JSON's objects in any.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from headwater.messages.annotations import unwrapped
from headwater.views.narrowing import used_of
from headwater.views.plan import EventType
from headwater.views.types import ListOf, MapOf, SqlType, StructOf, quoted


def settled_fields(kind: EventType) -> dict[str, str]:
    """SQL of each column that the row `x` of a record, or of a state, gives."""
    used = used_of(kind.cls, kind.fields)
    return {
        field.column: _settled(one.note, one.type, f"x.{quoted(one.wire)}", 0)
        for field, one in zip(kind.fields, used, strict=True)
    }


def _settled(note: Any, kind: SqlType, text: str, depth: int) -> str:
    """Arguments: text: the value, as SQL; depth: of lambdas around it."""
    note = _without_none(note)
    element = f"e{depth}"
    if isinstance(kind, MapOf):
        inner = _settled(get_args(note)[1], kind.of, f"{element}.value", depth + 1)
        entries = f"map_entries({text})"
        if inner != f"{element}.value":
            entries = f"list_transform({entries}, lambda {element}: {{'key': {element}.key, 'value': {inner}}})"
        return f"map_from_entries(list_sort({entries}))"
    if isinstance(kind, ListOf):
        inner = _settled(get_args(note)[0], kind.of, element, depth + 1)
        listed = text if inner == element else f"list_transform({text}, lambda {element}: {inner})"
        return f"list_sort({listed})" if get_origin(note) in (set, frozenset) else listed
    if isinstance(kind, StructOf):
        members = {
            one.wire: _settled(one.note, one.type, f"{text}.{quoted(one.wire)}", depth)
            for one in used_of(note, kind.members)
        }
        if any(inner != f"{text}.{quoted(wire)}" for wire, inner in members.items()):
            packed = ", ".join(f"{quoted(wire)} := {inner}" for wire, inner in members.items())
            return f"CASE WHEN {text} IS NOT NULL THEN struct_pack({packed}) END"
    return text


def _without_none(note: Any) -> Any:
    """The annotation of a value that is there."""
    note = unwrapped(note)
    parts = get_args(note)
    if get_origin(note) is Annotated:
        return _without_none(parts[0])
    if NoneType in parts and len(parts) == 2:
        return _without_none(next(one for one in parts if one is not NoneType))
    return note
