"""What operators ask of the versions of a view, and what they are answered. Plain values, sent by other processes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from headwater.errors import Misuse, Unavailable
from headwater.views.comparing import Difference

First = Literal["build", "drop", "status"]
Action = Literal["status", "build", "pause", "compare", "switch", "roll back", "drop"]


class Copy(msgspec.Struct, frozen=True, tag="copy"):
    """A snapshot of the file is wanted. Arguments: target: where to, an absolute path."""

    target: str


class Wish(msgspec.Struct, frozen=True, tag="wish"):
    """What is asked of a view. Arguments: sources: the statements of who asks; code: what the view comes to there."""

    view: str
    action: Action
    code: str
    sources: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True):
    """How the versions of a view are.

    Arguments: shown: the fingerprint of what queries find, and its `sources`; maintained: whether these rows go on with
    the events; beside: of what is beside; state: of that: "" (nothing), building, paused, failed, built or switched
    (beside are the rows of before); done, total: positions of the log; failure: what stopped it, or why the first of
    the dead letters beside is one; dead_letters: how many; process: "host/pid", account: who has the file; since.
    """

    shown: str | None
    sources: tuple[str, ...]
    maintained: bool
    beside: str | None
    state: str
    done: int
    total: int
    failure: str | None
    dead_letters: int
    process: str
    account: str
    since: datetime


class Compared(msgspec.Struct, frozen=True):
    """Arguments: old, new: fingerprints; same_place: whether both stood at the same positions."""

    old: str
    new: str
    difference: Difference
    same_place: bool


class Outcome(msgspec.Struct, frozen=True):
    """What came of a wish. Arguments: not_now, first: as of `NotNow`; other_classes: as of `OtherClasses`."""

    standing: Standing | None = None
    compared: Compared | None = None
    not_now: str | None = None
    first: First = "status"
    other_classes: str | None = None


class NotNow(Misuse):
    """What is asked for does not fit what there is. Arguments: first: what to do before."""

    def __init__(self, text: str, first: First) -> None:
        super().__init__(text)
        self.first = first


class OtherClasses(Unavailable):
    """The process that has the file reads events with other classes than who asks."""


def nothing_beside(view: str) -> NotNow:
    """The error of who asks for rows that nobody has made."""
    return NotNow(f"nothing is being rebuilt of {view}", "build")


def refuse_other_code(view: str) -> NotNow:
    return NotNow(
        f"the rows that are being made of {view} are of another statement than yours: drop them and begin again, or go "
        "on with that one",
        "drop",
    )
