"""What a new owner of a partition reads before it takes the first command.

The order is the point, and each step was paid for:

1. transactions that the last owner left open are ended (`settle`);
2. the committed position of the commands, stable;
3. the **written** end of `-state` and `-events`, uncommitted data and markers included: a commit that was
   answered may not be visible yet, and stopping at the visible end lost it;
4. committed records up to these marks, waiting for them if need be; of `-state` only what the copy on this machine
   does not have yet (`keeping`);
5. events later than the states cover are folded in by whoever decodes the entry: they are the truth. Every state
   record says up to where all states of its partition had covered the events; reading begins there, since of the
   last transaction some states may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headwater.environment import Environment
from headwater.errors import BadData, Unavailable
from headwater.log.partitioning import partition_of
from headwater.log.port import Batch, Log, Reader, Record, TopicPartition
from headwater.log.topology import commands_topic, events_topic, state_topic
from headwater.owners.keeping import take_states
from headwater.owners.partition import PartitionMemory
from headwater.owners.state_record import decode_covered
from headwater.owners.states import States
from headwater.readers.garbage import collection_waits

STALLED_S = 60.0
"""How long the log may bring nothing new while something is missing."""

LOOKING_S = 5.0
"""The same for a look that an owner takes between two transactions: it can take it later."""

FOREIGN = "a foreign event in an owned topic: only owners write there; send it as a command, or with append"


@collection_waits()
def restore(
    log: Log,
    entity: str,
    group: str,
    states: Mapping[int, States],
    count: int,
    with_events: bool,
    environment: Environment,
) -> dict[int, PartitionMemory]:
    """Reads the partitions' memories back from the log.

    Arguments: states: of each partition, as far as they are here: the rest is added; count: how many partitions the
    entity type has. Raises: Unavailable: the log brings nothing for a
    minute though it has more, or commands that were never carried out are gone. A record that does not belong
    where it is stops its partition (`PartitionMemory.stopped`).
    """
    commands = {p: TopicPartition(commands_topic(entity), p) for p in states}
    newest = {p: TopicPartition(state_topic(entity), p) for p in states}
    events = {p: TopicPartition(events_topic(entity), p) for p in states} if with_events else {}
    log.settle(group, [*commands.values(), *newest.values(), *events.values()])
    committed = log.committed(group, list(commands.values()))
    begins = log.begins([*commands.values(), *newest.values(), *events.values()])
    marks = log.ends([*newest.values(), *events.values()], committed=False)
    memories = {p: PartitionMemory(states[p]) for p in states}
    reader = log.reader()
    try:
        start = {tp: max(begins[tp], states[p].position) for p, tp in newest.items()}
        for batch in _read_to(reader, start, marks, environment):
            take_states(batch, states)
        for memory in memories.values():
            memory.take_marks()
        start = {tp: max(memories[p].verified, begins[tp]) for p, tp in events.items()}
        for batch in _read_to(reader, start, marks, environment):
            for record in batch.records:
                _take_event(memories[record.partition], record, count)
    finally:
        reader.close()
    for p, tp in events.items():
        memories[p].verified = marks[tp]
    for p, tp in commands.items():
        memory = memories[p]
        memory.next_command = max(memory.next_command, committed.get(tp, begins[tp]))
        if memory.next_command < begins[tp]:
            raise Unavailable(
                f"commands {memory.next_command} to {begins[tp] - 1} of {tp} were never carried out and are gone; "
                f"if they can be lost: hw reset --group {group} --topic {tp.topic}:{p} --to-earliest --execute"
            )
    return memories


def _take_event(memory: PartitionMemory, record: Record, count: int) -> None:
    """An event that its entity's state may not cover."""
    key = record.key
    ours = any(name == "hw_commit" for name, _ in record.headers)
    if ours and memory.begun < 0:
        memory.begun = record.offset
    if key is None:
        why = "an event without a key in an owned topic"
    elif (home := partition_of(key, count)) != record.partition:
        why = f"the event's key {key!r} belongs to partition {home}: its writer uses another partitioner than murmur2"
    elif not ours and 0 <= memory.begun < record.offset:
        why = FOREIGN
    else:
        state = memory.states.get(key)
        if state is None or record.offset >= decode_covered(state).events:
            memory.tail.setdefault(key, []).append(record)
        return
    memory.stopped = memory.stopped or str(_bad(record, why))


def foreign_event(
    log: Log, partition: TopicPartition, start: int, end: int, owner: str, environment: Environment
) -> BadData | None:
    """The first event between two positions that this owner did not write.

    Arguments: owner: its name, as the events carry it. Raises: Unavailable: they cannot be read.
    """
    mine = f"{owner};".encode()
    reader = log.reader()
    try:
        for batch in _read_to(reader, {partition: start}, {partition: end}, environment, LOOKING_S):
            for record in batch.records:
                if record.offset < end and not dict(record.headers).get("hw_txn", b"").startswith(mine):
                    return _bad(record, FOREIGN)
    finally:
        reader.close()
    return None


def _bad(record: Record, why: str) -> BadData:
    return BadData(why, topic=record.topic, partition=record.partition, offset=record.offset)


def _read_to(
    reader: Reader,
    start: dict[TopicPartition, int],
    marks: dict[TopicPartition, int],
    environment: Environment,
    stalled_s: float = STALLED_S,
) -> Iterator[Batch]:
    """Committed records from `start` up to the marks, as they are read: there may be more than fit in memory."""
    missing = {tp for tp, position in start.items() if position < marks[tp]}
    if not missing:
        return
    reader.assign({tp: start[tp] for tp in missing})
    deadline_s = environment.monotonic_s() + stalled_s
    while missing:
        batch = reader.read(10_000, 1.0)
        yield batch
        missing -= {tp for tp, reached in batch.reached.items() if reached >= marks[tp]}
        now_s = environment.monotonic_s()
        if batch.reached:
            deadline_s = now_s + stalled_s
        elif missing and now_s > deadline_s:
            waiting = ", ".join(str(tp) for tp in sorted(missing))
            raise Unavailable(f"restoring: {waiting} did not get any nearer to its written end for {stalled_s:g} s")
