"""What a batch of steps writes, in one transaction and in this order: events, states and replies, positions.

Events go first because their offsets are known only when they are written, and states and replies carry them. A
reply is written with the rest, so whoever reads it knows that the transaction was committed.
"""

from __future__ import annotations

from collections.abc import Sequence

from headwater.log.port import Fence, NewRecord, Positions, Transaction
from headwater.log.topology import events_topic, owners_group, replies_topic, state_topic
from headwater.messages.envelope import Header
from headwater.owners.deciding import Step
from headwater.owners.replies import encode_reply
from headwater.owners.state_record import encode_entry


class Writing:
    """Arguments: entity: the entity type; name: the owner's, on each event with the number of its transaction
    and how many events of each partition that has; schema: of the states."""

    def __init__(self, entity: str, name: str, schema: str) -> None:
        self._group, self._name, self._schema = owners_group(entity), name, schema
        self._events, self._state, self._replies = events_topic(entity), state_topic(entity), replies_topic(entity)
        self._transactions = 0

    def fill(
        self, tx: Transaction, steps: Sequence[Step], positions: Positions, fence: Fence, states: list[NewRecord]
    ) -> None:
        """Writes it all. Arguments: states: takes the new state records, for after the commit."""
        self._write_events(tx, steps)
        self._make_states(steps, positions, states)
        out = [*states, *self._others(steps)]
        if out:
            tx.write(out)
        tx.positions(self._group, positions, fence)

    def _write_events(self, tx: Transaction, steps: Sequence[Step]) -> None:
        """Appends all events and tells replies and entries where they landed."""
        self._transactions += 1
        counts: dict[int, int] = {}
        for step in steps:
            if step.events:
                partition = step.arrived.partition
                counts[partition] = counts.get(partition, 0) + len(step.events)
        if not counts:
            return
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
        offsets = tx.append(records)
        index = 0
        for step in steps:
            if step.events:
                index += len(step.events)
                step.entry.events = step.reply.next_offset = offsets[index - 1] + 1

    def _make_states(self, steps: Sequence[Step], positions: Positions, states: list[NewRecord]) -> None:
        """One record for every entity that changed, as it is after the last of its steps."""
        commands = {tp.partition: position for tp, position in positions.items()}
        for entry, arrived in {step.entry: step.arrived for step in steps if step.changed}.items():
            value = encode_entry(entry, self._schema, entry.events, commands[arrived.partition])
            states.append(NewRecord(self._state, arrived.partition, arrived.key, value))

    def _others(self, steps: Sequence[Step]) -> list[NewRecord]:
        """Commands of a process, and replies to those who are elsewhere."""
        out: list[NewRecord] = []
        headers: dict[bytes, list[Header]] = {}  # one list for all answers to a client
        for step in steps:
            out += step.sends
            arrived = step.arrived
            client = arrived.client
            if client is not None:
                to = headers.get(client)
                if to is None:
                    to = headers[client] = [("hw_client", client)]
                out.append(NewRecord(self._replies, arrived.partition, arrived.key, encode_reply(step.reply), to))
        return out
