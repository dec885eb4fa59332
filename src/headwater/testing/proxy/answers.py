"""Where an answer says that something failed. Pure: bytes in, bytes out.

Known for what a transactional producer asks, in the versions that librdkafka 2.16 asks it in and in those around them,
and for a member's heartbeat.
Versions that have tagged fields (KIP-482) also write lengths in another way; both are read here.
Source: https://kafka.apache.org/protocol
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from headwater.testing.proxy.protocol import Api, Request

_ERROR, _STRING, _REST = "error", "string", "rest"
_Layout = tuple["int | str | _Layout", ...]
"""Fields in order: a number skips so many bytes; a tuple is an array of what it holds; the rest is not looked at."""

_LAYOUTS: dict[Api, tuple[int, _Layout]] = {
    Api.PRODUCE: (9, ((_STRING, (4, _ERROR, 24, (4, _STRING), _STRING)), 4)),
    Api.INIT_PRODUCER_ID: (2, (4, _ERROR, 10)),
    Api.ADD_PARTITIONS_TO_TXN: (3, (4, (_STRING, (4, _ERROR)))),
    Api.ADD_OFFSETS_TO_TXN: (3, (4, _ERROR)),
    Api.END_TXN: (3, (4, _ERROR)),
    Api.TXN_OFFSET_COMMIT: (3, (4, (_STRING, (4, _ERROR)))),
    Api.CONSUMER_GROUP_HEARTBEAT: (0, (4, _ERROR, _REST)),
}
"""By API, the version from which on there are tagged fields, and the layout of an answer behind its head."""

_HEAD_BYTES = 8
"""Length and correlation id."""


def error_of(request: Request, answer: bytes) -> int | None:
    """The first error code of an answer that is none of success (0: there is none). None for APIs of which it is not
    known where it stands."""
    if request.api not in _LAYOUTS:
        return None
    errors = [struct.unpack_from(">h", answer, place)[0] for place in _places(request, answer)]
    return next((error for error in errors if error), 0)


def with_error(request: Request, answer: bytes, error: int) -> bytes:
    """The answer with this error code wherever one stands. Raises: KeyError: it is not known where that is."""
    changed = bytearray(answer)
    for place in _places(request, answer):
        struct.pack_into(">h", changed, place, error)
    return bytes(changed)


def _places(request: Request, answer: bytes) -> Iterator[int]:
    first_flexible, layout = _LAYOUTS[Api(request.api)]
    walk = _Walk(answer, request.version >= first_flexible)
    walk.tags()
    yield from walk.fields(layout)


class _Walk:
    """Over the fields of an answer. Arguments: flexible: whether there are tagged fields."""

    def __init__(self, answer: bytes, flexible: bool) -> None:
        self._answer, self._flexible, self._at = answer, flexible, _HEAD_BYTES

    def fields(self, layout: _Layout) -> Iterator[int]:
        """Walks over them, and over the tagged fields behind them. Returns where error codes stand."""
        for field in layout:
            if field == _REST:
                return
            if field == _ERROR:
                yield self._at
                self._at += 2
            elif field == _STRING:
                size = self._length(">h")
                self._at += max(0, size)
            elif isinstance(field, tuple):
                for _ in range(self._length(">i")):
                    yield from self.fields(field)
            elif isinstance(field, int):
                self._at += field
        self.tags()

    def tags(self) -> None:
        if self._flexible:
            for _ in range(self._varint()):
                self._varint()
                size = self._varint()
                self._at += size

    def _length(self, form: str) -> int:
        """Of a string or an array; -1: it is null."""
        if self._flexible:
            return self._varint() - 1
        length: int = struct.unpack_from(form, self._answer, self._at)[0]
        self._at += struct.calcsize(form)
        return length

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._answer[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
