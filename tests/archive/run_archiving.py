"""Archives the topic of `tests.archive.trail` in a process that kills itself at a step.

    python -m tests.archive.run_archiving LOG ARCHIVE STEP COUNT

Steps: "file made" and "file placed", around a file's way into the archive; "entry made" and "entry written", around the
manifest. COUNT: how many come that far.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from headwater.log.archive import Archive
from headwater.log.archive.places import Place, open_place
from headwater.log.sqlite import SqliteLog
from tests.archive.trail import archive_all

STEPS = ("file made", "file placed", "entry made", "entry written")


class MortalPlace:
    """A place whose process dies at a step; everything else is the place's own."""

    def __init__(self, place: Place, step: str, count: int) -> None:
        self._place, self._step, self._left = place, step, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def put(self, name: str, local: Path) -> None:
        self._at("file made")
        self._place.put(name, local)
        self._at("file placed")

    def write(self, name: str, content: bytes) -> None:
        self._at("entry made")
        self._place.write(name, content)
        self._at("entry written")

    def _at(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    log, archive, step, count = sys.argv[1:]
    archive_all(SqliteLog(log), Archive(MortalPlace(open_place(archive), step, int(count))))
