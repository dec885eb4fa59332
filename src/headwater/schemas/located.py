"""JSON of events whose schemas are registered: the header `ce_dataschema` says where each one's is.

The schema is no part of the value, so nothing depends on it: an event whose schema is at no known place is written
without the header, as in a test that runs an app in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from headwater.messages.codec import JSON, Header
from headwater.messages.declare import Message
from headwater.messages.json_codec import JsonCodec
from headwater.schemas.subjects import subject_for

M = TypeVar("M", bound=Message)

DATASCHEMA = "ce_dataschema"


class LocatedJson(JsonCodec[M]):
    """Arguments: classes; topic; locations: URIs of schemas by subject, which may come to be known later."""

    def __init__(self, classes: Iterable[type[M]], topic: str, locations: Mapping[str, str]) -> None:
        super().__init__(classes)
        self._locations = locations
        self._subjects = {cls: subject_for(topic, cls) for cls in self.classes.values()}

    def headers(self, cls: type[M]) -> tuple[Header, ...]:
        where = self._locations.get(self._subjects[cls])
        return (JSON,) if where is None else (JSON, (DATASCHEMA, where.encode()))
