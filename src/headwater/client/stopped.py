"""Why a question for an entity stays without an answer: nothing is decided in its partition.

Its owner knows why. From any other process it is seen where the record that comes next is itself the reason, or one of
the last events, which no owner goes past.
"""

from __future__ import annotations

from headwater.errors import BadData
from headwater.log.port import Log, Record, TopicPartition
from headwater.log.topology import commands_topic, events_topic, owners_group
from headwater.owners.accepting import check_key
from headwater.owners.arriving import from_record
from headwater.owners.restore import FOREIGN
from headwater.readers.foreign import group_now

LAST_EVENTS = 1000
"""So many are looked at: an owner stops at the commit after a foreign event, so not many of its own come behind it."""


def why_stopped(log: Log, entity: str, partition: int, partitions: int) -> str | None:
    """In words; None: the log does not tell. Arguments: partitions: the recorded count. Raises: Unavailable."""
    tp = TopicPartition(commands_topic(entity), partition)
    # Not `Log.committed`, which waits for the end of a transaction: what is in one was no reason to stop.
    record = first_in_line(log, tp, group_now(log, owners_group(entity)).positions.get(tp))
    if record is not None:
        try:
            check_key(from_record(record).key, record, partitions)
        except BadData as error:
            return f"{tp.topic}, partition {partition} is stopped: {error}"
    event = foreign_event(log, TopicPartition(events_topic(entity), partition))
    if event is None:
        return None
    bad = BadData(FOREIGN, topic=event.topic, partition=event.partition, offset=event.offset)
    return f"{tp.topic}, partition {partition} is stopped: {bad}"


def first_in_line(log: Log, tp: TopicPartition, committed: int | None) -> Record | None:
    """The record that an owner comes to next; None: there is none, or only a gap, or it does not come soon.

    Arguments: committed: the owners' position. Raises: Unavailable.
    """
    begin, end = log.begins([tp])[tp], log.ends([tp])[tp]
    position = begin if committed is None else max(begin, committed)
    if position >= end:
        return None
    reader = log.reader()
    try:
        reader.assign({tp: position})
        records = reader.read(1, 0.5).records
    finally:
        reader.close()
    return records[0] if records else None


def foreign_event(log: Log, tp: TopicPartition) -> Record | None:
    """The first among the last events that no owner wrote, behind one that an owner wrote; None: there is none, or they
    do not come soon. Raises: Unavailable."""
    begin, end, ours = log.begins([tp])[tp], log.ends([tp])[tp], False
    position = max(begin, end - LAST_EVENTS)
    reader = log.reader()
    try:
        reader.assign({tp: position})
        while position < end:
            batch = reader.read(LAST_EVENTS, 0.5)
            for record in batch.records:
                if any(name == "hw_commit" for name, _ in record.headers):
                    ours = True
                elif ours:
                    return record
            if tp not in batch.reached:
                return None
            position = batch.reached[tp]
    finally:
        reader.close()
    return None
