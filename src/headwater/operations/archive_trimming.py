"""Deleting from a log what an archive has: file by file, and only what was read in both and found the same.

    plan: files whose records are old enough, from where the log begins ──► read and compared ──► up to where
    trim: where the rest is, into `headwater-meta` ──► deleted

An app that opens the log without the archive afterwards is refused: see `Topology.check_beginnings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.log.archive.archive import Archive, Topic
from headwater.log.archive.manifest import SealedFile
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Beginning, Topology, events_topic
from headwater.operations.archive_checking import Fault, check_file


class Trim(NamedTuple):
    """What may be deleted from a partition of a log.

    Arguments: begin: where the log begins; end: where it would begin then, the same where nothing is to be deleted;
    compared: records that are the same in both; fault: why it ends there, if the archive is not what it was;
    behind: groups that have not read up to there, and need the archive to go on.
    """

    topic: str
    partition: int
    begin: int
    end: int
    compared: int
    fault: str | None
    behind: list[str]


def plan(log: Log, archive: Archive, name: str, before_ms: int, environment: Environment) -> Iterator[Trim]:
    """What could be deleted of each partition of a topic.

    Arguments: log: without the archive in front of it; before_ms: all records of a file must be older.
    Raises: Misuse: the topic is not archived there. Unavailable.
    """
    there = log.topics([name]).get(name)
    topic = Topic(name, there.id) if there is not None else None
    manifest = archive.manifest(topic) if topic is not None else None
    if topic is None or manifest is None:
        raise Misuse(f"topic {name} of this log is not in the archive {archive.url}: archive it first")
    groups = log.groups()
    for partition in range(manifest.partitions):
        tp = TopicPartition(name, partition)
        begin = log.begins([tp])[tp]
        end, compared, fault = _checked(log, archive, topic, manifest.of(partition), begin, before_ms, environment)
        behind = [group.name for group in groups if group.positions.get(tp, end) < end]
        yield Trim(name, partition, begin, end, compared, fault, behind)


def trim(log: Log, archive: Archive, planned: Sequence[Trim]) -> None:
    """Deletes what was planned, for ever. Raises: Unavailable: doing it again goes on."""
    positions = {TopicPartition(one.topic, one.partition): one.end for one in planned if one.end > one.begin}
    topology = Topology.read(log)
    for record in topology.records:
        topic = events_topic(record.entity)
        if any(tp.topic == topic for tp in positions):
            archived = archive.manifest(Topic(topic, record.topics[topic]))
            files = [archived.of(p) if archived is not None else [] for p in range(record.partitions)]
            begins = log.begins([TopicPartition(topic, p) for p in range(record.partitions)])
            first = [part[0].begin if part else begins[TopicPartition(topic, p)] for p, part in enumerate(files)]
            topology.begin_in_archive(record.entity, Beginning(archive.url, first))
    log.delete_before(positions)


def _checked(
    log: Log,
    archive: Archive,
    topic: Topic,
    files: Sequence[SealedFile],
    begin: int,
    before_ms: int,
    environment: Environment,
) -> tuple[int, int, str | None]:
    """Up to where the files from `begin` on are old, without a hole, and the same as in the log."""
    end, compared = begin, 0
    for file in files:
        if file.next <= end:
            continue
        if file.begin > end or file.newest_ms >= before_ms:
            break
        try:
            compared += check_file(archive, topic, file, log, environment)
        except Fault as fault:
            return end, compared, f"{file.file}: {fault}"
        end = file.next
    return end, compared, None
