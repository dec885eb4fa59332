"""Looks into the files of an SQLite database in WAL mode from outside, while another process uses it.

A commit first writes its pages to the `-wal` file, waits for the disk, and then publishes them by moving the last
valid frame in the `-shm` file (https://www.sqlite.org/walformat.html). Frames of the current generation behind
that mark belong to a transaction that is neither committed nor given up.
"""

from __future__ import annotations

import struct
from pathlib import Path

WAL_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24


def commit_under_way(database: Path) -> bool:
    """Whether pages of an unpublished transaction are in the file. Stop the writer first, or it is gone again."""
    with Path(f"{database}-shm").open("rb") as shared:
        index = shared.read(40)
    page_bytes, last_frame = struct.unpack_from("=HI", index, 14)
    salts = index[32:40]
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    with Path(f"{database}-wal").open("rb") as log:
        log.seek(WAL_HEADER_BYTES + last_frame * (FRAME_HEADER_BYTES + page_bytes))
        next_frame = log.read(FRAME_HEADER_BYTES)
    return len(next_frame) == FRAME_HEADER_BYTES and next_frame[8:16] == salts
