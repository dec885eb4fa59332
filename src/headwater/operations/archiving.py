"""Writing a topic into an archive: what is committed, up to where it can be read now, in sealed files.

    for each partition: where its last file ends ──► read committed ──► file full, or end reached
                        ──► file in its place ──► manifest with its hash

A file counts when the manifest names it, and the manifest is written last; so a run that is killed leaves nothing that
anybody believes, and the next one goes on where the manifest ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.log.archive.archive import Archive, Topic
from headwater.log.archive.manifest import Lost, Manifest, SealedFile, new_manifest, with_file
from headwater.log.archive.parquet import FileWriter, footer_sha256
from headwater.log.port import Log, Record, TopicDescription, TopicPartition
from headwater.log.topology import Topology, events_topic
from headwater.readers.spans import batches_between


class Limits(NamedTuple):
    """When a file is full."""

    records: int
    size_bytes: int


LIMITS = Limits(records=1_000_000, size_bytes=64_000_000)
"""Whichever comes first; the size is that of the file, compressed, and passed by a row group at most."""


class Archived(NamedTuple):
    """What a run did with a partition.

    Arguments: begin, end: the positions that it archived; files, records, size_bytes: that it wrote; lost: what was
    deleted from the log before this run came.
    """

    topic: str
    partition: int
    begin: int
    end: int
    files: int
    records: int
    size_bytes: int
    lost: Lost | None


def archived_by_default(log: Log) -> list[str]:
    """The topics of events that apps have made on a log. Raises: Misuse: there are none."""
    found = [name for one in Topology.read(log).records if (name := events_topic(one.entity)) in one.topics]
    if not found:
        raise Misuse("no app has made topics of events on this log; name what is to be archived with --topic")
    return found


def archive_topic(
    log: Log,
    archive: Archive,
    topic: str,
    environment: Environment,
    *,
    limits: Limits = LIMITS,
    progress: Callable[[Archived], None] = lambda so_far: None,
) -> Iterator[Archived]:
    """Archives what is new of a topic, and tells of each partition when it is done.

    Arguments: log: without the archive in front of it; progress: told after each file.
    Raises: Misuse: there is no such topic, or it is compacted. Unavailable: log or archive do not answer, or somebody
    else archives the topic there.
    """
    description = log.topics([topic]).get(topic)
    if description is None:
        raise Misuse(f"there is no topic {topic}: look for it with `hw topics`")
    if description.compacted:
        raise Misuse(
            f"topic {topic} is compacted: it has the latest record of each key, and no history that could be archived"
        )
    place = Topic(topic, description.id)
    with archive.place.workshop(place.folder) as workshop:
        run = _Run(log, archive, description, environment, limits, workshop)
        for partition in range(description.partitions):
            yield run.archive(partition, progress)


class _Run:
    """One topic. Arguments: as of `archive_topic`; workshop: where files are made."""

    def __init__(
        self,
        log: Log,
        archive: Archive,
        description: TopicDescription,
        environment: Environment,
        limits: Limits,
        workshop: Path,
    ) -> None:
        self._log, self._archive, self._environment, self._limits = log, archive, environment, limits
        self._description, self._workshop = description, workshop
        self._topic = Topic(description.name, description.id)
        self._manifest = archive.manifest(self._topic) or self._new()

    def archive(self, partition: int, progress: Callable[[Archived], None]) -> Archived:
        """One partition, from where its last file ends to what can be read now."""
        tp = TopicPartition(self._topic.name, partition)
        begin, end = self._log.begins([tp])[tp], self._log.ends([tp])[tp]
        start = self._manifest.next_of(partition)
        lost = Lost(partition, start, begin) if start is not None and start < begin else None
        start = begin if start is None or lost is not None else start
        done = Archived(self._topic.name, partition, start, start, 0, 0, 0, lost)
        for file in self._files(tp, start, end):
            self._keep(file)
            done = done._replace(
                end=file.next,
                files=done.files + 1,
                records=done.records + file.records,
                size_bytes=done.size_bytes + file.size_bytes,
            )
            progress(done)
        return done

    def _files(self, tp: TopicPartition, start: int, end: int) -> Iterator[SealedFile]:
        """Files in their places, which the manifest does not name yet."""
        writer: FileWriter | None = None
        what, begin = f"archiving {tp}", start
        for batch in batches_between(self._log, {tp: start}, {tp: end}, what, self._environment):
            records: Sequence[Record] = batch.records
            while records:
                writer = writer or FileWriter(self._workshop / f"{begin}.parquet", tp, self._topic.id)
                room = self._limits.records - writer.records
                writer.add(records[:room])
                records = records[room:]
                if writer.records >= self._limits.records or writer.written_bytes >= self._limits.size_bytes:
                    file = self._seal(writer, tp.partition, begin, None)
                    yield file
                    writer, begin = None, file.next
        if writer is not None:
            yield self._seal(writer, tp.partition, begin, end)

    def _seal(self, writer: FileWriter, partition: int, begin: int, end: int | None) -> SealedFile:
        """Arguments: end: up to where there are no more records (None: to the last one)."""
        content = writer.close()
        digest, footer, size_bytes = _hashes(writer.path)
        name = f"partition={partition}/{content.first:020}-{content.last:020}-{digest[:12]}.parquet"
        file = SealedFile(
            file=name,
            partition=partition,
            begin=begin,
            first=content.first,
            last=content.last,
            next=content.last + 1 if end is None else end,
            records=content.records,
            size_bytes=size_bytes,
            sha256=digest,
            footer_sha256=footer,
            oldest_ms=content.oldest_ms,
            newest_ms=content.newest_ms,
            previous=self._manifest.head,
        )
        self._archive.place.put(f"{self._topic.folder}/{name}", writer.path)
        return file

    def _keep(self, file: SealedFile) -> None:
        """From now on the file counts.

        Raises: Unavailable: the manifest is another one than this run knows.
        """
        there = self._archive.manifest(self._topic) or self._new()
        if there.head != self._manifest.head:
            raise Unavailable(
                f"another process archives topic {self._topic.name} into {self._archive.url}: what it wrote counts"
            )
        self._manifest = with_file(self._manifest, file, self._description.partitions)
        self._archive.keep(self._topic, self._manifest)

    def _new(self) -> Manifest:
        return new_manifest(self._log.id, self._topic.name, self._topic.id, self._description.partitions)


def _hashes(path: Path) -> tuple[str, str, int]:
    """SHA-256 of a file, of its footer, and its size."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = file.tell()
        return digest, footer_sha256(file), size_bytes
