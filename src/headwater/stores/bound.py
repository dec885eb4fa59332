"""A store belongs to one log: its rows and positions mean nothing on another."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from headwater.errors import Misuse


class OtherLog(Misuse):
    """A store of another log.

    Arguments: place: for people; made_from, log_id: the two logs; freed: how this one can be used all the same;
    example: the address of another one.
    """

    def __init__(self, place: str, made_from: str | None, log_id: str, *, freed: str, example: str) -> None:
        super().__init__(
            f"the read models in {place} were made from the log {made_from}, this is log {log_id}: "
            f'name another store (store="{example}"), or {freed}; they are made again from the log'
        )
        self.example = example


def another_file(path: str) -> str:
    """The address of a file beside this one that is not there yet."""
    stem, there = Path(path).name.partition(".")[0], Path(path)
    others = (there.with_name(f"{stem}-{number}.models.db") for number in count(2))
    return f"sqlite:///{next(one for one in others if not one.exists()).as_posix()}"
