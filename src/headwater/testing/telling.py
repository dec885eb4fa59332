"""How a failed statement is told: what was given, what was asked, what was expected, what came, what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from headwater.errors import counted
from headwater.testing.comparing import shown
from headwater.testing.writing import Happened

MANY = 12
"""So many given events are listed; of more, the last ones."""


class Story:
    """A scenario up to now, in words. Arguments: name: of the class that is tried."""

    def __init__(self, name: str, given: Sequence[Happened]) -> None:
        self._lines = [f"given {name}" + (":" if given else ", to which nothing happened")]
        if len(given) > MANY:
            self._lines.append(f"    … {counted(len(given) - MANY, 'event')}")
        self._lines += [f"    {told(happened)}" for happened in given[-MANY:]]

    def when(self, message: str) -> None:
        self._lines.append(f"when\n    {message}")

    def text(self) -> str:
        return "\n".join(self._lines)

    def fail(self, expected: str, came: str, differences: Sequence[str] = ()) -> NoReturn:
        """Raises AssertionError with the whole story."""
        __tracebackhide__ = True
        lines = [self.text(), f"expected {expected}", f"but came {came}"]
        if differences:
            lines += ["difference", *(f"    {line}" for line in differences)]
        raise AssertionError("\n".join(lines))


def told(happened: Happened) -> str:
    """An event, with its time where the test gave one."""
    return shown(happened.event) + ("" if happened.time is None else f" at {happened.time.isoformat()}")
