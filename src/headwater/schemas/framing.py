"""Which schema a value was written with: the framing that Confluent's serialisers use, and others after them.

    00 | id, 4 bytes, big-endian | body          in front of the value
    01 | GUID, 16 bytes                          in the header `__value_schema_id`; the value is the body alone

The header may also hold the first form, without a body. `framed` puts a header's frame in front of the body, so that
whoever decodes has one form to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from headwater.messages.envelope import Header
from headwater.messages.unreadable import Unreadable

HEADER: Final = "__value_schema_id"
BY_ID: Final = 0
BY_GUID: Final = 1
FRAMES: Final = (b"\x00", b"\x01")
"""What a framed value begins with; JSON never does."""
AFTER_FRAMES: Final = b"\x02"
"""Bytes from here on have no frame."""

FRAME_BYTES: Final = 5
SIZES: Final = {BY_ID: FRAME_BYTES, BY_GUID: 17}


class Framed(NamedTuple):
    """The schema's id, or its GUID, and where the body begins."""

    id: int | UUID
    body: int


def frame(id: int) -> bytes:
    """What stands in front of a body. Arguments: id: from 0 to 2^32-1."""
    return b"\x00" + id.to_bytes(4, "big")


def framed(value: bytes | None, headers: Sequence[Header]) -> bytes | None:
    """A record's value with its frame in front, also where that came as a header."""
    if value is not None:
        for name, said in headers:
            if name == HEADER and said and SIZES.get(said[0]) == len(said):
                return said + value
    return value


def read_frame(value: bytes) -> Framed | Unreadable:
    """The frame of a value that begins with one of `FRAMES`."""
    size = SIZES[value[0]]
    if len(value) < size:
        why = f"its first byte says that a schema's id follows, and there are {len(value) - 1} bytes of {size - 1}"
        return Unreadable("bad_bytes", None, None, why)
    said = value[1:size]
    return Framed(int.from_bytes(said, "big") if value[0] == BY_ID else UUID(bytes=said), size)
