"""A value that is to take the place of a dead letter's own: whether whoever retries it could read it at all, and
whether it is the same entity's.

What it would do is not asked: a retry finds that out, and what fails again stays set aside. What nobody can read would
only take the place of a value that somebody might mend. One of another entity would be applied in a place that is not
its own: before what waits under its own key, or after what came later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from headwater.errors import Misuse
from headwater.failures.held import HeldRecord
from headwater.log.topology import events_topic
from headwater.messages.builtin import Reverted
from headwater.messages.codec import Codec
from headwater.messages.declare import Event, family_of, key_of
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasting import parts_of
from headwater.owners.arriving import parse_source
from headwater.schemas.topics import Codecs


def refuse_unfit(row: HeldRecord, value: bytes, events: Sequence[type[Event]], codecs: Codecs) -> None:
    """Of a topic whose events the app knows: a value that is none of them, of whatever type, or is another entity's. Of
    another topic: one that is no JSON where the letter's own is.

    Arguments: events: one of each family. Raises: Misuse: it cannot be read, or is about another entity. Unavailable: a
    registry has to be asked.
    """
    topic = _source_of(row)
    for one in events:
        if events_topic(str(one.__hw__.entity)) == topic:
            classes: list[type[Event]] = [cast("type[Event]", family_of(one)), Reverted]
            _refuse_unfit_event(row, value, topic, codecs.of(topic, classes))
            return
    wrong = _no_json(value)
    if wrong is not None and (row.value is None or _no_json(row.value) is None):
        raise Misuse(_refused(f"is no JSON: {wrong}"))


def _refuse_unfit_event(row: HeldRecord, value: bytes, topic: str, codec: Codec[Event]) -> None:
    # A process is told of an event as its forwarder has read it: without what the event's own headers say of it.
    own = topic == row.topic

    def read(letter: HeldRecord) -> Event | Unreadable:
        [content] = codec.contents([letter.record()]) if own else [letter.value]
        return codec.decode(content)

    found = read(msgspec.structs.replace(row, value=value))
    if isinstance(found, Unreadable):
        raise Misuse(_refused(f"is no event of {topic}: {found.reason}"))
    key = row.key if own else dict(row.headers).get("hw_key")
    entities = _entities(found)
    if key is None or not entities or _plain(key) in entities:
        return
    known = _entities_known(key, read(row))
    if known and entities.isdisjoint(known):
        there, here = (" and ".join(map(repr, sorted(one))) for one in (entities, known))
        raise Misuse(_refused(f"is an event of {there}, and the dead letter is one of {here}"))


def _entities(event: Event) -> set[str]:
    """The ids that the events say which one is read as; none: they do not say, as of a revert."""
    return {key_of(one) for _, one in parts_of(event) if one.__hw__.key_field is not None}


def _entities_known(key: bytes, before: Event | Unreadable) -> set[str]:
    """Whose event a dead letter is. Where others write, a record may have a key that is no entity's id: then its own
    value says it. Arguments: key: of the record; before: what its value says."""
    known = set() if isinstance(before, Unreadable) else _entities(before)
    text = _plain(key)
    return known if text is None else known | {text}


def _plain(key: bytes) -> str | None:
    """The text of a record's key; None: it is none, or JSON, so no id as it stands."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and text[:1] not in ("", "{", "[", '"') else None


def _source_of(row: HeldRecord) -> str:
    """The topic that an event stands in. A process has what it is told of in a topic of its own."""
    source = dict(row.headers).get("hw_source")
    if source is None:
        return row.topic
    try:
        topic, _ = parse_source(source.decode()).place
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
