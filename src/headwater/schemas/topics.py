"""Which codec reads and writes a topic: JSON, unless the app says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from headwater.errors import Misuse
from headwater.messages.codec import Codec
from headwater.messages.declare import Message
from headwater.messages.json_codec import JsonCodec
from headwater.schemas.codec import FORMATS, Format, SchemaCodec
from headwater.schemas.located import LocatedJson
from headwater.schemas.port import SchemaSource

M = TypeVar("M", bound=Message)


class Codecs:
    """Arguments: formats: by topic; of the topics that it names all formats are read, of others JSON; source: the
    registry. `locations`: URIs of registered schemas, by subject, for events in JSON: an app that starts fills it.
    Raises: Misuse: a format that there is none, or a registry is missing."""

    def __init__(self, formats: Mapping[str, Format], source: SchemaSource | None) -> None:
        for topic, format in formats.items():
            if format not in FORMATS:
                raise Misuse(f"codecs={{{topic!r}: {format!r}}}: the codecs are {', '.join(map(repr, FORMATS))}")
        if formats and source is None:
            raise Misuse(
                f'codecs= of {", ".join(formats)} needs a place for schemas: say it with schemas="schemas/", a '
                "directory of the repository"
            )
        self._formats, self._source = dict(formats), source
        self.locations: dict[str, str] = {}

    @property
    def topics(self) -> list[str]:
        """The topics that it names."""
        return list(self._formats)

    def format_of(self, topic: str) -> Format:
        """What its events are written as."""
        return self._formats.get(topic, "json")

    def of(self, topic: str, classes: Iterable[type[M]]) -> Codec[M]:
        """The codec of a topic, for some of its classes."""
        format = self._formats.get(topic)
        if self._source is None:
            return JsonCodec(classes)
        if format is None:
            return LocatedJson(classes, topic, self.locations)
        return SchemaCodec(classes, topic, format, self._source, self.locations)


PLAIN: Final = Codecs({}, None)
"""JSON everywhere."""
