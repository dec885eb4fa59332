"""Whether every document that one JSON Schema allows is allowed by another.

The writer's schema says what may be in the log, the reader's what may be read, so the reader's has to allow all of it.
Both are walked together; where that would need more than one look (`not`, `if`, a text that two patterns describe), the
answer is "unknown" unless both say the same, and never a guess that it fits.

What follows for objects, and surprises everybody once: in an open schema (without `additionalProperties: false`) the
writer may have written anything under a name that the reader's schema only now describes, so even an optional
property cannot be added. Closed ones have no such past, but every property that was ever in one has to stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from headwater.schemas.compatibility.found import Found
from headwater.schemas.compatibility.json_limits import narrower
from headwater.schemas.compatibility.json_nodes import (
    ANYTHING,
    Document,
    Node,
    allows_value,
    alternatives,
    kinds_of,
    property_of,
    said,
    unjudged,
)
from headwater.schemas.port import Schema

_WIDER: Final = {"integer": ("integer", "number")}


def unreadable_json(reader: Schema, writer: Schema) -> Iterator[Found]:
    """Where the reader's schema refuses what the writer's allows. Raises: Misuse: one of them is no JSON Schema."""
    to_read, written = Document(reader), Document(writer)
    for found in _Comparison(to_read, written).of(to_read.root, written.root, ""):
        yield found._replace(path=found.path.removeprefix("."))


class _Comparison:
    """Compares each pair of nodes once, as that of Avro does. Paths begin with a dot."""

    def __init__(self, reader: Document, writer: Document) -> None:
        self._reader, self._writer = reader, writer
        self._known: dict[tuple[int, int], list[Found]] = {}
        self._kept: list[Node] = []  # so that no other node gets the same place in memory

    def of(self, reader: Node, writer: Node, path: str) -> list[Found]:
        reader, writer = self._reader.followed(reader), self._writer.followed(writer)
        pair = (id(reader), id(writer))
        if isinstance(reader, bool) or isinstance(writer, bool) or pair not in self._known:
            self._kept += reader, writer
            self._known[pair] = []  # what is wrong with an object within itself is found where it began
            self._known[pair] = list(self._compared(reader, writer))
            return [found._replace(path=path + found.path) for found in self._known[pair]]
        return [found._replace(path=path + found.path) for found in self._known[pair][:1]]

    def _compared(self, reader: Node, writer: Node) -> Iterator[Found]:
        if reader is True or reader == {} or writer is False:
            return
        if reader is False:
            yield Found("", "closed", "it is not allowed any more")
            return
        assert isinstance(reader, dict)
        if writer is True or writer == {}:
            yield Found("", "open", f"anything may have been written there, and it is read as {said(reader)}")
            return
        assert isinstance(writer, dict)
        values = writer.get("enum", [writer["const"]] if "const" in writer else None)
        if values is not None:
            missing = [value for value in values if not allows_value(reader, value, self._reader)]
            if missing:
                yield Found("", "symbols", f"{said(reader)} does not have {', '.join(map(repr, missing))}")
            return
        branches = alternatives(writer)
        if branches is not None:
            for branch in branches:
                yield from self.of(reader, branch, "")
            return
        branches = alternatives(reader)
        if branches is not None:
            yield from self._branch(branches, reader, writer)
            return
        if "allOf" in reader:
            for part in reader["allOf"]:
                yield from self.of(part, writer, "")
            reader = {key: value for key, value in reader.items() if key != "allOf"}
        if "allOf" in writer:
            yield from self._part(reader, writer)
            return
        yield from self._plain(reader, writer)

    def _plain(self, reader: dict[str, Any], writer: dict[str, Any]) -> Iterator[Found]:
        if "enum" in reader or "const" in reader:
            yield Found("", "type", f"{said(writer)} is read as {said(reader)}")
            return
        if different := unjudged(reader, writer):
            yield Found("", "unknown", f"{', '.join(different)} cannot be compared and differs")
            return
        wanted, written = kinds_of(reader), kinds_of(writer)
        for kind in sorted(written):
            if not wanted.intersection(_WIDER.get(kind, (kind,))):
                yield Found("", "type", f"{said(writer)} is read as {said(reader)}")
                return
        for kind in sorted(written):
            yield from narrower(reader, writer, kind)
            if kind == "object":
                yield from self._object(reader, writer)
            elif kind == "array":
                yield from self._array(reader, writer)

    def _part(self, reader: dict[str, Any], writer: dict[str, Any]) -> list[Found]:
        """What is written fits all parts: it is enough that one of them says what the reader wants."""
        alone = {key: value for key, value in writer.items() if key != "allOf"}
        tried = [self.of(reader, part, "") for part in [alone, *writer["allOf"]] if part]
        return min(tried, key=len)

    def _branch(self, branches: list[Node], reader: dict[str, Any], writer: dict[str, Any]) -> list[Found]:
        """One alternative has to allow it. Where none does, the one that is nearest says why."""
        near: list[Found] = []
        for branch in branches:
            wrong = self.of(branch, writer, "")
            if not wrong:
                return []
            nearer = not any(one.path == "" for one in wrong) or self._same_name(branch, writer)
            if nearer and (not near or len(wrong) < len(near)):
                near = wrong
        return near or [Found("", "branch", f"{said(writer)} is read as {said(reader)}")]

    def _same_name(self, branch: Node, writer: dict[str, Any]) -> bool:
        branch = self._reader.followed(branch)
        return isinstance(branch, dict) and "title" in branch and branch.get("title") == writer.get("title")

    def _object(self, reader: dict[str, Any], writer: dict[str, Any]) -> Iterator[Found]:
        written_always = set(writer.get("required", ()))
        for name in reader.get("required", ()):
            if name not in written_always:
                yield Found(f".{name}", "missing", "it is required, and was not always written")
        names = dict.fromkeys([*writer.get("properties", {}), *reader.get("properties", {})])
        for name in names:
            yield from self.of(property_of(reader, name), property_of(writer, name), f".{name}")
        for pattern, below in writer.get("patternProperties", {}).items():
            of_reader = reader.get("patternProperties", {}).get(pattern, rest_of(reader))
            yield from self.of(of_reader, below, "{}")
        for below in [rest_of(reader), *reader.get("patternProperties", {}).values()]:
            yield from self.of(below, rest_of(writer), "{}")

    def _array(self, reader: dict[str, Any], writer: dict[str, Any]) -> Iterator[Found]:
        (wanted, wanted_rest), (written, written_rest) = places(reader), places(writer)
        most = writer.get("maxItems")
        for index in range(max(len(wanted), len(written))):
            if most is not None and index >= most:
                return
            below = written[index] if index < len(written) else written_rest
            yield from self.of(wanted[index] if index < len(wanted) else wanted_rest, below, f"[{index}]")
        if most is None or most > len(written):
            yield from self.of(wanted_rest, written_rest, "[]")


def rest_of(node: dict[str, Any]) -> Node:
    """What an object allows beside its named properties."""
    rest: Node = node.get("additionalProperties", ANYTHING)
    return rest


def places(node: dict[str, Any]) -> tuple[list[Node], Node]:
    """What an array allows at its first places, and behind them: as draft 7 says it, or 2020-12."""
    if "prefixItems" in node:
        return node["prefixItems"], node.get("items", ANYTHING)
    items = node.get("items", ANYTHING)
    if isinstance(items, list):
        return items, node.get("additionalItems", ANYTHING)
    return [], items
