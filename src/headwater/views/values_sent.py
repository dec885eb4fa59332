"""Values of answers as they travel between processes: each arrives as what it was.

msgpack has numbers, texts, times and bytes; what it lacks is sent as an extension of its own, with the value's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

LEAST, MOST = -(1 << 63), (1 << 64) - 1
"""The integers that msgpack has."""

READ: Final[Mapping[int, tuple[type[Any], Callable[[str], Any]]]] = {
    1: (Decimal, Decimal),
    2: (UUID, UUID),
    3: (date, date.fromisoformat),
    4: (time, time.fromisoformat),
    5: (timedelta, lambda text: timedelta(microseconds=int(text))),
    6: (int, int),
}
"""Per code, what it stands for, and how its text is read."""

CODES: Final = {kind: code for code, (kind, _) in READ.items()}


def sendable(value: Any) -> Any:
    """A value of an answer as msgpack takes it."""
    kind = type(value)
    if kind is list:
        return [sendable(one) for one in value]
    if kind is dict:
        return {key: sendable(one) for key, one in value.items()}
    if kind is int and LEAST <= value <= MOST:
        return value
    code = CODES.get(kind)
    if code is None:
        return value
    text = str(value // timedelta(microseconds=1)) if kind is timedelta else str(value)
    return msgspec.msgpack.Ext(code, text.encode())


def received(code: int, content: memoryview) -> Any:
    """A value that was sent as an extension."""
    _, read = READ[code]
    return read(str(content, "utf-8"))
