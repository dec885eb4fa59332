"""Times as text: RFC 3339 in UTC with Z, microseconds kept."""

from __future__ import annotations

from datetime import UTC, datetime

from headwater.errors import Misuse


def time_text(time: datetime) -> str:
    """`2024-04-10T10:30:00Z`. Raises Misuse for a time without a zone, and for one that UTC has no year for."""
    if time.tzinfo is not UTC:
        if time.utcoffset() is None:
            raise Misuse(f"{time!r} has no time zone: write datetime(…, tzinfo=UTC)")
        try:
            time = time.astimezone(UTC)
        except OverflowError:
            raise Misuse(f"{time!r} is outside of the years 1 to 9999 in UTC") from None
    return time.isoformat()[:-6] + "Z"


def parse_time(text: str) -> datetime:
    """The time of an RFC 3339 text, in UTC. Digits beyond microseconds are cut.

    Raises: ValueError for another form, for a time without a zone, and for one that UTC has no year for.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is UTC:
        return time
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is outside of the years 1 to 9999 in UTC") from None
