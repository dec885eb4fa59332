"""What the frames of values mean: the schema of each id, asked for once, and values as the JSON that they say.

Reading an id for the first time asks the registry. It is the only thing here that may raise: `Unavailable`, since the
record is not to blame. An id that the registry does not have makes an `Unreadable`; it is asked for again later, in
case that somebody has registered it by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from headwater.errors import Unavailable
from headwater.messages.unreadable import Unreadable
from headwater.schemas.framing import BY_ID, FRAMES, read_frame
from headwater.schemas.port import Schema, SchemaSource, UnknownSchema
from headwater.schemas.skimming import Garbled, NoSchema

if TYPE_CHECKING:
    from headwater.schemas.avro_reading import AvroReader, AvroReaders

WITHOUT_AVRO = "Avro is read and written with fastavro: pip install 'headwater[avro]'"
TYPE_FIELD = "eventType"


class Known(NamedTuple):
    """What a frame means. Arguments: body: where the body begins; avro: None: it is JSON."""

    body: int
    avro: AvroReaders | None


class Frames:
    """Arguments: source: the registry; names: wire names of the records that are known, by their names in Avro.
    `known`: by what values begin with; `json`: the frames by id of what is JSON."""

    def __init__(self, source: SchemaSource, names: Mapping[str, str]) -> None:
        self._source, self._names = source, names
        self.known: dict[bytes, Known] = {}
        self.json: set[bytes] = set()

    def of(self, content: bytes, failed: dict[bytes, Unreadable]) -> Known | Unreadable:
        """What a value's frame means. Arguments: content: begins with one of `FRAMES`; failed: what was asked for in
        vain just now. Raises: Unavailable."""
        found = read_frame(content)
        if isinstance(found, Unreadable):
            return found
        begin = content[: found.body]
        if begin in self.known:
            return self.known[begin]
        if begin not in failed:
            try:
                known = Known(found.body, readers_of(self._source.schema(found.id)))
            except (UnknownSchema, NoSchema) as reason:
                why = f"it was written with schema {found.id}: {reason}"
                failed[begin] = Unreadable("unknown_schema", None, None, why)
            else:
                self.known[begin] = known
                if known.avro is None and begin[0] == BY_ID:
                    self.json.add(begin)
                return known
        return failed[begin]

    def as_json(self, content: bytes | None) -> bytes | Unreadable | None:
        """The JSON that a value says; one without a frame is meant to be it. Raises: Unavailable."""
        if content is None or not content.startswith(FRAMES):
            return content
        known = self.of(content, {})
        if isinstance(known, Unreadable):
            return known
        if known.avro is None:
            return content[known.body :]
        try:
            reader, start = known.avro.at(content, known.body)
            return self.json_of(reader, content, start)
        except Garbled as reason:
            return Unreadable("bad_bytes", None, None, str(reason))

    def json_of(self, reader: AvroReader, content: bytes, start: int) -> bytes:
        """Of an Avro value, with the type that its schema says where it does not say one itself. Raises: Garbled."""
        name = self._names.get(reader.name, reader.name)
        return reader.json(content, start, {TYPE_FIELD: name} if name else {})


def readers_of(schema: Schema) -> AvroReaders | None:
    """None: what it describes is JSON. Raises: NoSchema. Unavailable: fastavro is not installed here."""
    if schema.kind == "json":
        return None
    try:
        from headwater.schemas.avro_reading import AvroReaders
    except ImportError as error:
        raise Unavailable(f"{WITHOUT_AVRO} ({error})") from error
    return AvroReaders(schema)
