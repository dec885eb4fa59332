"""The schema of states: which code they were made by, as each state record says.

    2-9c01f2aa-51d07e3b         version, fields, code of the @evolves methods and of the functions that read old events

The version is the author's, `class Order(hw.Aggregate[OrderEvent], version=2)`, and says which of two schemas is newer.
Fields and code are fingerprints, and say no more than that something changed:

| a stored state's schema | what an owner does with it |
|---|---|
| the same | takes it as it is |
| an older version, or the same with other fields or code | folds it anew from the events, before it decides anything |
| a newer version | leaves it to those who have newer code |

An older process must not even fold a newer state anew: it would write it back without what it does not know.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from headwater.entities.aggregate import handlers_of
from headwater.entities.code import code_of
from headwater.messages.upcasts import functions_of


def schema_of(aggregate: type[Any]) -> str:
    """The schema of an aggregate's states."""
    return f"{aggregate.__hw__.version}-{shape_of_fields(aggregate)}-{code_of_states(aggregate)[:8]}"


def code_of_states(aggregate: type[Any]) -> str:
    """The fingerprint of what states are made by: its @evolves methods, and what reads the old events for them."""
    evolves = [handler for handler in handlers_of(aggregate) if handler.role == "evolves"]
    code = code_of([handler.function for handler in evolves], aggregate)
    upcasts = functions_of(message for handler in evolves for message in handler.messages)
    return code if not upcasts else code_of([*(handler.function for handler in evolves), *upcasts], aggregate)


def shape_of_fields(state: type[Any]) -> str:
    """A fingerprint of a state's fields: changes when a field, its type or its default does."""
    _, components = msgspec.json.schema_components([state])
    for component in components.values():
        component.pop("description", None)  # a docstring
    return hashlib.blake2b(msgspec.json.encode(components, order="sorted"), digest_size=4).hexdigest()


def version_of(schema: str) -> int:
    """The author's version in a schema; 0: it says none."""
    version, dash, _ = schema.partition("-")
    return int(version) if dash and version.isdecimal() else 0


def parts_that_differ(one: str, other: str) -> list[str]:
    """Which of "version", "fields" and "code" differ in two schemas."""
    names = ("version", "fields", "code")
    pairs = zip(one.split("-"), other.split("-"), strict=False)
    return [name for name, (left, right) in zip(names, pairs, strict=False) if left != right]
