"""Loading a file of commands or events, a JSON object per line, each at most once.

Every line has an id that follows from the file's content and the line's number (or its own `id` field), and
says where it comes from. So a file that is imported again, or whose import was killed, doubles nothing,
whatever happened to its entities since. A line that cannot be imported is told and set aside; the others go on.

    {"commandType":"PlaceOrder","orderId":"123",…}      carried out by the entity's owner
    {"eventType":"OrderPlaced","orderId":"123",…}       appended to the entity as it is

Beside the payload a line may carry `timestamp` (when it happened), `id`, `actor` and `commandVersion` or
`eventVersion`.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from headwater.client.receipts import Appending, Receipt, Sending
from headwater.client.shop import Shop
from headwater.entities.behaviour import Behaviour
from headwater.errors import BadData, Conflict, Failed, HeadwaterError, Misuse, NotFound
from headwater.log.limits import MAX_RECORD_BYTES
from headwater.messages.declare import Message, key_of
from headwater.messages.json_codec import other_version
from headwater.messages.rejection import Rejected
from headwater.messages.times import parse_time
from headwater.operations.vocabulary import Vocabulary, Word, read_message, read_object
from headwater.owners.arriving import Source

Kind = Literal["commands", "events"]

MAX_LINE_BYTES = MAX_RECORD_BYTES - 10_000
"""What a line may have: its record carries headers as well."""

REASON_FIELD = "rejected"
"""Where a line that was set aside carries the reason: ignored when the corrected line is imported."""


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
    """A file to import. Arguments: count: of its lines; digest: of its content, uncompressed."""

    path: Path
    count: int
    digest: str

    @classmethod
    def look_at(cls, path: Path) -> ImportFile:
        """Reads the file once. Raises: Misuse: it cannot be read."""
        digest, lines = hashlib.sha256(), 0
        try:
            with opened(path) as file:
                for raw in file:
                    digest.update(raw)
                    lines += 1
        except (OSError, EOFError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise Misuse(f"{path} cannot be read: {reason}") from error
        return cls(path, lines, digest.hexdigest()[:32])

    def lines(self) -> Iterator[Line]:
        with opened(self.path) as file:
            for number, raw in enumerate(file, 1):
                text = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                yield Line(number, text.strip())


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the lines. `repeated`: imported before; `blank`: nothing in them."""

    imported: int = 0
    repeated: int = 0
    rejected: int = 0
    blank: int = 0

    @property
    def lines(self) -> int:
        return self.imported + self.repeated + self.rejected + self.blank


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
        event_word = self.vocabulary.event(_text(fields, "eventType") or "")
        event = self._message(event_word, line, fields, "event")
        behaviour: Behaviour[Any] = event_word.behaviour
        return Appending(behaviour.aggregate, key_of(event), [event], **self._envelope(event_word, line, fields))

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


def import_lines(
    shop: Shop,
    file: ImportFile,
    reader: LineReader,
    *,
    in_flight: int,
    timeout_s: float,
    set_aside: Callable[[BadLine], None],
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Imports a file; order is kept per entity.

    Arguments: in_flight: how many lines may be without an answer; timeout_s: to wait for each; set_aside: is
    given the lines that could not be imported; progress: is told how far it is.
    Raises: Unavailable, Unknown: the import came to a stop; doing it again goes on where it stopped.
    """
    waiting: deque[Line] = deque()
    tally = Tally()

    def told(line: Line, error: HeadwaterError) -> None:
        nonlocal tally
        kind = error.name if isinstance(error, Rejected) else type(error).__name__
        set_aside(BadLine(line, kind, str(error)))
        tally = replace(tally, rejected=tally.rejected + 1)
        progress(tally)

    def items() -> Iterator[Sending | Appending]:
        nonlocal tally
        for line in file.lines():
            if not line.raw:
                tally = replace(tally, blank=tally.blank + 1)
                continue
            try:
                item = reader.read(line)
            except Misuse as error:
                told(line, error)
                continue
            waiting.append(line)
            yield item

    for outcome in shop.send_many(items(), in_flight=in_flight, timeout_s=timeout_s):
        line = waiting.popleft()
        if isinstance(outcome, Receipt):
            count = "repeated" if outcome.duplicate else "imported"
            tally = replace(tally, **{count: getattr(tally, count) + 1})
            progress(tally)
        elif isinstance(outcome, Rejected | Conflict | Misuse | Failed | BadData | NotFound):
            told(line, outcome)
        else:
            raise outcome
    return tally


def opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


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
