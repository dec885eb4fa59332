"""Messages as flat JSON, readable by anyone: `{"eventType":"OrderPlaced","eventVersion":1,…,"timestamp":…}`.

Writing is one msgspec pass with the head and the time put around it. Reading has two ways:

- A value that begins exactly as this codec writes the current version of a known class, and speaks of a version
  nowhere else, is decoded at once, by one decoder for all classes (their `eventType` is the tag of a union). So is
  a batch in which every version that is spoken of is 1, when all of several classes are at version 1. Batches are
  decoded as one text (`together`).
- Everything else (another order of fields, white space, no version or two, old versions, foreign or broken bytes)
  is first asked for its type and version only. Only when the version is the class's own are the fields read: a
  payload of version 1 that happens to fit the class of version 2 must not pass as one. Old versions go through the
  functions that were declared for them (`upcasts`), and only then into a class.

What msgspec cannot forbid, a Decimal that says "NaN", is refused on both.

Nothing that a record holds raises: what cannot be read becomes `Unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice, repeat
from typing import Any, Final, Generic, TypeVar, Union, cast

import msgspec

from headwater.errors import Misuse
from headwater.messages.codec import JSON, Carried, Header
from headwater.messages.declare import TYPE_FIELDS, Message, members_of
from headwater.messages.finite import complaint_about_decimals
from headwater.messages.shapes import complaint_about, complete
from headwater.messages.times import parse_time, time_text
from headwater.messages.together import BETWEEN, BROKEN, Beginnings, Together
from headwater.messages.unreadable import Unreadable as Unreadable
from headwater.messages.upcasting import FIELDS, FIELDS_TO_JSON, Upcasting
from headwater.messages.upcasts import Fields

M = TypeVar("M", bound=Message)

VERSION_FIELDS: Final = {"event": "eventVersion", "command": "commandVersion", "timeout": "timeoutVersion"}
TOGETHER: Final = 256  # values of a batch that are looked at as one text: as much as stays in a processor's cache


class JsonCodec(Generic[M]):
    """Reads and writes the messages of given classes; a family stands for its members. Thread-safe.

    Arguments: classes: all of one kind (events, commands or timeouts); type_field, version_field: the JSON
    fields that say what a record is (None: `eventType` and `eventVersion`, or the same of the other kinds);
    time_field: the field that carries when it happened.
    Raises: Misuse when two classes share a wire name or a field has the name of one of these.
    """

    def __init__(
        self,
        classes: Iterable[type[M]],
        *,
        type_field: str | None = None,
        version_field: str | None = None,
        time_field: str = "timestamp",
    ) -> None:
        members = concrete(classes)
        kind = one_kind(members)
        for cls in members:
            complete(cls, late=True)
        self.type_field = type_field or TYPE_FIELDS[kind]
        self.version_field = version_field or VERSION_FIELDS[kind]
        self.time_field = time_field
        refuse_taken_names(members, {self.type_field, self.version_field, time_field})
        self.classes: dict[str, type[M]] = by_wire_name(members)
        self._encode = msgspec.json.Encoder().encode
        self._heads = {cls: self._head(cls, kind) for cls in members}
        self._suffix: tuple[datetime | None, bytes] = (None, b"}")
        self._union = msgspec.json.Decoder(Union[tuple(members)]).decode  # noqa: UP007 -- made from a tuple
        self._single = {cls: msgspec.json.Decoder(cls).decode for cls in members}
        self._header = self._header_decoder()
        own = self.type_field == TYPE_FIELDS[kind]  # else the union has no tag to go by
        self._prefixes = tuple(head for head, _ in self._heads.values()) if own else ()
        self._version = f'"{self.version_field}"'.encode()
        self._not_first = other_than_first(self.version_field)
        # An event always carries its version in its head, a command only from version 2 on.
        self._versions = 1 if kind == "event" else 0
        # One class alone would be decoded from a value that says no type.
        self._all_first = len(members) > 1 and all(cls.__hw__.version == 1 for cls in members)
        self._capital = capital_of(self.version_field).encode()
        self._together = Together(members)
        self._finite = self._together.finite
        self.upcasting = Upcasting(members)

    def _head(self, cls: type[M], kind: str) -> tuple[bytes, int]:
        """What the JSON of a class begins with, and how much of msgspec's output it replaces."""
        quote = msgspec.json.encode
        info = cls.__hw__
        head = b"{" + quote(self.type_field) + b":" + quote(info.wire_name) + b","
        if kind == "event" or info.version > 1:
            head += quote(self.version_field) + b":" + quote(info.version) + b","
        return head, len(b"{" + quote(TYPE_FIELDS[info.kind]) + b":" + quote(info.wire_name) + b",")

    def _header_decoder(self) -> msgspec.json.Decoder[Any]:
        fields = {"type": self.type_field, "version": self.version_field, "time": self.time_field}
        header = msgspec.defstruct(
            "Header",
            [("type", str | None, None), ("version", int | None, None), ("time", Any, None)],
            rename=fields,
        )
        return msgspec.json.Decoder(header)

    def encode(self, message: M, time: datetime | None = None) -> bytes:
        """The record's value. `time` is when it happened. Raises Misuse for a message of another class, and
        for text that is not Unicode."""
        suffix = self._suffix
        if suffix[0] is not time:
            text = b"}" if time is None else self._time_suffix(time)
            self._suffix = suffix = (time, text)
        try:
            head, cut = self._heads[type(message)]
            return head + self._encode(message)[cut:-1] + suffix[1]
        except KeyError:
            raise Misuse(
                f"{type(message).__name__} is not one of this codec's classes: {', '.join(self.classes)}"
            ) from None
        except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as reason:
            raise Misuse(f"{type(message).__name__} cannot be written as JSON: {reason}") from reason

    def _time_suffix(self, time: datetime) -> bytes:
        return b"," + msgspec.json.encode(self.time_field) + b":" + f'"{time_text(time)}"}}'.encode()

    wants_headers = False

    def contents(self, records: Sequence[Carried]) -> list[bytes | None]:
        """The values of records: JSON says itself what it is."""
        return [record.value for record in records]

    def as_json(self, value: bytes | None) -> bytes | None:
        """The value, which is meant to be JSON."""
        return value

    def headers(self, cls: type[M]) -> tuple[Header, ...]:
        """The headers that say how the records of a class are written."""
        return (JSON,)

    def decode(self, value: bytes | None) -> M | Unreadable:
        """The message in a record's value, or why there is none."""
        if (
            value is not None
            and value.startswith(self._prefixes)
            and value.count(self._version) == self._versions
            and not (b"\\" in value and b"\\u" in value)  # an escape can spell the version's name another way
        ):
            try:
                message = cast("M", self._union(value))
            except BROKEN:
                pass  # the slower way finds out what is wrong, and words it
            else:
                if not self._finite.wary or self._finite.all_finite((message,)):
                    return message
        return self._decode_by_header(value)

    def decode_many(self, values: Iterable[bytes | None]) -> list[M | Unreadable]:
        """As `decode`, for a batch. Costs hardly more than the decoder when every value is of the usual form. What is
        cut out of something larger for it may be cut as it is read: some values are held at a time."""
        found: list[M | Unreadable] = []
        rest = iter(values)
        while some := list(islice(rest, TOGETHER)):
            found += self._decode_some(some)
        return found

    def beginnings(self, frames: Iterable[bytes]) -> Beginnings:
        """What values begin with that carry one of some frames of one length, for `decode_begun`."""
        quote, heads = msgspec.json.encode, {}
        for cls in self._heads if self._prefixes else ():
            head, _ = self._heads[cls]
            bare = b"{" + quote(self.type_field) + b":" + quote(cls.__hw__.wire_name) + b","
            first = quote(cls.__struct_encode_fields__[0]) + b":" if cls.__struct_encode_fields__ else b""
            for frame in frames:
                heads[frame + head + first] = (len(frame + head), bare + first)
        return Beginnings(heads)

    def decode_begun(self, values: Sequence[bytes], beginnings: Beginnings) -> list[M] | None:
        """The messages of values that all begin so, and are of the usual form; None: they have to be looked at."""
        text = beginnings.text(values) if self._together.possible else None
        if text is None or (b"\\" in text and b"\\u" in text) or (self._capital in text and self._version in text):
            return None
        return self._together.read(text, len(values), nulls=1)

    def decode_usual(self, values: Sequence[bytes | None]) -> list[M] | None:
        """The messages of values that are all of the usual form; None: they have to be looked at."""
        text = self._usual_text(values)
        if text is None:
            return None
        if self._together.possible:
            return self._together.read(text, len(values))
        try:
            messages: list[M] = list(map(self._union, cast("Sequence[bytes]", values)))
        except BROKEN:
            return None
        return messages if not self._finite.wary or self._finite.all_finite(messages) else None

    def _decode_some(self, values: Sequence[bytes | None]) -> Sequence[M | Unreadable]:
        usual = self.decode_usual(values)
        return list(map(self.decode, values)) if usual is None else usual

    def _usual_text(self, values: Sequence[bytes | None]) -> bytes | None:
        """All values in one where each says the version of its class, as this codec writes it, and no other; without
        a step of Python for each."""
        if not (self._prefixes and (self._versions or self._all_first)):
            return None
        try:
            text = BETWEEN.join(cast("Sequence[bytes]", values))
        except TypeError:  # a tombstone is among them
            return None
        if b"\\" in text and b"\\u" in text:
            return None
        if self._all_first:  # then saying nothing is saying 1, and where it is said does not matter
            return text if self._not_first.search(text) is None else None
        begun = map(bytes.startswith, cast("Sequence[bytes]", values), repeat(self._prefixes))
        return text if text.count(self._version) == len(values) and all(begun) else None

    def _decode_by_header(self, value: bytes | None) -> M | Unreadable:
        if value is None:
            return Unreadable("tombstone", None, None, "the record has no value")
        header = self._read_header(value)
        if isinstance(header, Unreadable):
            return header
        name, version = header.type, 1 if header.version is None else header.version
        if name is None:
            return Unreadable("no_type", None, header.version, f"no field {self.type_field!r} says what it is")
        if self.upcasting.takes(name, version):
            return self._upcast(name, version, value)
        cls = self.classes.get(name)
        if cls is None:
            return Unreadable("unknown_type", name, version, f"no class here has the wire name {name!r}")
        if version != cls.__hw__.version:
            return other_version(cls, version)
        return self._decode_as(cls, value)

    def _decode_as(self, cls: type[M], value: bytes) -> M | Unreadable:
        info = cls.__hw__
        try:
            message = self._single[cls](value)
        except msgspec.ValidationError as reason:
            return Unreadable("wrong_type", info.wire_name, info.version, str(reason))
        except BROKEN as reason:
            return Unreadable("bad_bytes", info.wire_name, info.version, str(reason))
        # What JSON can say and a message cannot hold: "NaN", an empty key.
        complaint = complaint_about(message) or complaint_about_decimals(message)
        if complaint is not None:
            return Unreadable("wrong_type", info.wire_name, info.version, complaint)
        return message

    def _upcast(self, name: str, version: int, value: bytes) -> M | Unreadable:
        try:
            fields = FIELDS.decode(value)
        except BROKEN as reason:
            return Unreadable("bad_bytes", name, version, str(reason))
        for own in (self.type_field, self.version_field):
            fields.pop(own, None)
        return cast("M | Unreadable", self.upcasting.read(name, version, fields, self._typed))

    def _typed(self, name: str, fields: Fields) -> Any:
        """The newest end of an old event; None: of a class that this codec does not know."""
        cls = self.classes.get(name)
        if cls is None:
            return None
        try:
            text = FIELDS_TO_JSON.encode(fields)
        except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as reason:
            return Unreadable("wrong_type", name, cls.__hw__.version, f"the fields cannot be JSON: {reason}")
        return self._decode_as(cls, text)

    def _read_header(self, value: bytes) -> Any:
        try:
            return self._header.decode(value)
        except msgspec.ValidationError as reason:
            return Unreadable("wrong_type", None, None, str(reason))
        except BROKEN as reason:
            return Unreadable("bad_bytes", None, None, str(reason))

    def payload_time(self, value: bytes | None) -> datetime | Unreadable | None:
        """When a record happened by its own account; None where it does not say. For records without headers."""
        if value is None:
            return None
        header = self._read_header(value)
        if isinstance(header, Unreadable) or header.time is None:
            return header if isinstance(header, Unreadable) else None
        try:
            return parse_time(header.time)
        except (TypeError, ValueError) as reason:
            place = f"no time (RFC 3339, with a zone) - at `$.{self.time_field}`"
            return Unreadable("wrong_type", header.type, header.version, f"{reason}: {place}")


def other_version(cls: type[Message], version: int) -> Unreadable:
    info = cls.__hw__
    if version < info.version:
        why = f"version {version} of {info.wire_name}, which is at version {info.version} here: no upcaster took it"
        return Unreadable("old_version", info.wire_name, version, why)
    why = f"version {version} of {info.wire_name} is newer than version {info.version} here: a newer program wrote it"
    return Unreadable("unknown_version", info.wire_name, version, why)


def other_than_first(field: str) -> re.Pattern[bytes]:
    """Finds where a version is spoken of and not followed by `:1,`. Arguments: field: its name.

    Capital letters are rare in JSON: the search begins with that of the name, and looks back at the rest last of all.
    """
    capital = capital_of(field)
    name, end = re.escape(f'"{field}"'.encode()), re.escape(f'{field[field.index(capital) :]}"'.encode())
    return re.compile(end + b"(?!:1,)(?<=" + name + b")")


def capital_of(field: str) -> str:
    """The first capital letter of a name; where it has none, its first letter."""
    return next((letter for letter in field if letter.isupper()), field[0])


def concrete(classes: Iterable[type[M]]) -> list[type[M]]:
    found: list[type[M]] = []
    for cls in classes:
        found += cast("list[type[M]]", members_of(cls)) if cls.__hw__.family else [cls]
    return list(dict.fromkeys(found))


def one_kind(classes: Sequence[type[Message]]) -> Any:
    kinds = {cls.__hw__.kind for cls in classes}
    if len(kinds) == 1 and kinds <= TYPE_FIELDS.keys():
        return kinds.pop()
    raise Misuse(
        f"a codec takes events, commands or timeouts, at least one and all of one kind, not "
        f"{', '.join(sorted(kinds)) or 'none'}"
    )


def by_wire_name(classes: Iterable[type[M]]) -> dict[str, type[M]]:
    names: dict[str, type[M]] = {}
    for cls in classes:
        other = names.setdefault(cls.__hw__.wire_name, cls)
        if other is not cls:
            raise Misuse(
                f"{cls.__qualname__} and {other.__qualname__} have the same wire name {cls.__hw__.wire_name!r}: "
                f'give one of them another, class {cls.__name__}(…, name="…")'
            )
    return names


def refuse_taken_names(classes: Iterable[type[Message]], taken: set[str]) -> None:
    for cls in classes:
        for name, wire in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True):
            if wire in taken:
                raise Misuse(
                    f"{cls.__name__}.{name} would be written as {wire!r}, which the record itself uses: rename it, "
                    f'or write {name}: … = hw.field(name="…")'
                )
