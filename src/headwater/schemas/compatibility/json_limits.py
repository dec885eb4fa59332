"""The limits that JSON Schemas set to numbers, texts, lists and objects, as a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from headwater.errors import Misuse
from headwater.schemas.compatibility.found import Found

_KINDS: Final = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "array": ("minItems", "maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties"),
}


def narrower(reader: Mapping[str, Any], writer: Mapping[str, Any], kind: str) -> Iterator[Found]:
    """The limits of the reader that what was written may be beyond."""
    for limit in _KINDS.get(kind, ()):
        if limit in reader and reader[limit] is not False and not _within(limit, reader[limit], writer, kind):
            was = f"was {writer[limit]!r}" if limit in writer else "was not there"
            yield Found("", "limits", f"{limit} is {reader[limit]!r} and {was}")


def fits_limits(node: Mapping[str, Any], value: Any) -> bool:
    """Whether a number or a text is within the limits of a node. Of a text with a format nothing is known."""
    if isinstance(value, str):
        length = len(value)
        return (
            "format" not in node
            and node.get("minLength", 0) <= length <= node.get("maxLength", length)
            and matches(node.get("pattern", ""), value)
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (
            node.get("minimum", value) <= value <= node.get("maximum", value)
            and ("exclusiveMinimum" not in node or value > node["exclusiveMinimum"])
            and ("exclusiveMaximum" not in node or value < node["exclusiveMaximum"])
            and ("multipleOf" not in node or value % node["multipleOf"] == 0)
        )
    return True


def matches(pattern: str, text: str) -> bool:
    """Whether a text has a pattern. Raises: Misuse: one that Python does not know."""
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise Misuse(f"the pattern {pattern!r} of a JSON Schema cannot be read: {error}") from error


def _within(limit: str, value: Any, writer: Mapping[str, Any], kind: str) -> bool:
    """Whether all that the writer allows is within one limit of the reader."""
    match limit:
        case "minimum":
            return _least(writer) >= (value, 0)
        case "exclusiveMinimum":
            return _least(writer) >= (value, 1)
        case "maximum":
            return _most(writer) <= (value, 0)
        case "exclusiveMaximum":
            return _most(writer) <= (value, -1)
        case "minLength" | "minItems" | "minProperties":
            return bool(writer.get(limit, 0) >= value)
        case "maxLength" | "maxItems" | "maxProperties":
            return bool(writer.get(limit, float("inf")) <= value)
        case "multipleOf":
            step = writer.get(limit, 1 if kind == "integer" else None)
            return step is not None and step % value == 0
        case _:
            return bool(writer.get(limit) == value)


def _least(writer: Mapping[str, Any]) -> tuple[float, int]:
    """The lower end of what is written; 1: the end itself is not."""
    ends = [(writer.get("minimum", float("-inf")), 0), (writer.get("exclusiveMinimum", float("-inf")), 1)]
    return max(ends)


def _most(writer: Mapping[str, Any]) -> tuple[float, int]:
    """The upper end of what is written; -1: the end itself is not."""
    ends = [(writer.get("maximum", float("inf")), 0), (writer.get("exclusiveMaximum", float("inf")), -1)]
    return min(ends)
