"""The disk under a log: whether it is full, which the log itself says only to whoever writes at that moment.

An owner that cannot write its heartbeats looks dead to every other process.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.cli.ending import ALSO, advised
from headwater.errors import Unavailable, Unknown

LITTLE_BYTES = 200_000
"""Less than a commit of many commands may need."""


@contextmanager
def looked_at(file: Path | None, again: str) -> Iterator[None]:
    """Adds to what is not answered that the disk under the log is full, if it is.

    Arguments: file: the log's; None: it is no file. again: what to type once there is room.
    """
    try:
        yield
    except (Unavailable, Unknown) as error:
        left = None if file is None else free_bytes(file)
        if left is not None and left < LITTLE_BYTES:
            also = f"{ALSO}the disk under {file} is full, so an owner that lives cannot write: make room"
            if "disk is full" not in str(error) and also not in getattr(error, "__notes__", ()):
                error.add_note(also)
            advised(error, again)
        raise


def free_bytes(file: Path) -> int | None:
    """What is left on the disk under a file; None: it cannot be asked."""
    try:
        return shutil.disk_usage(file.absolute().parent).free
    except OSError:
        return None
