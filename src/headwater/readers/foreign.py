"""Positions of our groups that another program has set: noticed when they are taken over, told, never guessed at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from headwater.log.port import GroupDescription, Log, TopicPartition

logger = logging.getLogger("headwater.readers")


def group_now(log: Log, group: str) -> GroupDescription:
    """A group as it is now; one that the log does not know has nothing. Raises: Unavailable."""
    return next(iter(log.groups([group])), GroupDescription(group, {}, {}))


def notices(
    group: GroupDescription, partitions: Collection[TopicPartition], goes_on: Callable[[TopicPartition, int], str]
) -> list[str]:
    """One line for each partition whose position another program has set; they are logged as well.

    Arguments: goes_on: says, of a partition and its position, what is made of it.
    """
    found = []
    for tp in sorted(group.foreign & set(partitions)):
        position = group.positions[tp]
        found.append(f"group {group.name} was set to {position} in {tp} by another program: {goes_on(tp, position)}")
        logger.warning("%s", found[-1])
    return found
