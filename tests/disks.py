"""A disk that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A file system in memory. Arguments: directory: where it is mounted; filler: a file that takes its room."""

    def __init__(self, directory: Path) -> None:
        self.directory, self._filler = directory, directory / "filler"

    def fill(self, left_bytes: int = 0) -> None:
        """Leaves so much room and no more."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    """As long as there is room."""
            except OSError:
                file.truncate(max(0, file.tell() - left_bytes))

    def make_room(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Skips the test where nobody may mount one."""
    with small_disk_or_none(directory, size_bytes) as disk:
        if disk is None:
            pytest.skip("a small disk needs the right to mount one")
        yield disk


@contextmanager
def small_disk_or_none(directory: Path, size_bytes: int) -> Iterator[SmallDisk | None]:
    """None where nobody may mount one."""
    directory.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield SmallDisk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
