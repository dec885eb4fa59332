"""The lines of a file to import: what they may say, and the commands and events that they become.

Every line has an id that follows from the file's content and the line's number (or its own `id` field), and
says where it comes from. So the same content is recognised under any name, and a file that was changed is new.

    {"commandType":"PlaceOrder","orderId":"123",…}      carried out by the entity's owner
    {"eventType":"OrderPlaced","orderId":"123",…}       appended to the entity as it is

Beside the payload a line may carry `timestamp` (when it happened), `id`, `actor` and `commandVersion` or
`eventVersion`.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from headwater.client.receipts import Appending, Sending
from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse
from headwater.log.limits import MAX_RECORD_BYTES
from headwater.messages.declare import Message, key_of, members_of
from headwater.messages.json_codec import other_version
from headwater.messages.times import parse_time
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasting import parts_of
from headwater.operations.importing_streams import STDIN, called, copied, from_its_start, of_the_system, place_of
from headwater.operations.vocabulary import Vocabulary, Word, read_message, read_object
from headwater.owners.arriving import Source

Kind = Literal["commands", "events"]

MAX_LINE_BYTES = MAX_RECORD_BYTES - 10_000
"""What a line may have: its record carries headers as well."""

REASON_FIELD = "rejected"
"""Where a line that was set aside carries the reason: ignored when the corrected line is imported."""


Place = tuple[str, str]
"""Entity type, key."""


class Line(NamedTuple):
    """A line of a file. Arguments: number: from 1; raw: without its end."""

    number: int
    raw: bytes


class BadLine(NamedTuple):
    """A line that was not imported, and why. Arguments: kind: the name of the error, or of the refusal."""

    line: Line
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file to import. Arguments: count: of its lines; digest: of its content, uncompressed; copy: of what can be read
    only once, such as a pipe."""

    path: Path
    count: int
    digest: str
    copy: IO[bytes] | None = None

    @classmethod
    def look_at(cls, path: Path, stdin: IO[bytes] | None = None) -> ImportFile:
        """Reads the file once. Arguments: stdin: what the path `-` is. Raises: Misuse: it cannot be read."""
        digest, lines = hashlib.sha256(), 0
        try:
            copy = _copy_of(path, stdin)
            with opened(path, copy) as file:
                for raw in file:
                    digest.update(raw)
                    lines += 1
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise Misuse(f"{called(path)} cannot be read: {reason}") from error
        return cls(path, lines, digest.hexdigest()[:32], copy)

    @property
    def place(self) -> Path:
        """Where files that belong to it are: beside it, with its name and more."""
        return self.path if self.copy is None else place_of(self.path, self.digest)

    def lines(self) -> Iterator[Line]:
        with opened(self.path, self.copy) as file:
            for number, raw in enumerate(file, 1):
                text = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                yield Line(number, text.strip())

    def close(self) -> None:
        if self.copy is not None:
            self.copy.close()


@dataclass(frozen=True, slots=True)
class LineReader:
    """Makes commands and events of lines.

    Arguments: vocabulary; digest: the file's; kind: what every line is (None: as its own field says); actor:
    for lines that name none; unknown_fields: whether a line may have fields that its class does not have.
    """

    vocabulary: Vocabulary
    digest: str
    kind: Kind | None = None
    actor: str | None = None
    unknown_fields: bool = False

    def read(self, line: Line) -> Sending | Appending:
        """Raises: Misuse: the line cannot be imported; the text says why."""
        if len(line.raw) > MAX_LINE_BYTES:
            raise Misuse(f"the line has {len(line.raw):,} bytes; at most {MAX_LINE_BYTES:,} fit a record")
        fields = read_object(line.raw)
        if self._is_command(fields):
            word = self.vocabulary.command(_text(fields, "commandType") or "")
            return Sending(self._message(word, line, fields, "command"), **self._envelope(word, line, fields))
        old = self._old(fields)
        if old is not None:
            return self._upcast(old, line, fields)
        event_word = self.vocabulary.event(_text(fields, "eventType") or "")
        event = self._message(event_word, line, fields, "event")
        behaviour: Behaviour[Any] = event_word.behaviour
        return Appending(behaviour.aggregate, key_of(event), [event], **self._envelope(event_word, line, fields))

    def place(self, line: Line) -> Place | None:
        """Whose line it is, also where it cannot be imported; None: that cannot be told."""
        try:
            fields = read_object(line.raw)
            word = self._word(fields)
        except Misuse:
            return None
        cls = word.message
        wire = dict(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))
        key = fields.get(wire[cls.__hw__.key_field or ""])
        return None if key is None else (word.behaviour.entity, str(key))

    def has_id(self, line: Line) -> bool:
        """Whether it carries its own id, so that it is the same one in whatever file; also if it says nothing."""
        try:
            fields = read_object(line.raw)
            return not line.raw or ("id" in _beside(self._word(fields).message) and bool(_text(fields, "id")))
        except Misuse:
            return True

    def _word(self, fields: dict[str, Any]) -> Word[Any]:
        """What a line is. Raises: Misuse: nothing that the app knows."""
        if self._is_command(fields):
            return self.vocabulary.command(_text(fields, "commandType") or "")
        old = self._old(fields)
        if old is not None:  # of the events of an entity all have one key
            return Word(old, members_of(old.family)[0])
        return self.vocabulary.event(_text(fields, "eventType") or "")

    def _old(self, fields: dict[str, Any]) -> Behaviour[Any] | None:
        """Whose old event a line is; None: it is none. Raises: Misuse: several entity types have it."""
        name, version = _text(fields, "eventType") or "", fields.get("eventVersion", 1)
        found = [one for one in self.vocabulary.behaviours.values() if one.json.upcasting.takes(name, version)]
        if len(found) > 1:
            raise Misuse(f"{name!r} is an old event of several entity types: {', '.join(one.entity for one in found)}")
        return found[0] if found else None

    def _upcast(self, behaviour: Behaviour[Any], line: Line, fields: dict[str, Any]) -> Appending:
        """An old event as those that it is read as. Raises: Misuse."""
        event = behaviour.json.decode(line.raw)
        if isinstance(event, Unreadable):
            raise Misuse(event.reason)
        events = [one for _, one in parts_of(event)]
        if not events:
            raise Misuse(f"{fields['eventType']} means nothing any more")
        word = Word(behaviour, type(events[0]))
        return Appending(behaviour.aggregate, key_of(events[0]), events, **self._envelope(word, line, fields))

    def _is_command(self, fields: dict[str, Any]) -> bool:
        there = {kind for kind in ("command", "event") if f"{kind}Type" in fields}
        if self.kind is not None:
            there &= {self.kind.removesuffix("s")}
        if len(there) == 1:
            return there == {"command"}
        if there:
            raise Misuse('it has both "commandType" and "eventType"; say --as commands or --as events')
        wanted = f'"{self.kind.removesuffix("s")}Type"' if self.kind else '"commandType" or "eventType"'
        raise Misuse(f"it has no field {wanted} that says what it is")

    def _message(self, word: Word[Any], line: Line, fields: dict[str, Any], kind: str) -> Any:
        cls: type[Message] = word.message
        version = fields.get(f"{kind}Version", 1)
        if not isinstance(version, int):
            raise Misuse(f'"{kind}Version" is {version!r}, and no whole number')
        if version != cls.__hw__.version:
            raise Misuse(other_version(cls, version).reason)
        beside = {f"{kind}Type", f"{kind}Version", *_beside(cls)}
        return read_message(word, line.raw, ignore=beside, unknown_fields=self.unknown_fields)

    def _envelope(self, word: Word[Any], line: Line, fields: dict[str, Any]) -> dict[str, Any]:
        beside = {name: fields[name] for name in _beside(word.message) if name in fields}
        return {
            "command_id": _text(beside, "id") or f"{self.digest}-{line.number}",
            "time": _time(beside),
            "actor": _text(beside, "actor") or self.actor,
            "source": Source(f"import|{self.digest}|0", line.number, 0),
        }


@contextmanager
def opened(path: Path, copy: IO[bytes] | None) -> Iterator[IO[bytes]]:
    if copy is not None:
        yield from_its_start(copy)  # and it stays open
        return
    with cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb") as file:
        yield file


def _copy_of(path: Path, stdin: IO[bytes] | None) -> IO[bytes] | None:
    """A copy of what can be read only once; None: it is a file. Raises: OSError, Misuse."""
    if path == STDIN:
        if stdin is None:
            raise Misuse("there is no standard input to read from")
        return copied(stdin)
    if path.is_file() and not of_the_system(path):
        return None
    with path.open("rb") as source:
        return copied(source)


def _beside(cls: type[Message]) -> set[str]:
    """The fields that belong to the line and not to the message: a message's own field of that name is its own."""
    return {"id", "actor", "timestamp", REASON_FIELD} - set(cls.__struct_encode_fields__)


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or (isinstance(value, str) and value):
        return value
    raise Misuse(f'"{name}" is {value!r}, and no text')


def _time(fields: dict[str, Any]) -> datetime | None:
    text = _text(fields, "timestamp")
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise Misuse(f'"timestamp": {error}; write 2024-04-10T10:30:00Z') from error
