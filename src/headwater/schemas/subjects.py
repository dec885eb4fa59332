"""Subjects: what is registered under one name, revision after revision, each compatible with those before it.

    order-events/OrderPlaced.v1          topic, wire name of the event, version of the event

The event's version is a part of it: between two versions there is an upcaster, so only the revisions of one version
have to be compatible with each other. A registry of others calls it by a name of its own, as its strategy says.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from headwater.errors import Misuse
from headwater.messages.declare import Message

_TEXT = re.compile(r"(?P<topic>[^/]+)/(?P<name>.+)\.v(?P<version>[1-9][0-9]*)", re.ASCII)


class Subject(NamedTuple):
    """Arguments: topic; name: the event's wire name; version: the event's. `str()` gives the text that registries
    take."""

    topic: str
    name: str
    version: int = 1

    def __str__(self) -> str:
        return f"{self.topic}/{self.name}.v{self.version}"


def subject_for(topic: str, cls: type[Message]) -> str:
    """The subject of a message class in a topic."""
    return str(Subject(topic, cls.__hw__.wire_name, cls.__hw__.version))


def is_subject(text: str) -> bool:
    return _TEXT.fullmatch(text) is not None


def parsed_subject(text: str) -> Subject:
    """Raises: Misuse: it is no subject."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise Misuse(f"{text!r} is no subject; one is TOPIC/NAME.vVERSION, such as order-events/OrderPlaced.v1")
    return Subject(found["topic"], found["name"], int(found["version"]))
