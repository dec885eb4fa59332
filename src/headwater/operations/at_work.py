"""What a thread of this process waits for, found in the calls that it is in: a handler, the store, the log."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType

from headwater.readers.progress import place_of


def at_work_on(thread: int, places: Mapping[str, str]) -> str:
    """What a thread of this process waits for, or is busy with, in words: one of `places`, a handler with its name, or
    else the calls that it is in."""
    called: FrameType | None = None
    frame = sys._current_frames().get(thread)
    while frame is not None and not _module(frame).startswith("headwater."):
        called, frame = frame, frame.f_back
    if frame is None:
        return place_of(thread)
    for start, what in places.items():
        if _module(frame).startswith(start):
            return what
    if called is None or _module(called).partition(".")[0] in sys.stdlib_module_names:
        return place_of(thread)
    code = called.f_code
    return f"the handler {code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{called.f_lineno})"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
