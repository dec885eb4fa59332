"""The nodes of a JSON Schema: references followed, alternatives told apart, values tested. Draft 7 and 2020-12."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headwater.errors import Misuse
from headwater.schemas.compatibility.json_limits import fits_limits, matches
from headwater.schemas.compatibility.well_formed import check_json_node
from headwater.schemas.identity import parsed
from headwater.schemas.port import Schema

Node = bool | dict[str, Any]
ANYTHING: Final[Node] = True
KINDS: Final = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})

JUDGED: Final = frozenset(
    {"$ref", "$defs", "definitions", "type", "enum", "const", "anyOf", "oneOf", "allOf"}
    | {"properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"}
    | {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minLength", "maxLength", "pattern", "format"}
)
"""The keywords that are compared."""
WORDS: Final = frozenset(
    {"$schema", "$id", "$comment", "$anchor", "title", "description", "default", "examples"}
    | {"deprecated", "readOnly", "writeOnly"}
)
"""The keywords that allow and forbid nothing. All others are compared as they stand."""


class Document:
    """A schema whose references can be followed. Raises: Misuse: it is no JSON Schema."""

    def __init__(self, schema: Schema) -> None:
        self.root: Node = parsed(schema.text)
        check_json_node(self.root)
        self._others = {name: parsed(text) for name, text in schema.references}

    def followed(self, node: Node) -> Node:
        """What a node refers to. Raises: Misuse: to nothing."""
        seen = set()
        while isinstance(node, dict) and ("$ref" in node or _is_wrapped(node)):
            if "$ref" not in node:  # with a default beside it, a reference is written so
                node = node["allOf"][0]
                continue
            target = node["$ref"]
            if target in seen:
                raise Misuse(f"no JSON Schema: {target} refers to itself")
            seen.add(target)
            node = self._at(target)
        return node

    def _at(self, target: str) -> Node:
        document, _, pointer = target.partition("#")
        node: Any = self._others.get(document) if document else self.root
        for part in filter(None, pointer.split("/")):
            part = part.replace("~1", "/").replace("~0", "~")
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            raise Misuse(f"no JSON Schema: there is nothing at {target}")
        check_json_node(node)  # it may stand where no schema is looked for
        found: Node = node
        return found


def _is_wrapped(node: dict[str, Any]) -> bool:
    return "allOf" in node and len(node["allOf"]) == 1 and not node.keys() - WORDS - {"allOf"}


def alternatives(node: dict[str, Any]) -> list[Node] | None:
    """The alternatives of which one applies, each whole; None: there is one only. `oneOf` is taken for `anyOf`: what
    fits two of its alternatives is a mistake in the schema."""
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf", *WORDS)}
    for key in ("anyOf", "oneOf"):
        if key in node:
            others = rest if key == "anyOf" and "oneOf" not in node else {**rest}
            if key == "anyOf" and "oneOf" in node:
                others["oneOf"] = node["oneOf"]
            return [_both(others, branch) for branch in node[key]]
    kinds = node.get("type")
    if isinstance(kinds, list):
        return [{**node, "type": kind} for kind in kinds]
    return None


def _both(rest: dict[str, Any], branch: Node) -> Node:
    if not {key for key in rest if key not in ("$defs", "definitions")} or branch is False:
        return branch
    if branch is True:
        return rest
    return {"allOf": [rest, branch]}


def kinds_of(node: dict[str, Any]) -> frozenset[str]:
    """The kinds of JSON that a node allows, alternatives and enumerations aside."""
    kind = node.get("type")
    if kind is None:
        return KINDS - {"integer"}
    if kind not in KINDS:
        raise Misuse(f"no JSON Schema: there is no type {kind!r}")
    return frozenset({kind})


def property_of(node: dict[str, Any], name: str) -> Node:
    """What an object allows under a name."""
    found: Node | None = node.get("properties", {}).get(name)
    if found is not None:
        return found
    for pattern, below in node.get("patternProperties", {}).items():
        if matches(pattern, name):
            matched: Node = below
            return matched
    rest: Node = node.get("additionalProperties", ANYTHING)
    return rest


def unjudged(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> list[str]:
    """The keywords that the reader has, that are not compared, and that the writer does not have in the same way."""
    return [key for key in reader if key not in JUDGED | WORDS and writer.get(key, ...) != reader[key]]


def allows_value(node: Node, value: Any, document: Document) -> bool:
    """Whether a node allows a value: a plain one, as enumerations hold them."""
    node = document.followed(node)
    if isinstance(node, bool):
        return node
    branches = alternatives(node)
    if branches is not None:
        return any(allows_value(branch, value, document) for branch in branches)
    if not all(allows_value(part, value, document) for part in node.get("allOf", ())):
        return False
    if "enum" in node:
        return any(_same(value, one) for one in node["enum"])
    if "const" in node:
        return _same(value, node["const"])
    kind = _kind_of(value)
    if not kinds_of(node).intersection({kind, "number"} if kind == "integer" else {kind}):
        return False
    return kind not in ("array", "object") and fits_limits(node, value)


def _kind_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def said(node: Node) -> str:
    """A node in a few words."""
    if isinstance(node, bool):
        return "anything" if node else "nothing"
    if "const" in node:
        return repr(node["const"])
    if "enum" in node:
        return f"the enumeration {', '.join(map(repr, node['enum'][:5]))}{', …' if len(node['enum']) > 5 else ''}"
    for key in ("anyOf", "oneOf"):
        if key in node:
            return " or ".join(map(said, node[key]))
    if "$ref" in node:
        return str(node["$ref"].rpartition("/")[2])
    kind = node.get("type", "anything")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    title = node.get("title")
    return f"{words} ({title or node.get('format')})" if title or node.get("format") else words
