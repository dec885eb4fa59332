"""A copy of the file of views, from which they go on as from the file itself.

    file and its log, while nobody commits ─► beside the target ─► opened once, which makes one file of both ─► target

Positions and rows are in one file, so a copy needs nothing else. Whoever puts it in the place of a lost file goes on
from the positions in it; a copy of another log, or one that is ahead of the log, is refused as the file would be.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb

from headwater.errors import Misuse, Unavailable


def copy_of(path: str, target: str, still: Callable[[], AbstractContextManager[None]]) -> None:
    """Copies a file of views. Arguments: still: while it is entered nobody commits.

    Raises: Misuse: something is at the target. Unavailable: it cannot be written there.
    """
    if Path(target).exists():
        raise Misuse(f"{target} is there already: a snapshot overwrites nothing")
    begun = Path(f"{target}.part")
    logs = [Path(f"{one}.wal") for one in (path, begun)]
    try:
        with still():
            shutil.copyfile(path, begun)
            if logs[0].exists():
                shutil.copyfile(logs[0], logs[1])
        with duckdb.connect(str(begun)) as connection:
            connection.execute("CHECKPOINT")
        with begun.open("rb") as written:
            os.fsync(written.fileno())
        begun.rename(target)
    except (OSError, duckdb.Error) as error:
        raise Unavailable(f"the views cannot be copied to {target}: {error}") from error
    finally:
        for one in (begun, logs[1]):
            one.unlink(missing_ok=True)
