"""An archive as a reader sees it: what it has of a partition, and the records there."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from headwater.errors import Unavailable
from headwater.log.archive.manifest import NAME, Manifest, SealedFile, decode, encode, folder_of
from headwater.log.archive.parquet import FileReader, KeyFilter
from headwater.log.archive.places import Place, open_place
from headwater.log.cursors import Fetched
from headwater.log.port import Record, TopicPartition

_BELIEVED_S = 5.0
"""How long a manifest is believed before it is read again, by those who ask what there is."""


class DamagedManifest(Unavailable):
    """A manifest is there and cannot be believed, or its chain is broken."""


class Topic(NamedTuple):
    """A topic of the archive: its name and id."""

    name: str
    id: str

    @property
    def folder(self) -> str:
        return folder_of(self.name, self.id)


def open_archive(url: str) -> Archive:
    """Opens an archive, which need not be there yet.

    Arguments: url: `file:///absolute/directory`, or `s3://bucket/prefix` with pyarrow's options, such as
    `?scheme=http&endpoint_override=localhost:9000`. Raises: Misuse, Unavailable.
    """
    return Archive(open_place(url))


class Archive:
    """Thread-safe. Arguments: place: where the files are."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._known: dict[Topic, tuple[Manifest | None, float]] = {}
        self._filters: dict[str, list[KeyFilter]] = {}

    @property
    def url(self) -> str:
        return self.place.url

    def topics(self) -> list[Topic]:
        """What is archived, by name. Raises: Unavailable."""
        found = [name.split("/") for name in self.place.sizes("")]
        return sorted(Topic(parts[0], parts[1]) for parts in found if len(parts) == 3 and parts[2] == NAME)

    def without_manifest(self) -> list[Topic]:
        """Topics of which there are files, and no manifest that names them. Raises: Unavailable."""
        folders = {Topic(*parts[:2]) for name in self.place.sizes("") if len(parts := name.split("/")) > 2}
        return sorted(folders.difference(self.topics()))

    def manifest(self, topic: Topic, *, fresh: bool = True) -> Manifest | None:
        """What the archive has of a topic; None: nothing.

        Arguments: fresh: False where what was read a few seconds ago will do. Raises: Unavailable: it cannot be read;
        DamagedManifest: its chain is broken.
        """
        with self._lock:
            known, read_s = self._known.get(topic, (None, -_BELIEVED_S))
            if not fresh and known is not None and time.monotonic() - read_s < _BELIEVED_S:
                return known
            name = f"{topic.folder}/{NAME}"
            content = self.place.read(name)
            try:
                manifest = None if content is None else decode(content)
            except ValueError as error:
                raise DamagedManifest(
                    f"the manifest {name} in the archive {self.url} is damaged: {error}; put back a copy of it"
                ) from error
            self._known[topic] = manifest, time.monotonic()
            return manifest

    def files(self, topic: Topic, partition: int, reach: int = 0) -> list[SealedFile]:
        """The files of a partition, in order. Arguments: reach: where they should end at least: the manifest is read
        again, if what is known of it ends before, since another process may have archived more."""
        files: list[SealedFile] = []
        for fresh in (False, True):
            manifest = self.manifest(topic, fresh=fresh)
            files = manifest.of(partition) if manifest is not None else []
            if files and files[-1].next >= reach:
                break
        return files

    def keep(self, topic: Topic, manifest: Manifest) -> None:
        """Writes the manifest of a topic. Raises: Unavailable."""
        with self._lock:
            self.place.write(f"{topic.folder}/{NAME}", encode(manifest))
            self._known[topic] = manifest, time.monotonic()

    @contextmanager
    def opened(self, topic: Topic, file: SealedFile) -> Iterator[FileReader]:
        """One file. Raises, also inside: Unavailable: it is missing or damaged."""
        where = f"{topic.folder}/{file.file}"
        with closing(self.place.open(where)) as source:
            try:
                yield FileReader(source, TopicPartition(topic.name, file.partition), file.footer_sha256)
            except OSError as error:
                raise _damaged(self, where, error) from error

    def keyed(self, topic: Topic, partition: int, key: bytes, before: int) -> list[Record]:
        """The records of one key below an offset, in order.

        The first question reads the keys of all files; what is kept of them leaves few row groups to later ones.
        """
        found: list[Record] = []
        for file in self.files(topic, partition, before):
            if file.begin < before and (groups := self._groups_of(topic, file, key)):
                with self.opened(topic, file) as reader:
                    found += [record for record in reader.keyed(key, groups) if record.offset < before]
        return found

    def _groups_of(self, topic: Topic, file: SealedFile, key: bytes) -> list[int]:
        """The row groups of a file that may have a key."""
        filters = self._filters.get(file.sha256)
        if filters is None:
            with self.opened(topic, file) as reader:
                filters = self._filters[file.sha256] = reader.key_filters()
        return [number for number, one in enumerate(filters) if one.may_have(key)]

    def first_since(self, topic: Topic, partition: int, timestamp_ms: int, before: int) -> int | None:
        """The first offset below another one whose record time is at or after the given one."""
        for file in self.files(topic, partition, before):
            if file.begin < before and file.newest_ms >= timestamp_ms:
                with self.opened(topic, file) as reader:
                    offset = reader.first_since(timestamp_ms, file.begin)
                return offset if offset is not None and offset < before else None
        return None


class Tape:
    """Reads a partition from a position on, file after file; a row group is in memory.

    Arguments: archive; topic; partition; position; envelopes: as of `Log.reader`.
    """

    def __init__(self, archive: Archive, topic: Topic, partition: int, position: int, envelopes: bool) -> None:
        self._archive, self._topic, self._partition, self._envelopes = archive, topic, partition, envelopes
        self.position = position
        self._file: SealedFile | None = None
        self._source: Any = None
        self._reader: FileReader | None = None
        self._group = 0
        self._records: list[Record] = []
        self._taken = 0

    def fetch(self, limit: int) -> Fetched:
        """The next records, at most `limit`; `ended`: the archive has nothing at the position.

        Raises: Unavailable: a file is missing or damaged.
        """
        if not self.loaded and not self._load():
            return Fetched((), self.position, ended=True)
        records = self._records[self._taken : self._taken + limit]
        self._taken += len(records)
        self.position = records[-1].offset + 1 if records else self.position
        if not self.loaded:
            self._records, self._taken = [], 0
        file = self._file
        if file is not None and self.position > file.last:
            self.position = file.next
            self.close()
        return Fetched(records, self.position, ended=False)

    @property
    def loaded(self) -> bool:
        """Whether records that were not fetched yet are in memory."""
        return self._taken < len(self._records)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = self._reader = self._file = None
        self._records, self._taken = [], 0

    def _load(self) -> bool:
        """Brings the next row group into memory. Returns whether there is one."""
        if self._reader is None and not self._open():
            return False
        assert self._file is not None
        assert self._reader is not None
        with self._telling():
            self._records = self._reader.read(self._group, envelopes=self._envelopes)
        self._group += 1
        self._taken = bisect_left(self._records, self.position, key=lambda record: record.offset)
        return True

    def _open(self) -> bool:
        files = self._archive.files(self._topic, self._partition)
        file = next((file for file in files if file.begin <= self.position < file.next), None)
        if file is None:
            return False
        if self.position > file.last:  # nothing but a gap is left of it
            self.position = file.next
            return self._open()
        self._file = file
        self._source = self._archive.place.open(f"{self._topic.folder}/{file.file}")
        with self._telling():
            partition = TopicPartition(self._topic.name, self._partition)
            self._reader = FileReader(self._source, partition, file.footer_sha256)
            self._group = self._reader.group_at(self.position)
            if self._group == len(self._reader.groups):
                raise OSError(f"it has no record at or after {self.position}")
        return True

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self._topic.folder}/{self._file.file if self._file else ''}"
            raise _damaged(self._archive, where, error) from error


def _damaged(archive: Archive, where: str, error: OSError) -> Unavailable:
    return Unavailable(
        f"the file {where} in the archive {archive.url} is damaged: {error}; `hw archive verify` tells what else is, "
        "put back a copy of it"
    )
