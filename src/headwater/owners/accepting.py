"""Which records of a batch of `<entity>-commands` are carried out, and where a partition stops since one is none."""

from __future__ import annotations

from collections.abc import Collection
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


def accepted(batch: Batch, known: Knowledge, partitions: int, paused: Collection[TopicPartition] = ()) -> Accepted:
    """Arguments: partitions: the recorded count; paused: of which nothing is taken now."""
    positions = {
        tp: at for tp, at in batch.reached.items() if known.lives.of(tp.partition) is State.ACTIVE and tp not in paused
    }
    begins = {tp.partition: known.memories[tp.partition].next_command for tp in positions}
    work: list[Arrived] = []
    stopped: dict[int, str] = {}
    has = known.has
    for record in batch.records:
        partition, offset = record.partition, record.offset
        begin = begins.get(partition)
        if begin is None or offset < begin:
            continue
        try:
            arrived = from_record(record)
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
