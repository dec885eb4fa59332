"""The scenarios: from a group's current positions, and where its partitions begin and end, to new ones.

They are those of kafka-consumer-groups, and so is the rule that a position outside of what the log has becomes the
nearest one that it has. Two things differ. The end is where committed records end: an open transaction is not jumped
over. And our own groups stand at the beginning of a partition in which they have no position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from headwater.errors import Misuse
from headwater.log.port import Log, Positions, TopicPartition


class Earliest(NamedTuple):
    """Where each partition begins."""


class Latest(NamedTuple):
    """Where each partition ends."""


class Current(NamedTuple):
    """Where the group is; the end, where it never was."""


class Offset(NamedTuple):
    """The same offset in each partition."""

    offset: int


class Shifted(NamedTuple):
    """So many positions on (back, if negative) from where the group is."""

    by: int


class At(NamedTuple):
    """The first record whose time is then or later."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """As a file says. Arguments: positions: by group; the file has one for every partition that is to be set."""

    positions: Mapping[str, Positions]


Scenario = Earliest | Latest | Current | Offset | Shifted | At | Listed


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the log has of some partitions. Arguments: begins, ends: the first position, and the one after the last."""

    begins: Positions
    ends: Positions

    @classmethod
    def of(cls, log: Log, partitions: Sequence[TopicPartition]) -> Bounds:
        """Raises: Unavailable. Misuse: there is no such topic or partition."""
        return cls(log.begins(partitions), log.ends(partitions))


def new_positions(
    log: Log,
    group: str,
    current: Positions,
    bounds: Bounds,
    partitions: Sequence[TopicPartition],
    scenario: Scenario,
) -> dict[TopicPartition, int]:
    """The position that each partition would have, whether the log has it or not (see `clamped`).

    Raises: Misuse: the group has no position to count from. Unavailable: of the log.
    """
    match scenario:
        case Earliest():
            return {tp: bounds.begins[tp] for tp in partitions}
        case Latest():
            return {tp: bounds.ends[tp] for tp in partitions}
        case Current():
            return {tp: current.get(tp, bounds.ends[tp]) for tp in partitions}
        case Offset(offset):
            return dict.fromkeys(partitions, offset)
        case At(time):
            return log.positions_at(partitions, max(0, int(time.timestamp() * 1000)))
        case Listed(positions):
            return {tp: positions[group][tp] for tp in partitions}
        case Shifted(by):
            missing = [str(tp) for tp in partitions if tp not in current]
            if missing:
                raise Misuse(
                    f"group {group} has no position in {', '.join(missing)} to count from: give it one with "
                    "--to-earliest, --to-latest or --to-offset"
                )
            return {tp: current[tp] + by for tp in partitions}


def clamped(positions: Positions, bounds: Bounds) -> tuple[dict[TopicPartition, int], list[str]]:
    """Positions that the log has, and in words which of them are not those that were asked for."""
    found, words = {}, []
    for tp, position in positions.items():
        begin, end = bounds.begins[tp], bounds.ends[tp]
        found[tp] = max(begin, min(position, end))
        if position < begin:
            words.append(f"{position} is before the beginning of {tp}, which is {begin}: {begin} is taken")
        elif position > end:
            words.append(f"{position} is past the end of {tp}, which is {end}: {end} is taken")
    return found, words
