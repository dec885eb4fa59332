"""Where an archive is: a directory, or a bucket of an S3-compatible store.

Both put a file in place as a whole or not at all, and have it safe when `put` returns: a directory by `fsync` and
renaming, a bucket because an object appears when its upload is complete.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from headwater.errors import Misuse, Unavailable

FORMS = "file:///absolute/directory or s3://bucket/prefix"
_CHUNK_BYTES = 1 << 20


class Place(Protocol):
    """Named files; names have `/` between their parts. Methods raise `Unavailable` where the place cannot be used."""

    @property
    def url(self) -> str: ...

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None: there is none."""
        ...

    def open(self, name: str) -> Any:
        """A file for pyarrow, to be read anywhere in it. Raises: Unavailable: it is not there, too."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """A small file, in place of the one that is there. By one at a time, as `workshop` says."""
        ...

    def put(self, name: str, local: Path) -> None:
        """Moves a file of this machine, made in `workshop`, to its place."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """The files below a folder (names relative to it), with their sizes in bytes."""
        ...

    def workshop(self, folder: str) -> Any:
        """A context manager: a local directory for files that are being made for this folder. One process has it at a
        time, where the place can see to that. Raises: Unavailable: another one does."""
        ...


def open_place(url: str) -> Place:
    """Raises: Misuse: an address of no known form. Unavailable: nothing answers there."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        path = unquote(parts.path)
        if parts.netloc or not path.startswith("/") or parts.query:
            raise Misuse(f"{url!r} is no archive: a directory is named by file:///absolute/path")
        return Directory(Path(path), url)
    if parts.scheme == "s3":
        if not parts.netloc:
            raise Misuse(f"{url!r} names no bucket; write s3://bucket/prefix")
        if "@" in parts.netloc:
            # The address is written into the log by `hw archive trim`, and told in errors.
            raise Misuse(
                "the address of an archive carries no credentials: put them into AWS_ACCESS_KEY_ID and "
                f"AWS_SECRET_ACCESS_KEY, or ~/.aws, and write s3://{parts.netloc.rpartition('@')[2]}{parts.path}"
            )
        try:
            system, prefix = fs.FileSystem.from_uri(url)
        except (pa.ArrowInvalid, ValueError) as error:
            raise Misuse(f"{url!r} is no address of a bucket: {error}") from error
        except OSError as error:
            raise Unavailable(f"the archive {url} cannot be reached: {error}") from error
        return Bucket(system, prefix, url)
    raise Misuse(f"{url!r} is no address of an archive; write {FORMS}")


@contextmanager
def _reaching(url: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the archive {url} cannot be used: {what}: {error}") from error


class Directory:
    """A directory of this machine, or one that is mounted. Arguments: path: made when something is written; url."""

    def __init__(self, path: Path, url: str) -> None:
        self._path, self.url = path, url

    def read(self, name: str) -> bytes | None:
        with _reaching(self.url, f"reading {name}"):
            try:
                return (self._path / name).read_bytes()
            except FileNotFoundError:
                return None

    def open(self, name: str) -> Any:
        with _reaching(self.url, f"opening {name}"):
            return pa.OSFile(str(self._path / name), "rb")

    def write(self, name: str, content: bytes) -> None:
        target = self._path / name
        with _reaching(self.url, f"writing {name}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            made = target.with_name(f".{target.name}.new")
            made.write_bytes(content)
            self._put(target, made)

    def put(self, name: str, local: Path) -> None:
        target = self._path / name
        with _reaching(self.url, f"writing {name}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._put(target, local)

    def _put(self, target: Path, made: Path) -> None:
        _sync(made)
        os.replace(made, target)
        for folder in (target.parent, *target.parent.parents):
            _sync(folder)
            if folder == self._path:
                break

    def sizes(self, folder: str) -> dict[str, int]:
        root = self._path / folder
        with _reaching(self.url, f"listing {folder}"):
            return {
                path.relative_to(root).as_posix(): path.stat().st_size
                for path in root.rglob("*")
                if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
            }

    @contextmanager
    def workshop(self, folder: str) -> Iterator[Path]:
        path = self._path / folder / ".writing"
        with _reaching(self.url, f"writing in {folder}"):
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / "lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Unavailable(f"another process archives into {self._path / folder} now") from error
            for left in path.glob("*.parquet"):  # of a run that was ended in the midst
                left.unlink()
            yield path


class Bucket:
    """A prefix in an S3-compatible store.

    Arguments: system: pyarrow's; prefix: bucket and path; url.
    """

    def __init__(self, system: Any, prefix: str, url: str) -> None:
        self._system, self._prefix, self.url = system, prefix.rstrip("/"), url

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if name else self._prefix

    def read(self, name: str) -> bytes | None:
        with _reaching(self.url, f"reading {name}"):
            try:
                with self._system.open_input_file(self._path(name)) as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def open(self, name: str) -> Any:
        with _reaching(self.url, f"opening {name}"):
            return self._system.open_input_file(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        with _reaching(self.url, f"writing {name}"), self._system.open_output_stream(self._path(name)) as out:
            out.write(content)

    def put(self, name: str, local: Path) -> None:
        with _reaching(self.url, f"writing {name}"):
            with local.open("rb") as file, self._system.open_output_stream(self._path(name)) as out:
                shutil.copyfileobj(file, out, _CHUNK_BYTES)
            local.unlink()

    def sizes(self, folder: str) -> dict[str, int]:
        root = self._path(folder)
        with _reaching(self.url, f"listing {folder}"):
            selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
            found = self._system.get_file_info(selector)
        return {info.path[len(root) + 1 :]: info.size for info in found if info.type == fs.FileType.File}

    @contextmanager
    def workshop(self, folder: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="headwater-archive-") as path:
            yield Path(path)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
