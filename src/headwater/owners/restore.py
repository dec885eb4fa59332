"""What a new owner of a partition reads before it takes the first command.

The order is the point, and each step was paid for:

1. transactions that the last owner left open are ended (`settle`);
2. the committed position of the commands, stable;
3. the **written** end of `-state` and `-events`, uncommitted data and markers included: a commit that was
   answered may not be visible yet, and stopping at the visible end lost it;
4. committed records up to these marks, waiting for them if need be;
5. events later than the states cover are folded in by whoever decodes the entry: they are the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.environment import Environment
from headwater.errors import BadData, Unavailable
from headwater.log.port import Log, Reader, Record, TopicPartition
from headwater.log.topology import commands_topic, events_topic, state_topic
from headwater.owners.state_record import checked_covered

STALLED_S = 60.0
"""How long the log may bring nothing new while something is missing."""


class PartitionMemory:
    """What the owner of one partition knows.

    Arguments: records: entity key -> value of its newest state record; tail: entity key -> events that no
    state covers yet; next_command: where taking commands goes on; stopped: why it does not.
    """

    __slots__ = ("next_command", "records", "stopped", "tail")

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.tail: dict[bytes, list[Record]] = {}
        self.next_command = 0
        self.stopped: str | None = None

    def keep(self, key: bytes, value: bytes) -> None:
        """A new state record; it covers what events there were."""
        self.records[key] = value
        self.tail.pop(key, None)


def restore(
    log: Log, entity: str, group: str, partitions: Sequence[int], with_events: bool, environment: Environment
) -> dict[int, PartitionMemory]:
    """Reads the partitions' memories back from the log.

    Raises: Unavailable: the log brings nothing for a minute though it has more, or commands that were
    never carried out are gone. A state record that is none stops its partition (`PartitionMemory.stopped`).
    """
    commands = {p: TopicPartition(commands_topic(entity), p) for p in partitions}
    states = {p: TopicPartition(state_topic(entity), p) for p in partitions}
    events = {p: TopicPartition(events_topic(entity), p) for p in partitions} if with_events else {}
    log.settle(group, [*commands.values(), *states.values(), *events.values()])
    committed = log.committed(group, list(commands.values()))
    begins = log.begins([*commands.values(), *states.values(), *events.values()])
    marks = log.ends([*states.values(), *events.values()], committed=False)
    memories = {p: PartitionMemory() for p in partitions}
    covered_events = {p: begins[tp] for p, tp in events.items()}
    reader = log.reader()
    try:
        for record in _read_to(reader, {tp: begins[tp] for tp in states.values()}, marks, environment):
            memory = memories[record.partition]
            try:
                covered = checked_covered(record)
            except BadData as error:
                memory.stopped = memory.stopped or str(error)  # what it hides may be needed: nothing is decided here
                continue
            memory.records[record.key or b""] = record.value or b""
            memory.next_command = max(memory.next_command, covered.commands)
            if with_events:
                covered_events[record.partition] = max(covered_events[record.partition], covered.events)
        for record in _read_to(reader, {tp: covered_events[p] for p, tp in events.items()}, marks, environment):
            if record.key is not None:
                memories[record.partition].tail.setdefault(record.key, []).append(record)
    finally:
        reader.close()
    for p, tp in commands.items():
        memory = memories[p]
        memory.next_command = max(memory.next_command, committed.get(tp, begins[tp]))
        if memory.next_command < begins[tp]:
            raise Unavailable(
                f"commands {memory.next_command} to {begins[tp] - 1} of {tp} were never carried out and are gone; "
                f"set the group {group} to {begins[tp]} if they can be lost"
            )
    return memories


def _read_to(
    reader: Reader,
    start: dict[TopicPartition, int],
    marks: dict[TopicPartition, int],
    environment: Environment,
) -> Iterator[Record]:
    """Committed records from `start` up to the marks, as they are read: there may be more than fit in memory."""
    missing = {tp for tp, position in start.items() if position < marks[tp]}
    if not missing:
        return
    reader.assign({tp: start[tp] for tp in missing})
    deadline_s = environment.monotonic_s() + STALLED_S
    while missing:
        batch = reader.read(10_000, 1.0)
        yield from batch.records
        missing -= {tp for tp, reached in batch.reached.items() if reached >= marks[tp]}
        now_s = environment.monotonic_s()
        if batch.reached:
            deadline_s = now_s + STALLED_S
        elif missing and now_s > deadline_s:
            waiting = ", ".join(str(tp) for tp in sorted(missing))
            raise Unavailable(f"restoring: {waiting} did not get any nearer to its written end for {STALLED_S:g} s")
