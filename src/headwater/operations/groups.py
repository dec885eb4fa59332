"""Who reads a log: its groups, their members and what each owns, and how far each group has come."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from headwater.log.port import GroupDescription, Log, TopicPartition


class GroupLag(NamedTuple):
    """How far a group is in a partition.

    Arguments: current: its committed position (None: none yet); end: after the last visible record; lag: what
    lies between, gaps included; member: who reads it now (None: nobody); foreign: another program has set its position.
    """

    group: str
    topic: str
    partition: int
    current: int | None
    end: int
    lag: int
    member: str | None
    foreign: bool = False


def groups(log: Log) -> list[GroupDescription]:
    """All groups, by name. Raises: Unavailable."""
    return sorted(log.groups(), key=lambda group: group.name)


def group_lags(log: Log) -> list[GroupLag]:
    """Every partition that some group has read or owns. Raises: Unavailable."""
    found = groups(log)
    there = log.topics()
    wanted = {tp for group in found for tp in _partitions_of(group)}
    known = sorted(tp for tp in wanted if tp.topic in there and tp.partition < there[tp.topic].partitions)
    begins, ends = log.begins(known), log.ends(known)
    lags = []
    for group in found:
        members = {tp: member for member, owned in group.members.items() for tp in owned}
        for tp in sorted(_partitions_of(group) & ends.keys()):
            current = group.positions.get(tp)
            start = begins[tp] if current is None else current
            lag = max(0, ends[tp] - start)
            foreign = tp in group.foreign
            lags.append(GroupLag(group.name, *tp, current, ends[tp], lag, members.get(tp), foreign))
    return lags


def foreign_texts(lags: Iterable[GroupLag], ours: Collection[str]) -> list[str]:
    """Positions of our own groups that another program has set, in words. Arguments: ours: their names."""
    return [
        f"group {lag.group} was set to {lag.current} in {lag.topic}, partition {lag.partition}, by another program: a "
        "read model goes on where its rows are, owners do not go back, and a process recognises what it knows; `hw "
        "reset` sets positions with all that belongs to them"
        for lag in lags
        if lag.foreign and lag.group in ours
    ]


def partitions_text(partitions: Iterable[TopicPartition]) -> str:
    """Partitions in words: "order-commands/0-3,7"."""
    by_topic: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        by_topic.setdefault(topic, []).append(partition)
    return " ".join(f"{topic}/{_ranges(numbers)}" for topic, numbers in by_topic.items())


def _ranges(numbers: list[int]) -> str:
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _partitions_of(group: GroupDescription) -> set[TopicPartition]:
    return set(group.positions) | {tp for owned in group.members.values() for tp in owned}
