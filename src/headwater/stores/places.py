"""The places in a query, a `?` each, for which a caller gives values."""

from __future__ import annotations

import re

from headwater.errors import Misuse, counted

_OF_SQLITE = re.compile(r"current statement uses (\d+), and there are (\d+) supplied")


class WrongPlaces(Misuse):
    """There is not a value for each place, or not a place for each. Arguments: places, given: how many."""

    def __init__(self, places: int, given: int) -> None:
        were = "was" if given == 1 else "were"
        super().__init__(f"the query has {counted(places, 'place')} (?), and {counted(given, 'value')} {were} given")


def told_by_sqlite(words: str) -> WrongPlaces | None:
    """What SQLite says of it, if that is what it says; it has no code for this."""
    found = _OF_SQLITE.search(words)
    return None if found is None else WrongPlaces(int(found[1]), int(found[2]))
