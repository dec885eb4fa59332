"""What a thread of this process waits for, or is busy with, found in the calls that it is in.

innermost call ─► … ─► the first one of headwater's own ─► the store, the log, or who called: a handler
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType

CALLERS = (
    "headwater.projections",
    "headwater.processes",
    "headwater.owners",
    "headwater.entities",
    "headwater.readers",
)
"""Who calls what users write."""


def waited_for(thread: int, places: Mapping[str, str]) -> str | None:
    """In words that follow "waits for"; None: its calls do not say it.

    Arguments: thread: its number; places: by the beginning of a module's name what is waited for in it.
    """
    called: FrameType | None = None
    frame = sys._current_frames().get(thread)
    while frame is not None and not _module(frame).startswith("headwater."):
        called, frame = frame, frame.f_back
    if frame is None:
        return None
    module = _module(frame)
    for start, what in places.items():
        if module.startswith(start):
            return what
    if called is None or not module.startswith(CALLERS):
        return None
    if _module(called).partition(".")[0] in sys.stdlib_module_names:
        return None
    return f"the handler {called.f_code.co_qualname}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
