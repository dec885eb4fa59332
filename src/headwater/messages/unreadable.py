"""What stands in a message's place when its record cannot be read: data for the failure policy, no exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Trouble = Literal[
    "unknown_type",
    "unknown_version",
    "old_version",
    "bad_bytes",
    "wrong_type",
    "no_type",
    "tombstone",
    "bad_headers",
]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read.

    Arguments: kind: unknown_type: no class of that name here; unknown_version: newer than the class here;
    old_version: older, an upcaster may help; bad_bytes: no JSON; wrong_type: JSON that does not fit the class;
    no_type: nothing says what it is; tombstone: no value; bad_headers: key or headers that are not text.
    wire_name, version: as far as they were read. reason: a sentence, with the place in the JSON.
    """

    kind: Trouble
    wire_name: str | None
    version: int | None
    reason: str
