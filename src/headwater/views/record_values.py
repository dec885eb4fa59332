"""The values of a row as they stand in the JSON of a record."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from headwater.messages.times import time_text
from headwater.views.types import JSON, ListOf, MapOf, Scalar, SqlType, StructOf

WHOLE: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
KEYS: Final = ("VARCHAR", "UUID", *WHOLE)
WRITTEN: Final = (*KEYS, "BOOLEAN", "HUGEINT", "FLOAT", "DOUBLE", "TIMESTAMPTZ", "DATE", "TIME")
LEAST, MOST = -(1 << 63), (1 << 63) - 1


def is_written(kind: SqlType) -> bool:
    """Whether values of the type have a form in JSON."""
    if isinstance(kind, ListOf | MapOf):
        return is_written(kind.of)
    if isinstance(kind, StructOf):
        return all(is_written(one.type) for one in kind.members)
    return kind != JSON and (kind.name in WRITTEN or kind.name.startswith("DECIMAL("))


def is_key(kind: SqlType) -> bool:
    """Whether values of the type can be the key of a record."""
    return isinstance(kind, Scalar) and kind.name in KEYS


def in_json(value: Any) -> Any:
    """A value as msgspec writes it: decimals as texts without a power of ten, times in UTC, integers beyond 64 bits as
    texts. Raises: ValueError: a double that is no number."""
    if isinstance(value, dict):
        return {key: in_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [in_json(one) for one in value]
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    if isinstance(value, int) and not LEAST <= value <= MOST:
        return str(value)
    if isinstance(value, UUID):
        return str(value)
    return value
