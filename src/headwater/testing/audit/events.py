"""The events of a log as an audit looks at them: by entity, by command and by partition, with their marks parsed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from headwater.errors import BadData
from headwater.log.port import TopicPartition
from headwater.log.topology import events_topic
from headwater.messages.envelope import parse_time
from headwater.testing.audit.contents import Contents, KeptRecord
from headwater.testing.audit.history import CommandKey

EntityKey = tuple[str, str]
"""Entity type and entity id."""


class CommitMark(msgspec.Struct, frozen=True):
    """`hw_commit`: which of how many events of a command this one is."""

    command_id: str
    index: int
    count: int


class TransactionMark(msgspec.Struct, frozen=True):
    """`hw_txn`: the owner that wrote it, the number of its transaction, and how many events that has in each
    partition."""

    owner: str
    sequence: int
    shares: tuple[tuple[int, int], ...]


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event in the log.

    Arguments: number: counted among its entity's events, in the order of offsets; version, event_id, command_id,
    recorded, commit, transaction: as its headers say, None where they do not.
    """

    entity: str
    id: str
    number: int
    record: KeptRecord
    version: int | None
    event_id: str | None
    command_id: str | None
    recorded: datetime | None
    commit: CommitMark | None
    transaction: TransactionMark | None

    @property
    def partition(self) -> TopicPartition:
        return TopicPartition(self.record.topic, self.record.partition)


@dataclass(frozen=True, slots=True)
class EventLog:
    """All events.

    `partitions`: how many each entity type has; `of_command`: by command key, in order of offset; `unsound`: entities
    whose versions are broken. What else is wrong with those follows from that, so it is not told as well.
    """

    partitions: dict[str, int] = field(default_factory=dict)
    of_entity: dict[EntityKey, list[LoggedEvent]] = field(default_factory=dict)
    of_command: dict[CommandKey, list[LoggedEvent]] = field(default_factory=dict)
    of_partition: dict[TopicPartition, list[LoggedEvent]] = field(default_factory=dict)
    unsound: frozenset[EntityKey] = frozenset()

    def without(self, unsound: Iterable[EntityKey]) -> EventLog:
        """The same, with these entities marked."""
        return replace(self, unsound=self.unsound | frozenset(unsound))


def event_log(contents: Contents) -> EventLog:
    """Raises: BadData: a header of ours that says nothing sensible. Events without a key belong to nobody here."""
    found = EventLog()
    for entity in contents.entities():
        partitions = contents.of(events_topic(entity))
        found.partitions[entity] = len(partitions)
        for partition in partitions:
            for record in partition.records:
                if record.key is not None:
                    _add(found, entity, record)
    return found


def _add(found: EventLog, entity: str, record: KeptRecord) -> None:
    try:
        id = (record.key or b"").decode()
        siblings = found.of_entity.setdefault((entity, id), [])
        event = _parsed(entity, id, len(siblings) + 1, record)
    except (ValueError, IndexError) as error:
        at: dict[str, Any] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        raise BadData(f"the envelope of an event cannot be read: {error}", **at) from error
    siblings.append(event)
    found.of_partition.setdefault(event.partition, []).append(event)
    if event.command_id is not None:
        found.of_command.setdefault((entity, id, event.command_id), []).append(event)


def _parsed(entity: str, id: str, number: int, record: KeptRecord) -> LoggedEvent:
    text = {name: value.decode() for name, value in record.headers}
    version, recorded = text.get("ce_entityversion"), text.get("hw_recorded")
    commit, transaction = text.get("hw_commit"), text.get("hw_txn")
    return LoggedEvent(
        entity,
        id,
        number,
        record,
        int(version) if version else None,
        text.get("ce_id"),
        text.get("ce_commandid"),
        parse_time(recorded) if recorded else None,
        _commit_mark(commit) if commit else None,
        _transaction_mark(transaction) if transaction else None,
    )


def _commit_mark(text: str) -> CommitMark:
    command_id, index, count = text.rsplit(";", 2)
    return CommitMark(command_id, int(index), int(count))


def _transaction_mark(text: str) -> TransactionMark:
    owner, sequence, shares = text.rsplit(";", 2)
    pairs = [share.split("=") for share in shares.split(",")]
    return TransactionMark(owner, int(sequence), tuple((int(partition), int(count)) for partition, count in pairs))
