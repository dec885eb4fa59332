"""Whether a reader's Avro schema reads what was written with another: "Schema Resolution" of the specification, and one
rule more.

Resolution looks at the encoding alone. A time in milliseconds that is read as microseconds, or a decimal whose scale
differs, is decoded without an error and means something else (the cause `meaning`). Other checkers let that pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headwater.schemas.compatibility.avro_types import AvroField, AvroType, avro_type
from headwater.schemas.compatibility.found import Found
from headwater.schemas.port import Schema

PROMOTED: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""What is written -> what else it may be read as."""


def unreadable_avro(reader: Schema, writer: Schema) -> Iterator[Found]:
    """Where the reader's schema cannot read what the writer's wrote. Raises: Misuse: one of them is no Avro schema."""
    for found in _Comparison().of(avro_type(reader), avro_type(writer), ""):
        yield found._replace(path=found.path.removeprefix("."))


class _Comparison:
    """Compares each pair of types once: records may contain themselves, and be used in many fields. Where a pair that
    does not fit is met again, its first trouble is told again. Paths begin with a dot."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], list[Found]] = {}

    def of(self, reader: AvroType, writer: AvroType, path: str) -> list[Found]:
        pair = (id(reader), id(writer))
        if pair not in self._known:
            self._known[pair] = []  # what is wrong with a record within itself is found where it began
            self._known[pair] = list(self._compared(reader, writer))
            return [_below(path, one) for one in self._known[pair]]
        return [_below(path, one) for one in self._known[pair][:1]]

    def _compared(self, reader: AvroType, writer: AvroType) -> Iterator[Found]:
        if writer.kind == "union":
            for branch in writer.inner:
                yield from self.of(reader, branch, "")
        elif reader.kind == "union":
            yield from self._branch(reader, writer)
        elif reader.kind != writer.kind and reader.kind not in PROMOTED.get(writer.kind, ()):
            yield Found("", "type", f"{writer} is read as {reader}")
        elif _means_another(reader, writer):
            yield Found("", "meaning", f"{writer} is read as {reader}")
        elif reader.kind in ("array", "map"):
            yield from self.of(reader.inner[0], writer.inner[0], "[]")
        elif reader.name and not _same_name(reader, writer):
            yield Found("", "name", f"{writer.kind} {writer.name} is read as {reader.name}")
        elif reader.kind == "record":
            for field in reader.fields:
                yield from self._field(field, writer)
        elif reader.kind == "enum":
            yield from _symbols(reader, writer)
        elif reader.size != writer.size:
            yield Found("", "type", f"{writer.size} bytes are read as {reader.size}")

    def _branch(self, reader: AvroType, writer: AvroType) -> list[Found]:
        """One branch has to read it. Where none does, the one that is nearest says why."""
        near: list[Found] = []
        for branch in reader.inner:
            wrong = self.of(branch, writer, "")
            if not wrong:
                return []
            alike = branch.kind == writer.kind and (not writer.name or _same_name(branch, writer))
            if alike or (not near and all(one.cause == "meaning" for one in wrong)):
                near = wrong
        return near or [Found("", "branch", f"{writer} is read as {reader}")]

    def _field(self, field: AvroField, writer: AvroType) -> list[Found]:
        written = {one.name: one for one in writer.fields}
        for name in (field.name, *field.aliases):
            if name in written:
                return self.of(field.type, written[name].type, f".{field.name}")
        if field.has_default:
            return []
        return [Found(f".{field.name}", "missing", "it was not written and has no default")]


def _below(path: str, found: Found) -> Found:
    return found._replace(path=path + found.path)


def _symbols(reader: AvroType, writer: AvroType) -> Iterator[Found]:
    missing = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
    if missing and reader.default not in reader.symbols:
        yield Found("", "symbols", f"the enumeration {reader.short_name} has no {', '.join(missing)}")


def _same_name(reader: AvroType, writer: AvroType) -> bool:
    """Name spaces may differ: "both schemas are records with the same (unqualified) name"."""
    return reader.short_name == writer.short_name or writer.name in reader.aliases


def _means_another(reader: AvroType, writer: AvroType) -> bool:
    """Whether values of the same encoding mean something else to the reader, or may be none that it knows. One that
    sees no meaning in them, a text or a number, takes any."""
    if not reader.logical:
        return False
    return reader.logical != writer.logical or reader.digits < writer.digits
