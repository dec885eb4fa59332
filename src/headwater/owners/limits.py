"""What fits a record of at most 1,000,000 bytes, envelope included.

What does not fit is its command's failure, found before anything is written: written, it would stop the whole batch.
"""

from __future__ import annotations

from headwater.entities.behaviour import Broken

EVENT_BYTES = 900_000
STATE_BYTES = 600_000
"""A state record carries up to 128 refusals beside the state."""

REFUSAL_BYTES = 2_000

TEXT_CHARACTERS = 2_000
"""How much an answer says of what went wrong."""

ENVELOPE_CHARACTERS = 2_000
"""What key, command id, actor and correlation id may have together: each stands in several headers and records of
every event."""


def fits(value: bytes, limit: int, what: str) -> None:
    """Raises: Broken. Arguments: what: the beginning of the sentence, such as "OrderPlaced has"."""
    if len(value) > limit:
        raise Broken(
            f"{what} {len(value):,} bytes; at most {limit:,} are possible: keep large content elsewhere and put its "
            "address in the event"
        )


def too_long(characters: int) -> str:
    """In words."""
    parts = "key, command id, actor and correlation id"
    return f"{parts} have {characters:,} characters; at most {ENVELOPE_CHARACTERS:,} are possible"
