"""What a batch of steps writes, in one transaction and in this order: events and commands, states and replies,
positions.

Events go first because their offsets are known only when they are written, and states and replies carry them. The
commands of a process go with them: whoever reads a state may then rely on all that it led to. A reply is written
with the rest, so whoever reads it knows that the transaction was committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headwater.log.port import Fence, NewRecord, Positions, TopicPartition, Transaction
from headwater.log.topology import events_topic, owners_group, replies_topic, state_topic
from headwater.messages.envelope import Header
from headwater.owners.partition import PartitionMemory, Span
from headwater.owners.replies import encode_reply
from headwater.owners.state_record import encode_entry
from headwater.owners.steps import Step


class Outgoing(msgspec.Struct):
    """What was written and is to be kept after the commit. Arguments: states: their records; spans: of the events, by
    partition; covers: what the states say of `commands`, `folded` and `begun`, by partition; firsts: where the first
    record of each topic and partition is, as far as the log told it."""

    states: list[NewRecord] = []
    spans: dict[int, Span] = {}
    covers: dict[int, tuple[int, int, int]] = {}
    firsts: dict[TopicPartition, int] = {}


class Writing:
    """Arguments: entity: the entity type; name: the owner's, on each event with the number of its transaction
    and how many events of each partition that has; schema: of the states."""

    def __init__(self, entity: str, name: str, schema: str) -> None:
        self._group, self._name, self._schema = owners_group(entity), name, schema
        self._events, self._state, self._replies = events_topic(entity), state_topic(entity), replies_topic(entity)
        self._transactions = 0

    def fill(
        self,
        tx: Transaction,
        steps: Sequence[Step],
        positions: Positions,
        fence: Fence,
        memories: Mapping[int, PartitionMemory],
    ) -> Outgoing:
        """Writes it all."""
        spans = self._write_first(tx, steps)
        covers = self._make_covers(positions, memories, spans)
        states = self._make_states(steps, covers)
        out = [*states, *self._make_replies(steps)]
        if out:
            tx.write(out)
        tx.positions(self._group, positions, fence)
        return Outgoing(states, spans, covers)

    def _write_first(self, tx: Transaction, steps: Sequence[Step]) -> dict[int, Span]:
        """Appends all events and commands, and tells replies and entries where the events landed."""
        self._transactions += 1
        records = self._make_events(steps)
        for step in steps:
            if step.sends:
                records += step.sends
        if not records:
            return {}
        offsets = tx.append(records)
        spans: dict[int, Span] = {}
        index = 0
        for step in steps:
            count = len(step.events)
            if not count:
                # It may tell of events that an earlier step of this transaction wrote.
                step.reply.next_offset = step.entry.events
                continue
            first, index = offsets[index], index + count
            last = offsets[index - 1]
            step.entry.events = step.reply.next_offset = last + 1
            span = spans.get(step.arrived.partition)
            if span is None:
                spans[step.arrived.partition] = Span(first, last, count)
            else:
                span.last = last
                span.count += count
        return spans

    def _make_events(self, steps: Sequence[Step]) -> list[NewRecord]:
        counts: dict[int, int] = {}
        for step in steps:
            if step.events:
                partition = step.arrived.partition
                counts[partition] = counts.get(partition, 0) + len(step.events)
        shares = ",".join(f"{partition}={count}" for partition, count in counts.items())
        mark = ("hw_txn", f"{self._name};{self._transactions};{shares}".encode())
        records: list[NewRecord] = []
        for step in steps:
            for event in step.events:
                event.headers.append(mark)
                arrived = step.arrived
                records.append(
                    NewRecord(self._events, arrived.partition, arrived.key, event.value, event.headers, event.time_ms)
                )
        return records

    def _make_covers(
        self, positions: Positions, memories: Mapping[int, PartitionMemory], spans: Mapping[int, Span]
    ) -> dict[int, tuple[int, int, int]]:
        covers: dict[int, tuple[int, int, int]] = {}
        for tp, position in positions.items():
            memory, span = memories[tp.partition], spans.get(tp.partition)
            begun = span.first if memory.begun < 0 and span is not None else memory.begun
            covers[tp.partition] = position, memory.folded, begun
        return covers

    def _make_states(self, steps: Sequence[Step], covers: Mapping[int, tuple[int, int, int]]) -> list[NewRecord]:
        """One record for every entity that changed, as it is after the last of its steps."""
        states = []
        for entry, arrived in {step.entry: step.arrived for step in steps if step.changed}.items():
            value = encode_entry(entry, self._schema, *covers[arrived.partition])
            states.append(NewRecord(self._state, arrived.partition, arrived.key, value))
        return states

    def _make_replies(self, steps: Sequence[Step]) -> list[NewRecord]:
        """Replies to those who are elsewhere."""
        out: list[NewRecord] = []
        headers: dict[bytes, list[Header]] = {}  # one list for all answers to a client
        for step in steps:
            arrived = step.arrived
            client = arrived.client
            if client is not None:
                to = headers.get(client)
                if to is None:
                    to = headers[client] = [("hw_client", client)]
                out.append(NewRecord(self._replies, arrived.partition, arrived.key, encode_reply(step.reply), to))
        return out
