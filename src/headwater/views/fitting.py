"""Numbers that a class can hold and a type of SQL cannot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from headwater.views.types import BIGINT, ListOf, MapOf, SqlType, StructOf

LEAST, MOST = -(1 << 63), (1 << 63) - 1
DECIMALS = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def unfit(value: Any, kind: SqlType) -> Iterator[str]:
    """What of a value does not fit its type of SQL, though its class can hold it: too many digits."""
    if value is None:
        return
    if isinstance(kind, ListOf):
        for one in value:
            yield from unfit(one, kind.of)
    elif isinstance(kind, MapOf):
        for one in value.values():
            yield from unfit(one, kind.of)
    elif isinstance(kind, StructOf):
        for member in kind.members:
            yield from unfit(value.get(member.wire), member.type)
    elif kind == BIGINT and isinstance(value, int) and not LEAST <= value <= MOST:
        yield f"{value} does not fit in 64 bits"
    elif isinstance(value, Decimal) and (found := DECIMALS.fullmatch(kind.sql)) is not None:
        digits, scale = int(found[1]), int(found[2])
        if not value.is_finite():
            yield f"{value} is no finite number"
            return
        number = value.as_tuple()
        assert isinstance(number.exponent, int)
        written = "".join(map(str, number.digits)).rstrip("0")
        fraction = max(0, -number.exponent - (len(number.digits) - len(written))) if written else 0
        if fraction > scale:
            yield f"{value} has {fraction} digits after the point; a view reads {scale}"
        elif written and value.adjusted() >= digits - scale:
            yield f"{value} has more than {digits - scale} digits before the point"
