"""A value that is to take the place of a dead letter's own: whether whoever retries it could read it at all.

What it would do is not asked: a retry finds that out, and what fails again stays set aside. What nobody can read would
only take the place of a value that somebody might mend.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headwater.errors import Misuse
from headwater.failures.held import HeldRecord
from headwater.log.topology import events_topic
from headwater.messages.builtin import Reverted
from headwater.messages.declare import Event, Message, family_of
from headwater.messages.unreadable import Unreadable
from headwater.owners.arriving import parse_source
from headwater.schemas.topics import Codecs


def refuse_unreadable(row: HeldRecord, value: bytes, events: Sequence[type[Event]], codecs: Codecs) -> None:
    """Of a topic whose events the app knows: a value that is none of them, of whatever type. Of another: one that is no
    JSON where the letter's own is.

    Arguments: events: one of each family. Raises: Misuse: it cannot be read. Unavailable: a registry has to be asked.
    """
    edited = msgspec.structs.replace(row, value=value).record()
    topic = _source_of(row)
    for one in events:
        if events_topic(str(one.__hw__.entity)) != topic:
            continue
        classes: list[type[Message]] = [family_of(one), Reverted]
        codec = codecs.of(topic, classes)
        # A process is told of an event as its forwarder has read it: without what the event's own headers say of it.
        [content] = codec.contents([edited]) if topic == row.topic else [value]
        found = codec.decode(content)
        if isinstance(found, Unreadable):
            raise Misuse(_refused(f"is no event of {topic}: {found.reason}"))
        return
    wrong = _no_json(value)
    if wrong is not None and (row.value is None or _no_json(row.value) is None):
        raise Misuse(_refused(f"is no JSON: {wrong}"))


def _source_of(row: HeldRecord) -> str:
    """The topic that an event stands in. A process has what it is told of in a topic of its own."""
    source = dict(row.headers).get("hw_source")
    if source is None:
        return row.topic
    try:
        _, topic, _ = parse_source(source.decode()).stream.split("|")
    except ValueError:  # somebody else's header
        return row.topic
    return topic


def _no_json(value: bytes) -> str | None:
    """Why it is none."""
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return str(error)
    return None


def _refused(why: str) -> str:
    return f"the new value {why}; nothing was retried, and the dead letter has its own value still: correct the new one"
