"""Texts of JSON that DuckDB reads as days, times and UUIDs: which of them are written in the usual way.

DuckDB takes more than a class does (`2026-1-5` is a day, `24:00:00` a time, a time without a zone is in UTC), and reads
the same of the usual ones: `2026-01-05`, `09:30:00.5`, `2026-01-05T09:30:00.5Z` or with `+01:00`, a UUID with hyphens.
RE2 cannot say "not this", so a pattern names each place in which a text can be another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

DIGIT: Final = "[0-9]"
HEX: Final = "[0-9a-fA-F]"
DAY: Final = ("[1-9]", *[DIGIT] * 3, "-", "[01]", DIGIT, "-", "[0-3]", DIGIT)
CLOCK: Final = ("[0-2]", DIGIT, ":", "[0-5]", DIGIT, ":", "[0-5]", DIGIT)
OFFSET: Final = ("[01]", DIGIT, ":", "[0-5]", DIGIT, '"')
UUID: Final = (*[HEX] * 8, *["-", *[HEX] * 4] * 3, "-", *[HEX] * 12, '"')


def _unlike(characters: Sequence[str], behind: str = "") -> str:
    """A pattern of what does not begin with these characters, or is followed by something else.

    Arguments: characters: each as RE2 writes it; behind: a pattern of that.
    """
    pattern = behind
    for one in reversed(characters):
        more = f"|{one}{pattern}" if pattern else ""
        pattern = f"(?:[^{one.strip('[]')}]{more})"
    return pattern


def _clock(ends: str, after: str) -> str:
    """No time of day, up to a fraction of six digits. Arguments: ends: characters that may follow; after: a pattern of
    what they may not be followed by, with them, as another case."""
    fraction = rf"\.(?:[^0-9]|[0-9]{{7}}|[0-9]{{1,6}}(?:[^0-9{ends}]{after}))"
    return f"(?:2[4-9]|{_unlike(CLOCK, f'(?:[^.{ends}]{after}|{fraction})')})"


_ZONE: Final = rf'|Z[^"]|[+\-]{_unlike(OFFSET)}'

UNUSUAL: Final[Mapping[str, str]] = {
    "DATE": _unlike((*DAY, '"')),
    "TIME": _clock('"', ""),
    "TIMESTAMPTZ": _unlike((*DAY, "T"), _clock(r"Z+\-", _ZONE)),
    "UUID": _unlike(UUID),
}
"""By type of SQL, a pattern of the texts that are not of the usual form, from behind their first quotation mark on."""
