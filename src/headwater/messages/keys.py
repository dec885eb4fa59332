"""Keys: which field names the entity (or the row), and the text under which it travels.

The text of a key is the record's key on the log, the entity id in headers and the id in every API.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Final, TypeVar, get_args
from uuid import UUID

from headwater.errors import Misuse

T = TypeVar("T")


class KeyMark:
    """Marks an annotation as a key; the type checkers do not see it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Key"


KEY: Final = KeyMark()

Key = Annotated[T, KEY]
"""`order_id: hw.Key[str]`: the field that names the entity, or a column of a row's primary key. To the type
checkers it is its argument: `str`, `int`, `UUID` or `date`."""

KEY_TYPES: Final = (str, int, UUID, date)


def is_key(annotation: Any) -> bool:
    """Whether a resolved annotation was written as `Key[...]`."""
    return KEY in getattr(annotation, "__metadata__", ())


def key_type(annotation: Any) -> Any:
    """The `T` of `Key[T]`, with `NewType`s taken off."""
    inner = get_args(annotation)[0]
    while hasattr(inner, "__supertype__"):
        inner = inner.__supertype__
    return inner


def key_text(value: object) -> str:
    """The text of a key: a string as it is, an int or UUID by `str`, a date in ISO 8601.

    Raises: Misuse for an empty string and for any other type.
    """
    if isinstance(value, str):
        if value:
            return value
        raise Misuse("a key is the empty string: give the entity an id of at least one character")
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        return str(value)
    raise Misuse(f"a key is {value!r} ({type(value).__name__}): use a str, int, UUID or date")
