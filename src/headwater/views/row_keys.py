"""What the key of a record says of the row that it is, in a table of others.

PRIMARY KEY names the fields that say the same as the key. Others write keys as text, as JSON, or as a JSON object with
these fields. A number in eight bytes, or Avro, says nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


def said_by(key: bytes, columns: Sequence[str]) -> Mapping[str, Any]:
    """The values that a record's key gives, by column. Arguments: columns: of the PRIMARY KEY."""
    try:
        found = msgspec.json.decode(key)
    except (msgspec.DecodeError, RecursionError):
        found = _text(key)
    if isinstance(found, dict):
        return {name: found[name] for name in columns if name in found}
    if len(columns) != 1 or found is None or isinstance(found, list):
        return {}
    return {columns[0]: found if isinstance(found, str) else _text(key)}


def as_column(said: Any, kind: Any) -> Any:
    """What a key says, as the type that its column is read as; None: it is none of it."""
    text = kind == str | None and not isinstance(said, str)
    try:
        return msgspec.convert(str(said) if text else said, kind, strict=False)
    except msgspec.ValidationError:
        return None


def _text(key: bytes) -> str | None:
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return None if any(one < " " for one in text) else text
