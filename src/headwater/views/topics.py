"""The topics that a view reads, however deep in it."""

from __future__ import annotations

from typing import NamedTuple

from headwater.entities.behaviour import Behaviour
from headwater.log.topology import events_topic
from headwater.messages.builtin import Reverted
from headwater.messages.declare import Event
from headwater.views.nesting import leaves
from headwater.views.plan import Relation, View


class ReadTopic(NamedTuple):
    """Arguments: name; entity: whose events are in it, "": it is a topic that others describe; events: the classes
    that are read."""

    name: str
    entity: str
    events: list[type[Event]]


def topics_of(view: View) -> list[ReadTopic]:
    """The topics, each once."""
    found: dict[str, dict[type[Event], None]] = {}
    entities: dict[str, str] = {}
    for relation in leaves(view):
        topic, entity = topic_of(relation)
        entities[topic] = entity or entities.get(topic, "")
        found.setdefault(topic, {}).update(dict.fromkeys(events_of(relation)))
    return [ReadTopic(topic, entities[topic], list(events)) for topic, events in found.items()]


def topic_of(relation: Relation) -> tuple[str, str]:
    """The topic whose records a relation is made of, and the entity type whose events they are, or ""."""
    if relation.origin == "records":
        return relation.name, ""
    entity = relation.name.removesuffix("-state" if relation.origin == "states" else "-events")
    return events_topic(entity), entity


def events_of(relation: Relation) -> list[type[Event]]:
    """The classes of events that it is made of; of what others describe none, and one stands for it in codecs."""
    if relation.origin == "records":
        return [Reverted]
    classes = [kind.cls for kind in relation.types if kind.cls is not None]
    if relation.origin == "states":
        return [event for cls in classes for event in Behaviour(cls).events.classes.values()]
    return classes
