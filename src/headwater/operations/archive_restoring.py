"""Writing what an archive has of a topic into a log that does not have it: another file, or another cluster.

Keys, values, headers, times and partitions stay; offsets are the log's own, since nobody can choose them. So an
entity's events keep their ids and versions, and positions of the old log mean nothing on the new one.

What the log has already must be the beginning of what the archive has, record by record: a restore that was ended in
the midst goes on behind it, and a topic with anything else in it is left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.log.archive.archive import Archive, Tape, Topic
from headwater.log.archive.manifest import Lost, Manifest, lost
from headwater.log.limits import size_bytes
from headwater.log.port import Aborted, Log, NewRecord, Record, TopicPartition, TopicSpec, Writer
from headwater.readers.spans import batches_between

PORTION_RECORDS, PORTION_BYTES = 5000, 4_000_000
"""Of one transaction."""

_FETCH = 5000
_SETTLED_S = 10.0


class Restored(NamedTuple):
    """A partition that was restored.

    Arguments: found: records that were there already; written: by this run; lost: what the archive does not have.
    """

    topic: str
    partition: int
    found: int
    written: int
    lost: list[Lost]


def restore_topic(
    archive: Archive,
    topic: Topic,
    log: Log,
    environment: Environment,
    *,
    progress: Callable[[Restored], None] = lambda so_far: None,
) -> Iterator[Restored]:
    """Restores a topic, and tells of each partition when it is done.

    Arguments: log: where it goes; progress: told after each transaction.
    Raises: Misuse: the log has other records in the topic, or the topic is another kind of topic. Unavailable: archive
    or log do not answer; doing it again goes on.
    """
    manifest = archive.manifest(topic)
    if manifest is None:
        raise Misuse(f"the archive {archive.url} has no topic {topic.name}: look for it with `hw archive status`")
    _make(log, manifest)
    found = {}
    for partition in range(manifest.partitions):
        found[partition] = _found(archive, topic, partition, log, environment)
    writer = log.writer(f"restore-{topic.name}-{environment.new_id()[-12:]}")
    try:
        for partition, (count, position) in found.items():
            missing = list(lost(manifest.of(partition)))
            done = Restored(topic.name, partition, count, 0, missing)
            for portion in _portions(_records(archive, topic, partition, position)):
                _write(writer, portion)
                done = done._replace(written=done.written + len(portion))
                progress(done)
            yield done
    finally:
        writer.close()


def _make(log: Log, manifest: Manifest) -> None:
    """Makes the topic where it is missing: kept for ever, with the writers' times, as archived ones have to be."""
    name = manifest.topic
    log.create_topics([TopicSpec(name, manifest.partitions)])
    there = log.topics([name])[name]
    if (log.id, there.id) == (manifest.log, manifest.topic_id):
        raise Misuse(
            f"topic {name} of this log is the one that was archived; opened with ?archive= it is read with its archive"
        )
    if there.partitions != manifest.partitions:
        raise Misuse(
            f"topic {name} has {there.partitions} partitions here and {manifest.partitions} in the archive: keys would "
            "be in other partitions; restore into a log that does not have it"
        )
    if there.compacted or there.log_time or there.retention_ms is not None:
        raise Misuse(
            f"topic {name} is there already, and would not keep all records with their times (compacted, with a "
            "retention, or with the log's own times); restore into a log that does not have it"
        )


def _found(archive: Archive, topic: Topic, partition: int, log: Log, environment: Environment) -> tuple[int, int]:
    """How many of the archive's records the log has, and the archive's position behind them.

    Raises: Misuse: it has others.
    """
    tp = TopicPartition(topic.name, partition)
    begin, end = log.begins([tp])[tp], _settled_end(log, tp, environment)
    count, position = 0, 0
    mine = _records(archive, topic, partition, 0)
    for batch in batches_between(log, {tp: begin}, {tp: end}, f"looking at {tp}", environment):
        for record in batch.records:
            archived = next(mine, None)
            if archived is None or not _same(archived, record):
                raise Misuse(
                    f"{tp} has records of its own (the first is at offset {record.offset}): restore into a log that "
                    "does not have this topic"
                )
            count, position = count + 1, archived.offset + 1
    return count, position


def _settled_end(log: Log, tp: TopicPartition, environment: Environment) -> int:
    """The end, with nothing behind it that may still appear."""
    deadline_s = environment.monotonic_s() + _SETTLED_S + (log.transaction_timeout_s or 0)
    pause = threading.Event()
    while log.ends([tp], committed=False)[tp] != log.ends([tp])[tp]:
        if environment.monotonic_s() > deadline_s:
            raise Unavailable(f"a transaction is open in {tp}: somebody writes there; restore when nobody does")
        pause.wait(0.02)
    return log.ends([tp])[tp]


def _records(archive: Archive, topic: Topic, partition: int, position: int) -> Iterator[Record]:
    """What the archive has from a position on; over what was lost, which is told elsewhere."""
    manifest = archive.manifest(topic, fresh=False)
    for file in manifest.of(partition) if manifest is not None else ():
        if file.last < position:  # what is left of it is a gap, behind which the next file begins
            continue
        tape = Tape(archive, topic, partition, max(position, file.begin), envelopes=True)
        while tape.position < file.next and (fetched := tape.fetch(_FETCH)).records:
            yield from fetched.records
        tape.close()


def _same(archived: Record, record: Record) -> bool:
    return (archived.key, archived.value, archived.timestamp_ms, list(map(tuple, archived.headers))) == (
        record.key,
        record.value,
        record.timestamp_ms,
        list(map(tuple, record.headers)),
    )


def _portions(records: Iterator[Record]) -> Iterator[list[NewRecord]]:
    while portion := _portion(records):
        yield portion


def _portion(records: Iterator[Record]) -> list[NewRecord]:
    portion: list[NewRecord] = []
    size = 0
    for one in islice(records, PORTION_RECORDS):
        new = NewRecord(one.topic, one.partition, one.key, one.value, tuple(one.headers), one.timestamp_ms)
        portion.append(new)
        size += size_bytes(new)
        if size >= PORTION_BYTES:
            break
    return portion


def _write(writer: Writer, portion: list[NewRecord]) -> None:
    while True:
        try:
            writer.transact(lambda transaction: transaction.write(portion))
        except Aborted:  # nothing of it was written: it is one partition
            continue
        return
