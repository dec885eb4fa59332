"""What can be read only once (standard input, a pipe): copied to its end before anything is imported.

The ids of lines follow from the whole content, so an import reads it twice. The copy is a temporary file without a
name, which is gone when the process is, however that ends.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path
from typing import IO, cast

from headwater.errors import Misuse

STDIN = Path("-")
"""What is typed for standard input."""

CHUNK_BYTES = 1 << 20
GZIPPED = b"\x1f\x8b"
"""How compressed content begins, and no text does."""


def copied(source: IO[bytes]) -> IO[bytes]:
    """What the source gives, to its end. Raises: OSError: it cannot be read. Misuse: there is no room for it."""
    copy = _file()
    try:
        while chunk := source.read(CHUNK_BYTES):
            _write(copy, chunk)
        _write(copy, b"")
    except BaseException:
        copy.close()
        raise
    return copy


def from_its_start(copy: IO[bytes]) -> IO[bytes]:
    """A copy to read, uncompressed."""
    copy.seek(0)
    gzipped = copy.read(len(GZIPPED)) == GZIPPED
    copy.seek(0)
    return cast(IO[bytes], gzip.open(copy, "rb")) if gzipped else copy


def place_of(path: Path, digest: str) -> Path:
    """Beside what files of an import are to be: a name that follows from the content, since another may come the same
    way; what has no directory of its own gets one in the current one."""
    if path in (STDIN, Path("/dev/stdin")):
        return Path(f"stdin-{digest[:8]}")
    return Path(f"pipe-{digest[:8]}") if of_the_system(path) else path.with_name(f"{path.name}-{digest[:8]}")


def called(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def of_the_system(path: Path) -> bool:
    """Whether it stands for something else, such as what a process has open: `/dev/fd/63`."""
    return path.parts[:2] in ((os.sep, "dev"), (os.sep, "proc"))


def _file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _no_room(error) from error


def _write(copy: IO[bytes], chunk: bytes) -> None:
    try:
        copy.write(chunk)
        if not chunk:
            copy.flush()
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> Misuse:
    return Misuse(
        f"what is no file is copied into a temporary one first, and that cannot be written: {error.strerror or error}; "
        "TMPDIR names another directory"
    )
