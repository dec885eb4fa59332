"""What a thread of this process waits for, or is busy with, found in the calls that it is in.

innermost call ─► … ─► the first one of headwater's own ─► the store, the log, or who called: a handler
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import NamedTuple

from headwater.readers.progress import place_of

CALLERS = (
    "headwater.projections",
    "headwater.processes",
    "headwater.owners",
    "headwater.entities",
    "headwater.messages",
    "headwater.readers",
)
"""Who calls what users write."""


class Waited(NamedTuple):
    """What a thread waits for. Arguments: what: in words that follow "waits for"; line: of a handler, where it is."""

    what: str
    line: str | None = None


def waited_for(thread: int, places: Mapping[str, str]) -> str | None:
    """In words that follow "waits for"; None: its calls do not say it.

    Arguments: thread: its number; places: by the beginning of a module's name what is waited for in it.
    """
    found = _waited(thread, places)
    return None if found is None else found.what


def at_work_on(thread: int, places: Mapping[str, str]) -> str:
    """As `waited_for`, of a handler with its line; where its calls do not say it, these."""
    found = _waited(thread, places)
    if found is None:
        return place_of(thread)
    return found.what if found.line is None else f"{found.what} ({found.line})"


def _waited(thread: int, places: Mapping[str, str]) -> Waited | None:
    called: FrameType | None = None
    frame = sys._current_frames().get(thread)
    while frame is not None and not _module(frame).startswith("headwater."):
        called, frame = frame, frame.f_back
    if frame is None:
        return None
    module = _module(frame)
    for start, what in places.items():
        if module.startswith(start):
            return Waited(what)
    if called is None or not module.startswith(CALLERS):
        return None
    if _module(called).partition(".")[0] in sys.stdlib_module_names:
        return None
    code = called.f_code
    return Waited(f"the handler {code.co_qualname}", f"{code.co_filename.rpartition('/')[2]}:{called.f_lineno}")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
