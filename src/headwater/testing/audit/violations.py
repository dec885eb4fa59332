"""What an audit can find: the invariants by name, and a violation as a value."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

import msgspec

from headwater.log.port import Record


class Invariant(StrEnum):
    """What holds of every run, whatever failed in it. The value is the name in reports."""

    ACKNOWLEDGED = "acknowledged"
    """Every acknowledged command is in the log, as it was acknowledged."""
    REFUSED = "refused"
    """What was refused or failed is not in the log."""
    UNASKED = "unasked"
    """Every event follows from a command that somebody sent."""
    ONE_EFFECT = "one effect"
    """A command id has one effect on an entity, however often it was sent."""
    ONE_ANSWER = "one answer"
    """A command id gets one answer, however often it was sent."""
    REMEMBERED = "remembered"
    """An answered command stands in the state record, so that the next owner gives the same answer."""
    UNKNOWN = "unknown"
    """What became of a command is found out in the end, and is the same to everybody who asks."""
    ONE_WINNER = "one winner"
    """Of several commands at one expected version one wins, and it finds the entity there."""

    VERSIONS = "versions"
    """The versions of an entity are 1 to n without gap or repeat, in the order of offsets."""
    HOME = "home"
    """All events of an entity stand in the partition of its key."""
    EVENT_IDS = "event ids"
    """No two events have one id."""
    OWNERS = "owners"
    """No event of an older owner stands after one of a newer owner."""
    WHOLE_COMMAND = "whole command"
    """The events of a command are all there and stand together."""
    WHOLE_TRANSACTION = "whole transaction"
    """The events of a transaction are all there, in all partitions."""
    STATE_BESIDE = "state beside"
    """Events and the state that covers them were committed together."""
    REPLY_BESIDE = "reply beside"
    """A consumed command, its events and its reply were committed together."""
    POSITION_BESIDE = "position beside"
    """What was done with a command, and the position behind it, were committed together."""

    REACTIONS = "reactions"
    """The event that a process consumed, its state after it and the commands that it sent were committed together."""

    STATE = "state"
    """A state record is the fold of its entity's events up to where it says."""
    READS = "reads"
    """Nobody reads an older state than what was known before, nor one that the log does not have."""
    READ_STATES = "read states"
    """A state that was read is the fold of its entity's events up to its version."""
    READ_MODELS = "read models"
    """The rows of a read model are the fold of the log up to its positions."""
    POSITIONS = "positions"
    """The committed position of a reader never goes back."""
    SCANS = "scans"
    """Every reader of the log sees the same."""


class Violation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One breach of an invariant.

    Arguments: invariant; sentence: what is wrong, for people; entity, id: which entity; command_id; topic,
    partition, offset: where it shows. What does not apply is left out.
    """

    invariant: Invariant
    sentence: str
    entity: str | None = None
    id: str | None = None
    command_id: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        place = "" if self.topic is None else f" ({self.topic}/{self.partition}, offset {self.offset})"
        return f"{self.invariant.value}: {self.sentence}{place}"


def at_record(
    invariant: Invariant,
    sentence: str,
    record: Record,
    *,
    entity: str | None = None,
    id: str | None = None,
    command_id: str | None = None,
) -> Violation:
    """A violation that shows at a record."""
    place = record.topic, record.partition, record.offset
    return Violation(invariant, sentence, entity, id, command_id, *place)


def report(violations: Collection[Violation]) -> str:
    """All of them, one a line, under their number."""
    if not violations:
        return "no violations"
    return "\n  ".join([f"{len(violations)} violations:", *map(str, violations)])
