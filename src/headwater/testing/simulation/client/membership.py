"""A consumer's membership in a classic group: joining, heartbeats, and the callbacks of cooperative rebalances.

Joining and heartbeats go on in the background; what was gained and lost is told when the consumer is polled, and until
then the client joins no further generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, TopicPartition

from headwater.testing.simulation.cluster.partition import Refused
from headwater.testing.simulation.cluster.transactions import Where

if TYPE_CHECKING:
    from headwater.testing.simulation.client.consumer import Consumer

OnRebalance = Callable[["Consumer", list[TopicPartition]], None]
JOIN_AGAIN_S = 0.05
JOIN_LATE_S = 1.0
"""So long after a rebalance must have ended an answer to joining is waited for."""


class Membership:
    """Arguments: consumer; settings; topics: to be read; the others: called with partitions."""

    def __init__(
        self,
        consumer: Consumer,
        settings: Mapping[str, Any],
        topics: tuple[str, ...],
        on_assign: OnRebalance,
        on_revoke: OnRebalance,
        on_lost: OnRebalance,
    ) -> None:
        self._consumer, self._topics = consumer, topics
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        self.group = str(settings["group.id"])
        self._session_s = float(settings.get("session.timeout.ms", 45_000)) / 1000
        self._heartbeat_s = float(settings.get("heartbeat.interval.ms", 3000)) / 1000
        self._poll_s = float(settings.get("max.poll.interval.ms", 300_000)) / 1000
        self.id, self.generation = "", -1
        self._owned: frozenset[Where] = frozenset()
        self._telling = self._wants_to_join = self._waiting = False
        self._attempt = 0
        self._closed = False
        self._polled_s = consumer.scheduler.now_s
        self._node = consumer.cluster.coordinator(self.group)
        self._join()
        consumer.later(self._heartbeat_s, self._beat)

    def polled(self) -> None:
        self._polled_s = self._consumer.scheduler.now_s

    def close(self) -> None:
        """Gives everything back and leaves."""
        if self._closed:
            return
        self._closed = True
        if self._owned:
            self._on_revoke(self._consumer, _listed(self._owned))
        id, consumer = self.id, self._consumer
        if id:
            group = consumer.cluster.group(self.group)
            consumer.shared.network.send(
                consumer, "LeaveGroup", self._node, lambda: group.leave(id), lambda value, error: None
            )

    # --- joining

    def _join(self) -> None:
        if self._closed:
            return
        if self._telling:
            self._wants_to_join = True
            return
        self._wants_to_join, self._waiting = False, True
        self._attempt += 1
        attempt, consumer, id, owned = self._attempt, self._consumer, self.id, self._owned
        group = consumer.cluster.group(self.group)

        def told(id: str, generation: int, assigned: frozenset[Where]) -> None:
            consumer.later(consumer.shared.faults.latency_s(), lambda: joined(id, generation, assigned))

        def joined(id: str, generation: int, assigned: frozenset[Where]) -> None:
            if self._attempt == attempt and not self._closed:
                self.id, self._waiting = id, False
                group.synced(id)
                self._joined(generation, assigned)

        def answered(new_id: Any, error: Exception | None) -> None:
            if self._attempt != attempt or self._closed:
                return
            if error is None:
                self.id = new_id
            elif isinstance(error, Refused):
                self._lose()
            else:
                consumer.later(JOIN_AGAIN_S, lambda: self._join() if self._attempt == attempt else None)

        consumer.shared.network.send(
            consumer,
            "JoinGroup",
            self._node,
            lambda: group.join(id, consumer.name, self._topics, owned, self._session_s, self._poll_s, told),
            answered,
        )
        consumer.later(
            self._poll_s + JOIN_LATE_S, lambda: self._join() if self._waiting and self._attempt == attempt else None
        )

    def _joined(self, generation: int, assigned: frozenset[Where]) -> None:
        self.generation = generation
        gone, new = self._owned - assigned, assigned - self._owned
        self._telling = True

        def tell() -> None:
            if gone:
                self._on_revoke(self._consumer, _listed(gone))
                self._consumer.incremental_unassign(_listed(gone))
            self._owned = assigned
            if new or not gone:
                self._on_assign(self._consumer, _listed(new))
            self._told(join_again=bool(gone))

        self._consumer.tell(tell)

    def _told(self, *, join_again: bool) -> None:
        self._telling = False
        if join_again or self._wants_to_join:
            self._join()

    def _lose(self, *, still_known: bool = False) -> None:
        """The group does not know this member any more, or not in this generation."""
        self.id = self.id if still_known else ""
        self.generation, self._waiting = -1, False
        self._attempt += 1
        owned = self._owned
        if not owned and not self._telling:
            self._join()
            return
        self._telling = True

        def tell() -> None:
            lost, self._owned = self._owned, frozenset()
            if lost:
                self._on_lost(self._consumer, _listed(lost))
                self._consumer.incremental_unassign(_listed(lost))
            self._told(join_again=True)

        self._consumer.tell(tell)

    # --- heartbeats

    def _beat(self) -> None:
        if self._closed:
            return
        consumer, id = self._consumer, self.id
        consumer.later(self._heartbeat_s, self._beat)
        if not id or self._waiting:
            return
        group = consumer.cluster.group(self.group)
        if consumer.scheduler.now_s - self._polled_s > self._poll_s:
            consumer.shared.network.send(
                consumer, "LeaveGroup", self._node, lambda: group.leave(id), lambda value, error: None
            )
            consumer.say(KafkaError._MAX_POLL_EXCEEDED)
            self._lose()
            return

        if consumer.shared.faults.unreachable(consumer.process, self._node):
            return
        # Without a request: there are so many that they would be half of all the work of a run.
        try:
            if group.heartbeat(id, self.generation):
                self._join()
        except Refused as refused:
            self._lose(still_known=refused.code == KafkaError.ILLEGAL_GENERATION)


def _listed(partitions: frozenset[Where]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, number in sorted(partitions)]
