"""Which records of a batch of `<entity>-commands` are carried out, and where a partition stops since one is none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from headwater.errors import BadData
from headwater.log.partitioning import partition_of
from headwater.log.port import Batch, Record, TopicPartition
from headwater.owners.arriving import Arrived, from_record
from headwater.owners.known import Knowledge
from headwater.owners.life import State


class Accepted(NamedTuple):
    """Arguments: work: the commands; positions: how far each partition goes; stopped: why a partition stops there,
    since a bad record comes next."""

    work: list[Arrived]
    positions: dict[TopicPartition, int]
    stopped: dict[int, str]


class Opening:
    """Reads the envelopes of commands, those of the next batch while the log is at work on this one."""

    def __init__(self) -> None:
        self._records: Sequence[Record] = ()
        self._opened: list[Arrived | BadData] = []

    def ahead(self, records: Sequence[Record]) -> None:
        """These come next, if nothing changes."""
        self._records, self._opened = records, list(map(opened, records))

    def all_of(self, records: Sequence[Record]) -> list[Arrived | BadData]:
        """One for each record. The list that was opened ahead may have grown; another one is opened anew."""
        done = self._opened if records is self._records else []
        self._records, self._opened = (), []
        return done + list(map(opened, records[len(done) :]))


def opened(record: Record) -> Arrived | BadData:
    """The command in a record, or why there is none."""
    try:
        return from_record(record)
    except BadData as error:
        return error


def accepted(
    batch: Batch,
    commands: Sequence[Arrived | BadData],
    known: Knowledge,
    partitions: int,
    paused: Collection[TopicPartition] = (),
) -> Accepted:
    """Arguments: commands: in the batch's records; partitions: the recorded count; paused: of which nothing is taken
    now."""
    positions = {
        tp: at for tp, at in batch.reached.items() if known.lives.of(tp.partition) is State.ACTIVE and tp not in paused
    }
    begins = {tp.partition: known.memories[tp.partition].next_command for tp in positions}
    work: list[Arrived] = []
    stopped: dict[int, str] = {}
    has = known.has
    for record, arrived in zip(batch.records, commands, strict=True):
        partition, offset = arrived.partition, arrived.offset
        begin = begins.get(partition)
        if begin is None or offset < begin:
            continue
        try:
            if isinstance(arrived, BadData):
                raise arrived
            if not has(partition, arrived.key):  # else an earlier command had the same key
                check_key(arrived.key, record, partitions)
            work.append(arrived)
        except BadData as error:
            del begins[partition]
            stopped[partition] = str(error)
            positions[TopicPartition(record.topic, partition)] = offset
    return Accepted(work, positions, stopped)


def check_key(key: bytes, record: Record, partitions: int) -> None:
    """Raises: BadData: who sent it has other partitions than the topic."""
    home = partition_of(key, partitions)
    why = f"the command's key {key!r} belongs to partition {home}: its sender uses another partitioner than murmur2"
    if home == record.partition:
        try:
            key.decode()
            return
        except UnicodeDecodeError as error:
            why = f"the key is not UTF-8: {error}"
    raise BadData(why, topic=record.topic, partition=record.partition, offset=record.offset)
