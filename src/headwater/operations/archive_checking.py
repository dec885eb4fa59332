"""Whether an archive still has what was written into it, and whether that is what the log has.

Three looks, each deeper than the one before: the chain of the manifest; the hash and size of each file; and the records
in it, against its entry and, where the log has them too, against the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.log.archive.archive import Archive, Topic
from headwater.log.archive.manifest import NAME, Manifest, SealedFile, lost
from headwater.log.port import Log, Record, TopicPartition
from headwater.readers.spans import batches_between

_CHUNK_BYTES = 1 << 20


class Checked(NamedTuple):
    """A partition in an archive.

    Arguments: begin, end: the positions that it covers; compared: records that were found equal in the log; faults:
    what is wrong, in words.
    """

    topic: str
    topic_id: str
    partition: int
    begin: int
    end: int
    files: int
    records: int
    size_bytes: int
    compared: int
    faults: list[str]


def check_archive(
    archive: Archive, topics: list[Topic], log: Log | None, environment: Environment
) -> Iterator[Checked]:
    """Looks at each partition of some topics.

    Arguments: log: without the archive in front of it; None: nothing is compared.
    Raises: Unavailable: the archive or the log do not answer; a manifest is damaged.
    """
    for topic in topics:
        manifest = archive.manifest(topic)
        if manifest is None:
            continue
        live = log if log is not None and _is_of(log, manifest) else None
        for partition in sorted({file.partition for file in manifest.files}):
            yield _check(archive, topic, manifest, partition, live, environment)


def left_over(archive: Archive, topic: Topic) -> list[str]:
    """Files that the manifest does not name: of a run that was ended between file and entry. Nobody reads them."""
    manifest = archive.manifest(topic)
    named = {NAME} | {file.file for file in manifest.files} if manifest is not None else set()
    return sorted(name for name in archive.place.sizes(topic.folder) if name not in named)


def _is_of(log: Log, manifest: Manifest) -> bool:
    there = log.topics([manifest.topic]).get(manifest.topic)
    return log.id == manifest.log and there is not None and there.id == manifest.topic_id


def _check(
    archive: Archive, topic: Topic, manifest: Manifest, partition: int, log: Log | None, environment: Environment
) -> Checked:
    files = manifest.of(partition)
    faults = [
        f"offsets {hole.begin} to {hole.end - 1} are missing: they were deleted from the log before they were archived"
        for hole in lost(files)
    ]
    compared = 0
    for file in files:
        try:
            compared += check_file(archive, topic, file, log, environment)
        except Fault as fault:
            faults.append(f"{file.file}: {fault}")
    return Checked(
        topic.name,
        topic.id,
        partition,
        files[0].begin,
        files[-1].next,
        len(files),
        sum(file.records for file in files),
        sum(file.size_bytes for file in files),
        compared,
        faults,
    )


class Fault(Exception):
    """Something is wrong with a file."""


def check_file(archive: Archive, topic: Topic, file: SealedFile, log: Log | None, environment: Environment) -> int:
    """Returns how many of its records the log has, too, and the same. Raises: Fault: what is wrong. Unavailable."""
    _check_hash(archive, topic, file)
    return _check_records(archive, topic, file, log, environment)


def _check_hash(archive: Archive, topic: Topic, file: SealedFile) -> None:
    try:
        source = archive.place.open(f"{topic.folder}/{file.file}")
    except Unavailable as error:
        raise Fault(f"it cannot be opened: {error}") from error
    with closing(source):
        digest, size = hashlib.sha256(), 0
        try:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
        except OSError as error:
            raise Fault(f"it cannot be read: {error}") from error
    if size != file.size_bytes:
        raise Fault(f"it has {size} bytes, and had {file.size_bytes} when it was written")
    if digest.hexdigest() != file.sha256:
        raise Fault("it was changed: its SHA-256 is not the one that it had when it was written")


def _check_records(archive: Archive, topic: Topic, file: SealedFile, log: Log | None, environment: Environment) -> int:
    tp = TopicPartition(topic.name, file.partition)
    begin = file.next
    if log is not None:
        begin = min(max(log.begins([tp])[tp], file.begin), file.next)
    in_log = _in_log(log, tp, begin, file.next, environment) if log is not None and begin < file.next else iter(())
    count = compared = 0
    last = file.begin - 1
    with archive.opened(topic, file) as reader:
        for group in range(len(reader.groups)):
            records = reader.read(group)
            for record in records:
                if not last < record.offset < file.next:
                    raise Fault(f"offset {record.offset} follows {last}, in a file of {file.begin} to {file.next - 1}")
                last = record.offset
                count += 1
            compared += _compare([record for record in records if record.offset >= begin], in_log)
    if count != file.records or last != file.last:
        raise Fault(f"it has {count} records up to {last}, and not {file.records} up to {file.last}")
    for more in in_log:
        raise Fault(f"the log has offset {more.offset}, which is not in the archive")
    return compared


def _compare(records: list[Record], in_log: Iterator[Record]) -> int:
    for mine in records:
        other = next(in_log, None)
        if other is None:
            raise Fault(f"the log does not have offset {mine.offset}")
        if mine.offset != other.offset:
            raise Fault(f"the log has offset {other.offset} where the archive has {mine.offset}")
        for what in ("key", "value", "timestamp_ms"):
            if getattr(mine, what) != getattr(other, what):
                raise Fault(f"offset {mine.offset} has another {what} in the log")
        if [tuple(header) for header in mine.headers] != [tuple(header) for header in other.headers]:
            raise Fault(f"offset {mine.offset} has other headers in the log")
    return len(records)


def _in_log(log: Log, tp: TopicPartition, begin: int, end: int, environment: Environment) -> Iterator[Record]:
    for batch in batches_between(log, {tp: begin}, {tp: end}, f"comparing {tp}", environment):
        yield from batch.records
