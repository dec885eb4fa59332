"""Bugs in how partitions are taken over, kept and lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from headwater.log.kafka.administration import Administration
from headwater.log.kafka.log import KafkaLog
from headwater.log.kafka.membership import KafkaFence, KafkaMember
from headwater.log.port import TopicPartition
from headwater.owners.deciding import Decider
from headwater.owners.known import Knowledge
from headwater.owners.life import Signal
from headwater.testing.simulation.bugs.planting import bug, replaced
from headwater.testing.simulation.client.producer import GroupMetadata


@bug(
    "A new owner reads up to the written end, and waits for what is not visible yet.",
    slow_marks=0.3,
    mark_s=1.5,
    restarts=1.0,
)
def restore_to_the_first_end_of_partition() -> Iterator[None]:
    def ends(self: Administration, partitions: Sequence[TopicPartition], *, committed: bool = True) -> Any:
        return original(self, partitions, committed=True)

    with replaced(Administration, "ends", ends) as original:
        yield


@bug(
    "A new owner ends what the last one left open before it reads anything.",
    slow_marks=0.3,
    mark_s=1.5,
    restarts=1.0,
)
def restore_before_init_transactions() -> Iterator[None]:
    def committed(self: Administration, group: str, partitions: Any) -> Any:
        return self.committed_now(group, partitions, stable=False) or {}

    def ends(self: Administration, partitions: Sequence[TopicPartition], *, committed: bool = True) -> Any:
        return original(self, partitions, committed=True)

    with (
        replaced(Administration, "ends", ends) as original,
        replaced(Administration, "committed", committed),
        replaced(KafkaLog, "settle", lambda self, group, partitions: None),
    ):
        yield


@bug(
    "Positions are sent with the metadata of the member that was assigned the partitions.",
    pauses=2.0,
    restarts=0.5,
    idle_s=0.0,
)
def metadata_of_a_client_that_never_joined() -> Iterator[None]:
    def fence(self: KafkaMember) -> KafkaFence:
        return KafkaFence(self, "somebody", GroupMetadata(self.group, "", -1), frozenset(self._owned))

    with (
        replaced(KafkaMember, "fence", fence),
        replaced(KafkaFence, "check", lambda self, group, partitions: None),
    ):
        yield


@bug(
    "Group metadata is read once, with the batch, and used only while the member has the same id.",
    pauses=2.0,
    restarts=0.5,
    idle_s=0.0,
)
def stale_group_metadata() -> Iterator[None]:
    def current(self: KafkaFence) -> Any:
        return self.member._consumer.consumer_group_metadata()

    with (
        replaced(KafkaFence, "check", lambda self, group, partitions: None),
        replaced(KafkaFence, "metadata", property(current, lambda self, metadata: None)),
    ):
        yield


@bug("A partition that was taken away is worked on no more.", restarts=0.5)
def a_revoked_partition_is_kept() -> Iterator[None]:
    with replaced(KafkaMember, "_on_revoke", lambda self, consumer, partitions: None):
        yield


@bug("What is known of a partition is forgotten when it is lost.", restarts=0.5, pauses=1.0)
def entities_outlive_their_partition() -> Iterator[None]:
    def drop(self: Knowledge, partitions: Iterable[int], signal: Signal) -> None:
        kept = self._live
        original(self, partitions, signal)
        self._live = kept

    with replaced(Knowledge, "_drop", drop) as original:
        yield


@bug("A refusal is remembered like any other answer.")
def refusals_are_not_remembered() -> Iterator[None]:
    def remember(self: Decider, entry: Any, arrived: Any, fingerprint: Any, now: Any, kind: Any, *rest: Any) -> None:
        if kind != "rejected":
            original(self, entry, arrived, fingerprint, now, kind, *rest)

    with replaced(Decider, "_remember", remember) as original:
        yield


BUGS = [
    restore_to_the_first_end_of_partition,
    restore_before_init_transactions,
    metadata_of_a_client_that_never_joined,
    stale_group_metadata,
    a_revoked_partition_is_kept,
    entities_outlive_their_partition,
    refusals_are_not_remembered,
]
