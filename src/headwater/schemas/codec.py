"""The codec of a topic whose records carry schemas: Avro, JSON Schema, and JSON without one, in any order.

    value ──► frame? ──no──────────────────────────────► JSON codec
                │ yes: the schema of its id, asked for once
                ├── JSON Schema: the body ──────────────► JSON codec
                └── Avro ──► usual? ──yes──► the class
                               └── no ──► the same as JSON ──► JSON codec

The JSON codec says the last word about whatever is unusual: other versions, unknown types, values that do not fit. So
old versions, upcasters and failure policies know one form. Usual is an Avro value of a known class at its own version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeVar, Union, cast

import msgspec

from headwater.errors import Misuse
from headwater.messages.codec import JSON, Carried, Header
from headwater.messages.declare import Message
from headwater.messages.finite import Finite
from headwater.messages.json_codec import TOGETHER
from headwater.messages.together import Beginnings
from headwater.messages.unreadable import Unreadable
from headwater.schemas.derivation import SchemaKind, schema_of
from headwater.schemas.derivation_avro import avro_name
from headwater.schemas.frames import WITHOUT_AVRO, Frames, Known
from headwater.schemas.framing import AFTER_FRAMES, FRAME_BYTES, FRAMES, frame, framed
from headwater.schemas.located import DATASCHEMA, LocatedJson
from headwater.schemas.port import Schema, SchemaSource, UnknownSchema
from headwater.schemas.skimming import Garbled
from headwater.schemas.subjects import subject_for

if TYPE_CHECKING:
    from headwater.schemas.avro_reading import AvroReader, AvroReaders
    from headwater.schemas.avro_writing import AvroWriter

M = TypeVar("M", bound=Message)

Format = Literal["json", "json-schema", "avro"]
"""What a topic's events are written as. All three are read in any topic."""

BEGIN: Final[Callable[[Any], bytes]] = itemgetter(slice(FRAME_BYTES))
BODY: Final[Callable[[Any], bytes]] = itemgetter(slice(FRAME_BYTES, None))
NOWHERE: Final[Mapping[str, str]] = {}
FORMATS: Final[tuple[Format, ...]] = ("json", "json-schema", "avro")
AVRO: Final = ("content-type", b"avro/binary")


class Written(NamedTuple):
    """How a class is written. Arguments: begin: its frame; avro: None: as JSON; headers."""

    begin: bytes
    avro: AvroWriter | None
    headers: tuple[Header, ...]


class SchemaCodec(Generic[M]):
    """A `Codec` for a topic.

    Arguments: classes: a family stands for its members; topic; format: of what is written; source: the registry;
    locations: see `LocatedJson`.
    """

    wants_headers = True

    def __init__(
        self,
        classes: Iterable[type[M]],
        topic: str,
        format: Format,
        source: SchemaSource,
        locations: Mapping[str, str] = NOWHERE,
    ) -> None:
        self.json: LocatedJson[M] = LocatedJson(classes, topic, locations)
        self.classes, self.upcasting = self.json.classes, self.json.upcasting
        self._topic, self._format, self._source = topic, format, source
        self._frames = Frames(source, {avro_name(name): name for name in self.classes})
        self._begun: tuple[tuple[bytes, ...], Beginnings] = ((), Beginnings({}))
        self._written: dict[type[M], Written] = {}
        self._by_name = {avro_name(name): (name, cls) for name, cls in self.classes.items()}
        self._finite = Finite(self.classes.values())
        self._usual_types = {(name, cls.__hw__.version) for name, cls in self.classes.items()}
        self._list: Any = list[Union[tuple(self.classes.values())]]  # type: ignore[misc] # noqa: UP007 -- made from a tuple

    def contents(self, records: Sequence[Carried]) -> list[bytes | None]:
        return [framed(record.value, record.headers) for record in records]

    def decode(self, content: bytes | None) -> M | Unreadable:
        return self._decode(content, {})

    def decode_many(self, contents: Sequence[bytes | None]) -> list[M | Unreadable]:
        if not contents:
            return []
        frames, first = tuple(self._frames.json), contents[0]
        if not first or (first.startswith(FRAMES) and not first.startswith(frames)):
            return self._decode_some(contents)
        found: list[M | Unreadable] = []  # as the first one is, the others are, mostly
        decode = self._decode_framed if first.startswith(FRAMES) else self.json.decode_usual
        for start in range(0, len(contents), TOGETHER):
            some = contents[start : start + TOGETHER]
            usual = decode(some)
            found += self._decode_some(some) if usual is None else usual
        return found

    def _decode_framed(self, contents: Sequence[bytes | None]) -> Sequence[M | Unreadable] | None:
        """Values that are all JSON behind frames that are known; None: they have to be looked at."""
        texts, frames, (known, beginnings) = cast("Sequence[bytes]", contents), tuple(self._frames.json), self._begun
        if known != frames:
            self._begun = _, beginnings = frames, self.json.beginnings(frames)
        try:
            usual = self.json.decode_begun(texts, beginnings)
            if usual is None and all(map(bytes.startswith, texts, repeat(frames))):
                return self.json.decode_many(map(BODY, texts))
        except TypeError:  # a tombstone is among them
            return None
        return usual

    def _decode_some(self, contents: Sequence[bytes | None]) -> list[M | Unreadable]:
        texts = cast("Sequence[bytes]", contents)
        try:
            if min(texts) >= AFTER_FRAMES or not any(map(bytes.startswith, texts, repeat(FRAMES))):
                return self.json.decode_many(contents)
            begins = set(map(BEGIN, texts))
        except TypeError:  # a tombstone is among them
            begins = {b""}
        foreign = {begin: found for begin in begins if (found := self._foreign(self._frames.known.get(begin)))}
        if foreign:  # of types that nobody here knows, and by the frame alone
            others = iter(
                self.decode_many([one for one in contents if cast("bytes", one)[:FRAME_BYTES] not in foreign])
            )
            return [foreign.get(cast("bytes", one)[:FRAME_BYTES]) or next(others) for one in contents]
        usual = self._decode_at_once(contents, begins)
        if usual is not None:
            return usual
        failed: dict[bytes, Unreadable] = {}
        return [self._decode(content, failed) for content in contents]

    def payload_time(self, content: bytes | None) -> datetime | Unreadable | None:
        found = self.as_json(content)
        return found if isinstance(found, Unreadable) else self.json.payload_time(found)

    def as_json(self, content: bytes | None) -> bytes | Unreadable | None:
        return self._frames.as_json(content)

    def encode(self, message: M, time: datetime | None = None) -> bytes:
        if self._format == "json":
            return self.json.encode(message, time)
        how = self._how(type(message))
        if how.avro is None:
            return how.begin + self.json.encode(message, time)
        return how.avro.write(message, time, how.begin)

    def headers(self, cls: type[M]) -> tuple[Header, ...]:
        return self.json.headers(cls) if self._format == "json" else self._how(cls).headers

    def _decode(self, content: bytes | None, failed: dict[bytes, Unreadable]) -> M | Unreadable:
        """Arguments: failed: the frames that the registry did not know, asked for once a batch."""
        if content is None or not content.startswith(FRAMES):
            return self.json.decode(content)
        known = self._frames.known.get(content[:FRAME_BYTES]) or self._frames.of(content, failed)
        if isinstance(known, Unreadable):
            return known
        if known.avro is None:
            return self.json.decode(content[known.body :])
        name = ""
        try:
            reader, start = known.avro.at(content, known.body)
            name, cls = self._by_name.get(reader.name, (reader.name, None))
            unknown = self._unknown(reader)
            if unknown is not None:
                return unknown
            if cls is not None and reader.plain:
                message = self._usual(name, cls, reader.read(content, start))
                if message is not None:
                    return message
            return self.json.decode(self._frames.json_of(reader, content, start))
        except Garbled as reason:
            return Unreadable("bad_bytes", name or None, None, str(reason))

    def _foreign(self, known: Known | None) -> Unreadable | None:
        """What stands for all values of a frame whose type nobody here knows; None: they have to be looked at."""
        if known is None or known.avro is None or len(known.avro.readers) > 1:
            return None
        return self._unknown(known.avro.readers[0])

    def _unknown(self, reader: AvroReader) -> Unreadable | None:
        """None: the type is known, or each value says its own."""
        name, cls = self._by_name.get(reader.name, (reader.says or reader.name, None))
        if cls is not None or name in self.upcasting.names:
            return None
        if self.json.type_field in reader.fields and not reader.says:
            return None
        return Unreadable("unknown_type", name or None, None, f"no class here has the wire name {name!r}")

    def _decode_at_once(self, contents: Any, begins: set[bytes]) -> list[M | Unreadable] | None:
        """A batch in which all are Avro of the usual kind; None: they have to be looked at one by one."""
        known = [found for begin in begins if (found := self._frames.known.get(begin)) is not None]
        if len(known) < len(begins):
            return None
        readers = {begin: self._frames.known[begin].avro for begin in begins}
        schemas = {begin: None if one is None else one.timeless for begin, one in readers.items()}
        if None in schemas.values():
            return None
        try:
            values = cast("AvroReaders", known[0].avro).read_many(contents, schemas)
            name, version = self.json.type_field, self.json.version_field
            if not {(fields[name], fields.get(version, 1)) for fields in values} <= self._usual_types:
                return None
            messages = msgspec.convert(values, self._list, str_keys=True)
        except (Garbled, msgspec.ValidationError, TypeError):
            return None
        return messages if not self._finite.wary or self._finite.all_finite(messages) else None

    def _usual(self, name: str, cls: type[M], found: Any) -> M | None:
        """The message of a value; None: it is another type or version, or does not fit."""
        json = self.json
        if found.get(json.version_field, 1) != cls.__hw__.version or found.get(json.type_field, name) != name:
            return None
        try:
            message = msgspec.convert(found, cls, str_keys=True)
        except (msgspec.ValidationError, RecursionError):
            return None
        return message if not self._finite.wary or self._finite.all_finite((message,)) else None

    def _how(self, cls: type[M]) -> Written:
        """How a class is written. Raises: Misuse: the codec does not have it, or its schema is not registered."""
        how = self._written.get(cls)
        if how is None:
            if self.classes.get(cls.__hw__.wire_name) is not cls:
                raise Misuse(f"{cls.__name__} is not one of this codec's classes: {', '.join(self.classes)}")
            how = self._written[cls] = self._made(cls)
        return how

    def _made(self, cls: type[M]) -> Written:
        kind: SchemaKind = "avro" if self._format == "avro" else "json"
        text = schema_of(cls, kind)
        try:
            id = self._source.id_of(subject_for(self._topic, cls), Schema(kind, text))
        except UnknownSchema as reason:
            raise Misuse(
                f"{cls.__name__} is to be written to {self._topic} with a schema that is not registered: {reason}"
            ) from reason
        where = (DATASCHEMA, self._source.location(id).encode())
        if kind == "json":
            return Written(frame(id), None, (JSON, where))
        return Written(frame(id), writer_of(cls, text), (AVRO, where))


def writer_of(cls: type[Message], schema: str) -> AvroWriter:
    """Raises: Misuse: fastavro is not installed here."""
    try:
        from headwater.schemas.avro_writing import AvroWriter
    except ImportError as error:
        raise Misuse(f"{WITHOUT_AVRO} ({error})") from error
    return AvroWriter(cls, schema)
