"""What an examination of a log says, one finding at a time: see `Log.examine` and `operations.doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "unknown", "warning", "fault"]
"""`unknown`: it could not be looked at; `warning`: safe today, and not when something else fails; `fault`: data or
work can be lost, or something stands still."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Arguments: check: what was looked for, the same words each time; where: the topic, partition, broker or file;
    found: what is so, and why it matters; todo: the command or setting that mends it (None: nothing is to be done).
    """

    level: Level
    check: str
    where: str
    found: str
    todo: str | None = None


def or_fine(findings: Iterable[Finding], check: str, where: str, fine: str) -> list[Finding]:
    """The findings; where there are none, one that says that all is well. Arguments: fine: what was seen."""
    return list(findings) or [Finding("ok", check, where, fine)]
