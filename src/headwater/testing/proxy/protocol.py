"""What must be known of Kafka's protocol to tell its messages apart. Pure: bytes in, values out.

A message is a length (four bytes) and so many bytes. A request begins with the API's key and version, a correlation
id and the client's id; an answer with the correlation id of its request. Numbers are big-endian.
Source: https://kafka.apache.org/protocol
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_LENGTH = struct.Struct(">i")
_REQUEST = struct.Struct(">hhih")
_CORRELATION = struct.Struct(">i")


class Api(IntEnum):
    """The APIs that faults are made for, by their key. Others pass as plain numbers."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    WRITE_TXN_MARKERS = 27
    TXN_OFFSET_COMMIT = 28
    CONSUMER_GROUP_HEARTBEAT = 68


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request. Arguments: api: its key; client: the client's id, empty if it gave none."""

    api: int
    version: int
    correlation: int
    client: str

    def __str__(self) -> str:
        return f"{name_of(self.api)} v{self.version} #{self.correlation} of {self.client or 'a client without name'}"


class Frames:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes of the stream. Returns the messages that are complete now, with their length."""
        left = self._left
        left += data
        messages, at = [], 0
        while len(left) - at >= _LENGTH.size:
            end = at + _LENGTH.size + _LENGTH.unpack_from(left, at)[0]
            if len(left) < end:
                break
            messages.append(bytes(left[at:end]))
            at = end
        del left[:at]
        return messages


def request_of(message: bytes) -> Request:
    """The head of a request. Raises: struct.error: this is none."""
    api, version, correlation, length = _REQUEST.unpack_from(message, _LENGTH.size)
    start = _LENGTH.size + _REQUEST.size
    return Request(api, version, correlation, message[start : start + max(0, length)].decode())


def correlation_of(answer: bytes) -> int:
    """Which request this answers. Raises: struct.error: this is no answer."""
    correlation: int = _CORRELATION.unpack_from(answer, _LENGTH.size)[0]
    return correlation


def for_nobody(request: Request, message: bytes) -> bytes:
    """The same request for a transactional id that nobody has: a coordinator refuses it. Of a client that is called
    like its own transactional id, as those of headwater are.

    Raises: ValueError: it names none.
    """
    at = message.index(request.client.encode(), _LENGTH.size + _REQUEST.size + len(request.client.encode()))
    return message[:at] + b"?" + message[at + 1 :]


def name_of(api: int) -> str:
    """As Kafka's documentation writes it."""
    try:
        return "".join(word.capitalize() for word in Api(api).name.split("_"))
    except ValueError:
        return f"API {api}"
