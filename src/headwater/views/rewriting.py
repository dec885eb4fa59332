"""Doubtful records, read one by one as their class declares them and written anew in the usual form.

A record of today's version is read by its class cut down to the fields that a view uses (see `narrowing`); anything
else, as an old version or Avro, by the codec of its topic, whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from headwater.log.port import Record
from headwater.messages.builtin import Dropped, Parts
from headwater.messages.codec import Codec
from headwater.messages.json_codec import JsonCodec
from headwater.messages.together import BROKEN
from headwater.messages.unreadable import Unreadable
from headwater.projections.gathering import bad_data
from headwater.views.fitting import unfit
from headwater.views.narrowing import narrowed
from headwater.views.plan import EventType


class Head(msgspec.Struct, rename={"type": "eventType", "version": "eventVersion"}):
    """What a record says of itself."""

    type: str | None = None
    version: int = 1


HEAD: Final = msgspec.json.Decoder(Head)


class Rewriting:
    """Arguments: kinds: the event types that are read; codec: of their topic."""

    def __init__(self, kinds: Sequence[EventType], codec: Codec[Any]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._codec = codec
        self._json: JsonCodec[Any] = JsonCodec([kind.cls for kind in kinds if kind.cls is not None])
        self._narrow = {kind.name: msgspec.json.Decoder(narrowed(kind)) for kind in kinds}
        self.prefixes = {kind.name: prefix_of(kind) for kind in kinds}

    def texts(self, record: Record) -> list[str] | Unreadable:
        """The events of today in a record, of the types that are read; an old one may be several. Raises: BadData: a
        number does not fit."""
        found = self._fields_of(record)
        if found is None:
            [content] = self._codec.contents([record])
            found = self._codec.decode(content)
        if isinstance(found, Unreadable):
            return [] if found.kind == "unknown_type" else found
        if isinstance(found, Dropped):
            return []
        events = [event for _, event in found.events] if isinstance(found, Parts) else [found]
        return [text for event in events for text in self._written(event, record)]

    def _fields_of(self, record: Record) -> Any:
        """What a record of today's version says in the fields that are used; None: it is for the codec."""
        value = record.value or b""
        try:
            head = HEAD.decode(value)
        except BROKEN:
            return None
        kind = None if head.type is None else self._kinds.get(head.type)
        if kind is None or self._codec.upcasting.takes(kind.name, head.version):
            return None
        assert kind.cls is not None, "events have classes"
        if head.version != kind.cls.__hw__.version:
            return None
        try:
            return kind, self._narrow[kind.name].decode(value)
        except BROKEN as error:
            return Unreadable("wrong_type", kind.name, head.version, str(error))

    def _written(self, found: Any, record: Record) -> Iterator[str]:
        if isinstance(found, tuple):
            kind, content = found
            text = msgspec.json.encode(content).decode()
            written = self.prefixes[kind.name] + text[1:] if kind.fields else self.prefixes[kind.name][:-1] + "}"
        else:
            kind = self._kinds.get(str(type(found).__hw__.wire_name))
            if kind is None:
                return
            content, written = found, self._json.encode(found).decode()
        refuse_unfit(kind, content, record)
        yield written


def refuse_unfit(kind: EventType, content: Any, record: Record) -> None:
    """Raises: BadData: a number of an event does not fit."""
    values = msgspec.to_builtins(content, builtin_types=(Decimal,))
    for field in kind.fields:
        for why in unfit(values.get(field.wire), field.type):
            raise bad_data(Unreadable("wrong_type", kind.name, None, why), record)


def prefix_of(kind: EventType) -> str:
    """What a record of the type begins with, as this library writes it."""
    assert kind.cls is not None, "events have classes"
    name = msgspec.json.encode(kind.name).decode()
    return f'{{"eventType":{name},"eventVersion":{kind.cls.__hw__.version},'
