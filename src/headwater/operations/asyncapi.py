"""A catalogue as an AsyncAPI 3.0 document: channels are topics, each message has its schema, operations say who sends
and who receives.

Schemas are JSON Schemas, as records have them; the values in them are components of their own, since references are
looked up from the root of the document.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from headwater.operations.catalogue import Catalogue, Entity, Said

VERSION = "3.0.0"


def asyncapi_of(catalogue: Catalogue) -> dict[str, Any]:
    """The document, as JSON has it. Its own version is a digest: another one when anything in it is another."""
    document = _Document()
    for entity in catalogue.entities:
        document.add(entity)
    parts = {
        "channels": document.channels,
        "operations": document.operations,
        "components": {"messages": document.messages, "schemas": document.schemas},
    }
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=6).hexdigest()
    info = {"title": catalogue.app, "version": digest, "description": "Written by `hw catalogue` from the code."}
    return {"asyncapi": VERSION, "info": info, "defaultContentType": "application/json", **parts}


class _Document:
    def __init__(self) -> None:
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}
        self.schemas: dict[str, Any] = {}

    def add(self, entity: Entity) -> None:
        own = entity.owner is not None
        if entity.events:
            self._channel(entity, entity.events_topic, "Events", entity.events)
        if entity.commands:
            self._channel(entity, entity.commands_topic, "Commands", entity.commands)
        if own and entity.events:
            self._operation("send", entity.events_topic, str(entity.owner), entity.events)
        for who, said in _by_class(entity.events, "to").items():
            self._operation("receive", entity.events_topic, who, said)
        for who, said in _by_class(entity.commands, "by").items():
            self._operation("send", entity.commands_topic, who, said)
        for who, said in _by_class(entity.commands, "to").items():
            self._operation("receive", entity.commands_topic, who, said)

    def _channel(self, entity: Entity, topic: str, what: str, said: Iterable[Said]) -> None:
        messages = {_key(one.name): {"$ref": f"#/components/messages/{self._message(entity, one)}"} for one in said}
        about = entity.doc.partition("\n")[0]
        self.channels[_key(topic)] = {
            "address": topic,
            "title": f"{what} of {entity.name}",
            **({"description": about} if about else {}),
            "messages": messages,
        }

    def _message(self, entity: Entity, one: Said) -> str:
        key = _key(f"{entity.name}.{one.name}")
        self._add_schema(key, one.schema)
        self.messages[key] = {
            "name": one.name,
            "title": f"{one.name}, version {one.version}",
            **({"summary": one.doc.partition("\n")[0]} if one.doc else {}),
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{key}"},
            "x-version": one.version,
            "x-key": one.key,
            "x-old-versions": [{"version": old.version, "read-by": old.function} for old in one.old],
        }
        return key

    def _add_schema(self, key: str, schema: Mapping[str, Any]) -> None:
        for name, definition in schema.get("definitions", {}).items():
            self.schemas[_key(f"{key}.{name}")] = _moved(definition, key)
        own = {name: value for name, value in schema.items() if name not in ("definitions", "$schema")}
        self.schemas[key] = _moved(own, key)

    def _operation(self, action: str, topic: str, who: str, said: Iterable[Said]) -> None:
        channel = f"#/channels/{_key(topic)}"
        self.operations[_key(f"{who}.{action}.{topic}")] = {
            "action": action,
            "channel": {"$ref": channel},
            "title": f"{who} {action}s",
            "messages": [{"$ref": f"{channel}/messages/{_key(one.name)}"} for one in said],
        }


def _by_class(said: Iterable[Said], side: str) -> dict[str, list[Said]]:
    """The messages of each class whose methods say or hear them."""
    found: dict[str, list[Said]] = {}
    for one in said:
        for who in dict.fromkeys(title.partition(".")[0] for title in getattr(one, side)):
            found.setdefault(who, []).append(one)
    return found


def _moved(schema: Any, key: str) -> Any:
    """A schema whose references are to components."""
    if isinstance(schema, dict):
        return {name: (_reference if name == "$ref" else _moved)(value, key) for name, value in schema.items()}
    return [_moved(one, key) for one in schema] if isinstance(schema, list) else schema


def _reference(place: str, key: str) -> str:
    name = place.removeprefix("#").removeprefix("/definitions/")
    return f"#/components/schemas/{_key(f'{key}.{name}' if name else key)}"


def _key(name: str) -> str:
    """The letters that a key of a component may have."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
