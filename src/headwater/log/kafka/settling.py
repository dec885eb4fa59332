"""Ending what a dead owner left open, at once instead of after its transaction time-out.

Committed positions carry the transactional id of their committer (see `transactions`), hence both its ids and its
process. A producer that calls `init_transactions` with such an id aborts, or completes, what that id has open,
in whatever partitions, and what it still sends later is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Producer

from headwater.log.kafka.administration import Administration
from headwater.log.kafka.connection import ClientLog, Connection, logger
from headwater.log.kafka.marks import writer_of
from headwater.log.kafka.producers import initialise, transactional_settings
from headwater.log.port import TopicPartition


def settle(
    connection: Connection, administration: Administration, group: str, partitions: Sequence[TopicPartition]
) -> None:
    """Ends the transactions of those who moved the group's positions last and are no members any more. Then waits
    until nothing that was written to the partitions so far, and no position of the group in them, is part of an
    open transaction. An owner that died in its very first transaction is waited for until its time is out.

    Raises: Unavailable: a transaction is still open after its time-out.
    """
    marks = administration.ends(partitions, committed=False)
    for id in _gone_committers(administration, group, {partition for _, partition in partitions}):
        logger.info("group %s: ending transactions of %s, which is gone", group, id)
        producer = Producer(transactional_settings(connection, id), logger=ClientLog())
        initialise(producer, connection, connection.options.answer_timeout_s)

    def settled() -> bool:
        seen = administration.ends(list(marks), committed=True)
        return all(seen[p] >= mark for p, mark in marks.items()) and (
            administration.committed_now(group, partitions) is not None
        )

    patience_s = connection.options.transaction_timeout_s + connection.options.answer_timeout_s
    if not _within(patience_s, settled):
        raise connection.unavailable(
            f"a transaction over {', '.join(map(str, partitions))} has been open for more than {patience_s:g} s"
        )


def _gone_committers(administration: Administration, group: str, numbers: set[int]) -> list[str]:
    """Transactional ids of those who last moved these partitions and are no members any more."""
    last = administration.committed_now(group, None, stable=False) or {}
    committers = {writer_of(mark) for partition, (_, mark) in last.items() if partition.partition in numbers}
    names = {committer[:-1] for committer in committers if committer.endswith(("-a", "-b"))}
    if not names:
        return []
    alive = administration.processes(group)
    return [f"{name}{letter}" for name in sorted(names) if name.rsplit("-", 2)[-2] not in alive for letter in "ab"]


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
