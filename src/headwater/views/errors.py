"""What is wrong with a statement, and where: line and column, both from 1."""

from __future__ import annotations

from headwater.errors import Misuse


class BadStatement(Misuse):
    """A statement that cannot be understood, or that cannot be maintained by changes.

    Arguments: reason: what is wrong, and what to write instead; text: all that the statement stands in; start: where
    in it, in characters; file: its name, "" for none.
    """

    def __init__(self, reason: str, text: str, start: int, file: str = "") -> None:
        self.reason, self.file = reason, file
        self.line, self.column = place_of(text, start)
        shown = text.split("\n")[self.line - 1]  # lines as `place_of` counts them, whatever else ends one elsewhere
        where = f"{file or 'view'}:{self.line}:{self.column}"
        super().__init__(f"{where}: {reason}\n    {shown}\n    {' ' * (self.column - 1)}^")


def place_of(text: str, start: int) -> tuple[int, int]:
    """Line and column of the character at `start`."""
    before = text[:start]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
