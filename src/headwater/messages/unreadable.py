"""What stands in a message's place when its record cannot be read: data for the failure policy, no exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.errors import BadData

Trouble = Literal[
    "unknown_type",
    "unknown_version",
    "old_version",
    "upcast",
    "bad_bytes",
    "wrong_type",
    "no_type",
    "tombstone",
    "bad_headers",
    "unknown_schema",
]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read.

    Arguments: kind: unknown_type: no class of that name here; unknown_version: newer than the class here;
    old_version: older, and no upcaster takes it; upcast: an upcaster failed; bad_bytes: no JSON, or no Avro of its
    schema; wrong_type: content that does not fit the class; no_type: nothing says what it is; tombstone: no value;
    bad_headers: key or headers that are not text; unknown_schema: the registry does not have what it was written with,
    or that is no schema. wire_name, version: as far as they were read. reason: a sentence, with the place in the JSON.
    handler, error: of "upcast": the function, and the class of what it raised.
    """

    kind: Trouble
    wire_name: str | None
    version: int | None
    reason: str
    handler: str = ""
    error: str = ""

    def bad_data(self, topic: str, partition: int, offset: int) -> BadData:
        """The error for whoever cannot go on without the record, which is there."""
        name = f"{self.wire_name}: " if self.wire_name else ""
        return BadData(f"{name}{self.reason}", topic=topic, partition=partition, offset=offset, found=self)
