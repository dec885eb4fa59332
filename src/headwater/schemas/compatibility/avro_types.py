"""An Avro schema as a graph of types: names looked up, name spaces applied. A record may contain itself.

As in the specification of Avro 1.12, "Names" and "Complex Types".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from headwater.errors import Misuse
from headwater.schemas.compatibility.well_formed import check_avro_node
from headwater.schemas.identity import parsed
from headwater.schemas.port import Schema

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED: Final = ("record", "error", "enum", "fixed")


@dataclass(slots=True)
class AvroField:
    """Arguments: name; type; has_default; aliases: names that it had before."""

    name: str
    type: AvroType
    has_default: bool
    aliases: tuple[str, ...]


@dataclass(slots=True)
class AvroType:
    """Arguments: kind: a primitive, or record, enum, fixed, array, map, union; name: the full name, with its name space
    (empty: none); aliases: full names that it had before; fields: of a record; symbols, default: of an enumeration;
    size: of a fixed one, in bytes; inner: what an array or map holds, or the branches of a union; logical: the logical
    type, of a decimal with its scale (empty: none); digits: of a decimal."""

    kind: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    fields: list[AvroField] = field(default_factory=list)
    symbols: tuple[str, ...] = ()
    default: str | None = None
    size: int = 0
    inner: list[AvroType] = field(default_factory=list)
    logical: str = ""
    digits: int = 0

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        if self.kind == "union":
            return "a union of " + " and ".join(map(str, self.inner))
        if self.kind in ("array", "map"):
            inner = self.inner[0]
            return f"{self.kind} of {inner.short_name or inner.logical or inner.kind}"
        if self.digits:
            return f"a decimal of {self.digits} digits, {self.logical.partition('.')[2]} of them after the point"
        return self.logical or f"{self.kind} {self.short_name}".strip()


def avro_type(schema: Schema) -> AvroType:
    """Raises: Misuse: it is no Avro schema; with the place in it."""
    names: dict[str, AvroType] = {}
    for _, text in schema.references:
        _type(parsed(text), "", names, "")
    return _type(parsed(schema.text), "", names, "")


def _type(node: Any, space: str, names: dict[str, AvroType], path: str) -> AvroType:
    if isinstance(node, str):
        return _named(node, space, names, path)
    if isinstance(node, list):
        return AvroType("union", inner=[_type(one, space, names, path) for one in node])
    check_avro_node(node)
    kind = node["type"]
    if not isinstance(kind, str):
        return _type(kind, space, names, path)
    if kind in NAMED:
        return _defined(kind, node, space, names, path)
    if kind in ("array", "map"):
        key = "items" if kind == "array" else "values"
        if key not in node:
            raise Misuse(f"no Avro schema, at {path or 'its beginning'}: a {kind} has no {key!r}")
        return AvroType(kind, inner=[_type(node[key], space, names, f"{path}[]")])
    found = _named(kind, space, names, path)
    if found.kind not in PRIMITIVES:
        return found
    logical, digits = _logical(node)
    return AvroType(found.kind, logical=logical, digits=digits)


def _named(name: str, space: str, names: dict[str, AvroType], path: str) -> AvroType:
    if name in PRIMITIVES:
        return AvroType(name)
    full = name if "." in name or not space else f"{space}.{name}"
    found = names.get(full) or names.get(name)
    if found is None:
        raise Misuse(f"no Avro schema, at {path or 'its beginning'}: there is no type {name!r}")
    return found


def _defined(kind: str, node: dict[str, Any], space: str, names: dict[str, AvroType], path: str) -> AvroType:
    name = node.get("name")
    if not name:
        raise Misuse(f"no Avro schema, at {path or 'its beginning'}: a {kind} has no name")
    own_space = node.get("namespace", space)
    full = name if "." in name or not own_space else f"{own_space}.{name}"
    space = full.rpartition(".")[0]
    made = AvroType("record" if kind == "error" else kind, full, _full(node.get("aliases", ()), space))
    if full in names:
        raise Misuse(f"no Avro schema, at {path or 'its beginning'}: {full} is defined twice")
    names[full] = made
    if kind == "enum":
        made.symbols, made.default = tuple(node.get("symbols", ())), node.get("default")
    elif kind == "fixed":
        made.size = node.get("size", 0)
        made.logical, made.digits = _logical(node)
    else:
        for one in node.get("fields", ()):
            below = f"{path}.{one['name']}".removeprefix(".")
            made.fields.append(
                AvroField(
                    one["name"],
                    _type(one["type"], space, names, below),
                    "default" in one,
                    tuple(one.get("aliases", ())),
                )
            )
    return made


def _full(aliases: Any, space: str) -> tuple[str, ...]:
    return tuple(alias if "." in alias or not space else f"{space}.{alias}" for alias in aliases)


def _logical(node: dict[str, Any]) -> tuple[str, int]:
    """The logical type, and the digits of a decimal. One that is not as it should be is none, as specified."""
    logical = node.get("logicalType", node.get("format"))  # `format`: our own, on texts
    if logical != "decimal" or "logicalType" not in node:
        return (logical, 0) if isinstance(logical, str) else ("", 0)
    digits, scale = node.get("precision"), node.get("scale", 0)
    return (f"decimal.{scale}", digits) if type(digits) is int and type(scale) is int else ("", 0)
