"""What processes say to each other at the socket of the views' file: messages, each with its length before it."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.failures import held
from headwater.log.port import TopicPartition
from headwater.views.moments import Moment
from headwater.views.values_sent import received
from headwater.views.wishes import Copy, Wish

LENGTH = struct.Struct(">I")


class Readable(Protocol):
    """As of a file."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """As of a file."""

    def write(self, content: bytes, /) -> int: ...


class Asked(msgspec.Struct, tag_field="what"):
    """Something that another process wants to know. Arguments: view: its name."""


class Positions(Asked, tag="positions"):
    view: str


class Notes(Asked, tag="notes"):
    view: str


class Held(Asked, tag="held"):
    view: str
    key: tuple[str, int, int]


class OfLetters(Asked, tag="letters"):
    """What a view's reader has set aside. Arguments: part: its name, its rows, what was done with them, or what came of
    something that was asked for, which has this `id`."""

    view: str
    part: Literal["group", "held", "audit", "outcome"]
    id: str = ""


class Operate(Asked, tag="operate"):
    """Arguments: wanted: what is to be done with something that was set aside."""

    view: str
    wanted: held.Asked


class Part(Asked, tag="part"):
    """What a process has of a view that is shared. Arguments: runner: of the view as it is declared there; rows:
    whether its rows are wanted, too."""

    view: str
    runner: str
    rows: bool


class Question(Asked, tag="question"):
    sql: str
    arguments: list[Any]
    timeout_s: float | None


class PastQuestion(Question, tag="past"):
    """Arguments: as_of, known_at: as of `Moment`; positions: view in lower case, topic, partition, next offset."""

    as_of: datetime | None
    known_at: datetime | None
    positions: list[tuple[str, str, int, int]] | None

    @property
    def moment(self) -> Moment:
        if self.positions is None:
            return Moment(as_of=self.as_of, known_at=self.known_at)
        found: dict[str, dict[TopicPartition, int]] = {}
        for view, topic, partition, position in self.positions:
            found.setdefault(view, {})[TopicPartition(topic, partition)] = position
        return Moment(positions=found)


class Follow(Question, tag="follow"):
    """The connection stays: for each `Next` that comes the next step is told."""


class Change(Asked, tag="change"):
    wish: Wish | Copy


class Next(msgspec.Struct):
    """Arguments: wait_s: how long to wait for a change, in seconds."""

    wait_s: float


class Told(msgspec.Struct):
    """An answer, or why there is none. Arguments: error: the name of a class of ours."""

    value: Any = None
    error: str | None = None
    text: str = ""


Request = Positions | Notes | Held | OfLetters | Operate | Part | Question | PastQuestion | Follow | Change
REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
ERRORS: dict[str, type[HeadwaterError]] = {"Misuse": Misuse, "Unavailable": Unavailable}


def understood(request: bytes) -> Request | Misuse:
    try:
        return REQUEST.decode(request)
    except msgspec.DecodeError as error:
        return Misuse(f"this is no request to views: {error}")


def refused(error: HeadwaterError) -> bytes:
    name = type(error).__name__ if type(error).__name__ in ERRORS else "Unavailable"
    return msgspec.msgpack.encode(Told(error=name, text=str(error)))


def answered(found: bytes | None, kind: Any) -> Any:
    """The value in an answer. Raises: Unavailable: there is none; what the other process has raised."""
    if found is None:
        raise Unavailable("the process that has the views ended before it answered")
    answer = msgspec.msgpack.decode(found, type=Told, ext_hook=received)
    if answer.error is not None:
        raise ERRORS[answer.error](answer.text)
    return msgspec.convert(answer.value, kind, strict=False)


def write(stream: Writable, content: bytes) -> None:
    stream.write(LENGTH.pack(len(content)) + content)


def read(stream: Readable) -> bytes | None:
    """A whole message; None: the other side has gone."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    content = stream.read(size)
    return content if len(content) == size else None
