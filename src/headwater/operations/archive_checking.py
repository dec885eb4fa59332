"""Whether an archive still has what was written into it, and whether that is what the log has.

Three looks, each deeper than the one before: the chain of the manifest; the hash and size of each file; and the records
in it, against its entry and, where the log has them too, against the log.

An archive cannot tell what it has lost as a whole. So the log is asked as well what it says is only in an archive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.log.archive.archive import Archive, DamagedManifest, Topic
from headwater.log.archive.manifest import NAME, Lost, Manifest, SealedFile, lost
from headwater.log.port import Log, Record, TopicPartition
from headwater.operations.archive_needing import Needed, only_archived
from headwater.readers.spans import batches_between

_CHUNK_BYTES = 1 << 20


class Checked(NamedTuple):
    """A partition in an archive.

    Arguments: partition: None: what is wrong is wrong with the whole topic; begin, end: the positions that it covers
    (None: none); compared: records that were found equal in the log; faults: what is wrong, in words.
    """

    topic: str
    topic_id: str
    partition: int | None
    begin: int | None
    end: int | None
    files: int
    records: int
    size_bytes: int
    compared: int
    faults: list[str]


def topics_to_check(archive: Archive, log: Log | None) -> list[Topic]:
    """What an archive has, what is left of it, and what the log says is nowhere else.

    Arguments: log: without the archive in front of it; None: it is not asked. Raises: Unavailable.
    """
    found = {topic.folder: topic for topic in archive.topics() + archive.without_manifest()}
    for needed in only_archived(log) if log is not None else ():
        found[needed.topic.folder] = needed.topic
    return sorted(found.values())


def check_archive(
    archive: Archive, topics: list[Topic], log: Log | None, environment: Environment
) -> Iterator[Checked]:
    """Looks at each partition of some topics.

    Arguments: topics: of `topics_to_check`; log: without the archive in front of it; None: nothing is compared.
    Raises: Unavailable: the archive or the log do not answer.
    """
    needs = {one.topic.folder: one for one in only_archived(log)} if log is not None else {}
    for topic in topics:
        needed = needs.get(topic.folder)
        try:
            manifest = archive.manifest(topic)
        except DamagedManifest as damage:
            yield _fault_of_all(topic, str(damage))
            continue
        if manifest is None:
            if fault := _without_manifest(archive, topic, needed, log):
                yield _fault_of_all(topic, fault)
            continue
        live = log if log is not None and _is_of(log, manifest) else None
        gone = needed.gone if needed is not None else {}
        for partition in sorted({file.partition for file in manifest.files} | gone.keys()):
            yield _check(archive, topic, manifest, partition, gone.get(partition), live, environment)


def left_over(archive: Archive, topic: Topic) -> list[str]:
    """Files that the manifest does not name: of a run that was ended between file and entry. Nobody reads them."""
    try:
        manifest = archive.manifest(topic)
    except DamagedManifest:  # `check_archive` tells it; which files it named is not known
        return []
    named = {NAME} | {file.file for file in manifest.files} if manifest is not None else set()
    return sorted(name for name in archive.place.sizes(topic.folder) if name not in named)


def _is_of(log: Log, manifest: Manifest) -> bool:
    there = log.topics([manifest.topic]).get(manifest.topic)
    return log.id == manifest.log and there is not None and there.id == manifest.topic_id


def _fault_of_all(topic: Topic, fault: str) -> Checked:
    return Checked(topic.name, topic.id, None, None, None, 0, 0, 0, 0, [fault])


def _without_manifest(archive: Archive, topic: Topic, needed: Needed | None, log: Log | None) -> str | None:
    """What is wrong with a topic that has no manifest, in words; None: a run was ended before it wrote the first."""
    if needed is not None:
        return (
            f"the archive has no manifest of it, and the log does not have its first events: they were deleted there "
            f"because {needed.archive} had them; mount or put back what was there, or name the archive that has them"
        )
    files = archive.place.sizes(topic.folder)
    if log is not None and len(files) <= 1 and _has_all(log, topic):
        return None
    return f"its manifest is missing, and nobody reads its files without it ({len(files)} are there): put back a copy"


def _has_all(log: Log, topic: Topic) -> bool:
    there = log.topics([topic.name]).get(topic.name)
    if there is None or there.id != topic.id:
        return False
    return not any(log.begins([TopicPartition(topic.name, p) for p in range(there.partitions)]).values())


def _gaps(files: list[SealedFile], gone: Lost | None) -> Iterator[str]:
    """What should be in the archive and is not. Arguments: gone: what the log says is only in an archive."""
    for hole in lost(files):
        yield (
            f"offsets {hole.begin} to {hole.end - 1} are missing: they were deleted from the log before they were "
            "archived"
        )
    if gone is not None:
        begin, end = (files[0].begin, files[-1].next) if files else (gone.end, gone.end)
        for first, behind in ((gone.begin, min(begin, gone.end)), (max(end, gone.begin), gone.end)):
            if first < behind:
                yield f"offsets {first} to {behind - 1} are neither in the archive nor in the log"


def _check(
    archive: Archive,
    topic: Topic,
    manifest: Manifest,
    partition: int,
    gone: Lost | None,
    log: Log | None,
    environment: Environment,
) -> Checked:
    files = manifest.of(partition)
    faults = list(_gaps(files, gone))
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
        files[0].begin if files else None,
        files[-1].next if files else None,
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
