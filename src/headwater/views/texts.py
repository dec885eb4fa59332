"""The text that statements stand in, and errors that know where in it."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.views.errors import BadStatement


@dataclass(frozen=True, slots=True)
class Text:
    """The text that statements stand in. Arguments: sql; file: its name for messages, "" for none."""

    sql: str
    file: str = ""

    def error(self, reason: str, start: int) -> BadStatement:
        """What is wrong at a place in it, counted in characters."""
        return BadStatement(reason, self.sql, start, self.file)
