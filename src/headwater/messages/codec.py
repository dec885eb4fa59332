"""What a codec is to those who write and read messages: the port. `json_codec` is one implementation; where records
carry schemas, `schemas.codec` is the other.

Nothing that a record holds raises: what cannot be read becomes `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from headwater.messages.declare import Message
from headwater.messages.unreadable import Unreadable

if TYPE_CHECKING:
    from headwater.messages.upcasting import Upcasting

M = TypeVar("M", bound=Message)
Header = tuple[str, bytes]
JSON: Final[Header] = ("content-type", b"application/json")


class Carried(Protocol):
    """A record, as far as its content goes."""

    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[Header]: ...


class Codec(Protocol[M]):
    """Reads and writes the messages of given classes. Thread-safe."""

    @property
    def classes(self) -> Mapping[str, type[M]]:
        """By wire name."""

    @property
    def upcasting(self) -> Upcasting:
        """What becomes of old versions."""

    @property
    def wants_headers(self) -> bool:
        """Whether it has to see the headers of records to read them."""

    def contents(self, records: Sequence[Carried]) -> list[bytes | None]:
        """What the other methods take: the values of records, with what their headers say about them."""

    def decode(self, content: bytes | None) -> M | Unreadable:
        """The message, or why there is none. Raises: Unavailable: a registry has to be asked, and cannot be."""

    def decode_many(self, contents: Sequence[bytes | None]) -> list[M | Unreadable]:
        """As `decode`, for a batch."""

    def payload_time(self, content: bytes | None) -> datetime | Unreadable | None:
        """When a record happened by its own account; None: it does not say. For records without headers."""

    def as_json(self, content: bytes | None) -> bytes | Unreadable | None:
        """The same as JSON, of any type: what people and other programs are shown. None: a tombstone."""

    def encode(self, message: M, time: datetime | None = None) -> bytes:
        """A record's value. `time` is when it happened. Raises: Misuse: what the format cannot say."""

    def headers(self, cls: type[M]) -> tuple[Header, ...]:
        """The headers that say how the records of a class are written: `content-type`, and `ce_dataschema` where there
        is a schema."""
