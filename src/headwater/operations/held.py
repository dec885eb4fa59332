"""Partitions in which a transaction hides what was written: their readers are at the end of what can be seen, so
their lag looks like nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from headwater.log.held import staying
from headwater.log.port import Log, TopicPartition
from headwater.operations.groups import GroupLag


def held_texts(log: Log, lags: Iterable[GroupLag]) -> dict[tuple[str, int], str]:
    """By topic and partition, in words. Takes a second where a transaction is open. Raises: Unavailable."""
    partitions = sorted({TopicPartition(lag.topic, lag.partition) for lag in lags})
    return {
        (tp.topic, tp.partition): f"{tp.topic}, partition {tp.partition} is held back: a transaction is open from "
        f"offset {found.stable} on, {found.written - found.stable} positions cannot be read; "
        f"`hw doctor --on {shlex.quote(log.url)}` says whose it is"
        for tp, found in sorted(staying(log.held, partitions).items())
    }
