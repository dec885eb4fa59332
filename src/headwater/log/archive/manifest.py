"""What an archive has of a topic: a chain of sealed files, each naming the hash of the one before it.

    head ──► file n ──previous──► file n-1 ──► … ──► file 1 ──previous──► hash of (log, topic, topic id)

An entry is written after its file is safe, and never changed. A missing or changed entry breaks the chain, a missing or
changed file differs from its entry. The hashes find accidents; they do not prove that nobody wrote all of it anew,
unless the head is kept somewhere else.

Pure: places and Parquet are elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

FORMAT = 1
NAME = "manifest.json"


class SealedFile(msgspec.Struct, frozen=True, rename="camel"):
    """A file, and the range of a partition that it covers: all committed records of `begin` to `next` - 1.

    Arguments: file: below the topic's folder; first, last: offsets of its first and last record; records: how many;
    size_bytes, sha256: of the file; footer_sha256: of the end of it, which a reader checks; oldest_ms, newest_ms: the
    least and greatest record time in it; previous: hash of the entry before this one.
    """

    file: str
    partition: int
    begin: int
    first: int
    last: int
    next: int
    records: int
    size_bytes: int
    sha256: str
    footer_sha256: str
    oldest_ms: int
    newest_ms: int
    previous: str


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """Arguments: log: its id; topic, topic_id; partitions: how many the topic had at the last run; head: hash of the
    last entry of `files`."""

    log: str
    topic: str
    topic_id: str
    partitions: int
    head: str
    files: list[SealedFile] = msgspec.field(default_factory=list)
    format: int = FORMAT

    def of(self, partition: int) -> list[SealedFile]:
        """The files of a partition, in order."""
        return [file for file in self.files if file.partition == partition]

    def next_of(self, partition: int) -> int | None:
        """Where archiving a partition goes on; None: nothing of it is archived."""
        return max((file.next for file in self.files if file.partition == partition), default=None)


class Lost(NamedTuple):
    """Positions that were deleted from the log before they were archived: `begin` to `end` - 1."""

    partition: int
    begin: int
    end: int


def folder_of(topic: str, topic_id: str) -> str:
    """Where the files of a topic are. A topic that is deleted and made again has another id, and another folder."""
    return f"{topic}/{topic_id.replace('/', '_')}"


def new_manifest(log_id: str, topic: str, topic_id: str, partitions: int) -> Manifest:
    """One that has no files yet."""
    return Manifest(log_id, topic, topic_id, partitions, _root(log_id, topic, topic_id))


def with_file(manifest: Manifest, file: SealedFile, partitions: int) -> Manifest:
    """The manifest with one more file, whose `previous` is the manifest's head."""
    return msgspec.structs.replace(manifest, files=[*manifest.files, file], head=hash_of(file), partitions=partitions)


def encode(manifest: Manifest) -> bytes:
    """As it is written: JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(content: bytes) -> Manifest:
    """Raises: ValueError: it is no manifest, of a newer format, or its chain is broken; the message says where."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if manifest.format > FORMAT:
        raise ValueError(f"it has format {manifest.format}, made by a newer headwater; this one knows {FORMAT}")
    broken = _broken(manifest)
    if broken is not None:
        raise ValueError(broken)
    return manifest


def hash_of(file: SealedFile) -> str:
    """Of an entry, with the hash of the one before it: so of all up to it."""
    return hashlib.sha256(msgspec.json.encode(file)).hexdigest()


def lost(files: Sequence[SealedFile], until: int = 0) -> Iterator[Lost]:
    """What is missing between the files of a partition, and after the last one up to a position."""
    for before, after in pairwise(files):
        if before.next < after.begin:
            yield Lost(after.partition, before.next, after.begin)
    if files and files[-1].next < until:
        yield Lost(files[-1].partition, files[-1].next, until)


def _root(log_id: str, topic: str, topic_id: str) -> str:
    return hashlib.sha256(msgspec.json.encode([log_id, topic, topic_id])).hexdigest()


def _broken(manifest: Manifest) -> str | None:
    """Where the chain does not hold."""
    link = _root(manifest.log, manifest.topic, manifest.topic_id)
    ends: dict[int, int] = {}
    for file in manifest.files:
        if file.previous != link:
            return f"the entry before {file.file} is missing or was changed"
        ordered = file.begin <= file.first <= file.last < file.next and file.records > 0
        if not ordered or file.begin < ends.get(file.partition, 0):
            return f"the entry of {file.file} names offsets that cannot be"
        ends[file.partition] = file.next
        link = hash_of(file)
    if manifest.head != link:
        return "its last entry is missing or was changed"
    return None
