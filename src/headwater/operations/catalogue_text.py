"""A catalogue as a page of Markdown: to be kept in the repository, and read in a review."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from headwater.operations.catalogue import Catalogue, Entity, Old, Said

HEAD = ("eventType", "eventVersion", "commandType", "commandVersion", "timestamp")


def page_of(catalogue: Catalogue) -> str:
    """The page."""
    return "\n\n".join(_page(catalogue)) + "\n"


def _page(catalogue: Catalogue) -> Iterator[str]:
    yield f"# Events of {catalogue.app}"
    yield "Written by `hw catalogue` from the code. Fields are called as in records; those in **bold** must be there."
    for entity in catalogue.entities:
        yield from _entity(entity)
    if catalogue.silent:
        yield f"What {_names(catalogue.silent)} may return is not said: annotate it with the classes."


def _entity(entity: Entity) -> Iterator[str]:
    yield f"## {entity.name}"
    owner = f"Owned by `{entity.owner}`" if entity.owner is not None else "Of another service"
    topics = [entity.events_topic] if entity.events else []
    topics += [entity.commands_topic] if entity.commands else []
    yield f"{owner}; {' and '.join(f'`{topic}`' for topic in topics)}."
    if entity.doc:
        yield entity.doc
    for event in entity.events:
        yield from _said("Event", event, "emitted by", "heard by")
    if entity.gone:
        yield "### Events that are written no more"
        lines = ["| event | version | read by |", "|---|---|---|"]
        yield "\n".join([*lines, *(f"| `{one.name}` | {one.version} | {_read_by(one)} |" for one in entity.gone)])
    for command in entity.commands:
        yield from _said("Command", command, "sent by", "decided by")


def _said(kind: str, one: Said, by: str, to: str) -> Iterator[str]:
    version = f", version {one.version}" if one.version > 1 else ""
    yield f"### {kind} {one.name}{version}"
    if one.doc:
        yield one.doc
    yield _fields(one.schema, one.key)
    definitions: Mapping[str, Any] = one.schema.get("definitions", {})
    for name, schema in definitions.items():
        yield f"`{name}`:"
        yield _fields(schema, "")
    lines = [f"- {by}: {_names(one.by)}"] if one.by or kind == "Event" else []
    lines.append(f"- {to}: {_names(one.to)}")
    lines += [f"- version {old.version} is read by {_read_by(old)}" for old in one.old]
    yield "\n".join(lines)


def _fields(schema: Mapping[str, Any], key: str) -> str:
    required = set(schema.get("required", ()))
    lines = ["| field | type | |", "|---|---|---|"]
    for name, one in schema["properties"].items():
        if name in HEAD:
            continue
        notes = ["names the entity"] if name == key else []
        if "default" in one:
            notes.append(f"`{json.dumps(one['default'], ensure_ascii=False)}` if it is missing")
        shown = f"**{name}**" if name in required else name
        lines.append(f"| {shown} | {_escaped(words_of(one))} | {'; '.join(notes)} |")
    return "\n".join(lines)


def words_of(schema: Mapping[str, Any]) -> str:
    """A type in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2].replace("#", "itself")
    if "anyOf" in schema:
        parts = [words_of(one) for one in schema["anyOf"]]
        return " or ".join([part for part in parts if part != "null"] + ["null"] * ("null" in parts))
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return words_of(schema["allOf"][0])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "enum" in schema:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    match schema.get("type"):
        case "array":
            items = schema.get("items", {})
            if isinstance(items, list):
                return f"tuple of {', '.join(map(words_of, items))}"
            return f"{'set' if schema.get('uniqueItems') else 'list'} of {words_of(items)}"
        case "object":
            inside = schema.get("additionalProperties")
            return f"map to {words_of(inside)}" if isinstance(inside, dict) else "object"
        case "string":
            return str(schema.get("format") or schema.get("contentEncoding") or "string")
        case None:
            return "anything"
        case other:
            return str(other)


def _read_by(old: Old) -> str:
    doc = old.doc.partition("\n")[0]
    return f"`{old.function}`" + (f": {_escaped(doc)}" if doc else "")


def _names(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nobody here"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
