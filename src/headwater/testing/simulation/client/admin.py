"""The admin client: each question is a request, answered through futures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    TopicCollection,
    TopicPartition,
)

from headwater.testing.simulation.client.client import Client, Shared, failure
from headwater.testing.simulation.cluster.cluster import NODES, Cluster
from headwater.testing.simulation.cluster.partition import Refused
from headwater.testing.simulation.network import Lost
from headwater.testing.simulation.threads import Future

DEFAULTS = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "message.timestamp.type": "CreateTime",
}


class AdminClient(Client):
    def __init__(self, shared: Shared, settings: Mapping[str, Any]) -> None:
        super().__init__(shared, settings, None)

    # --- topics

    def create_topics(self, topics: Sequence[Any], **rest: Any) -> dict[str, Future[None]]:
        return {
            one.topic: self._ask(
                "CreateTopics", 0, partial(self.cluster.create, one.topic, one.num_partitions, one.config)
            )
            for one in topics
        }

    def describe_topics(self, topics: TopicCollection, **rest: Any) -> dict[str, Future[Any]]:
        def describe(name: str) -> Any:
            return SimpleNamespace(topic_id=_topic(self.cluster, name).id)

        return self._each("DescribeTopics", self._any_node(), topics.topic_names, describe)

    def describe_configs(self, resources: Sequence[Any], **rest: Any) -> dict[Any, Future[Any]]:
        def describe(resource: Any) -> Any:
            settings = {**DEFAULTS, **_topic(self.cluster, resource.name).settings}
            return {name: SimpleNamespace(value=value) for name, value in settings.items()}

        return self._each("DescribeConfigs", self._any_node(), resources, describe)

    def delete_records(self, asked: Sequence[TopicPartition], **rest: Any) -> dict[Any, Future[Any]]:
        def delete(one: TopicPartition) -> Any:
            _topic(self.cluster, one.topic).partitions[one.partition].cut(one.offset)
            return SimpleNamespace(low_watermark=one.offset)

        return self._each("DeleteRecords", self._any_node(), asked, delete)

    # --- groups

    def list_consumer_groups(self, **rest: Any) -> Future[Any]:
        return self._ask(
            "ListGroups",
            self._any_node(),
            lambda: SimpleNamespace(valid=[SimpleNamespace(group_id=name) for name in sorted(self.cluster.groups)]),
        )

    def describe_consumer_groups(self, groups: Sequence[str], **rest: Any) -> dict[str, Future[Any]]:
        return {
            name: self._ask("DescribeGroups", self.cluster.coordinator(name), partial(_described, self.cluster, name))
            for name in groups
        }

    def alter_consumer_group_offsets(
        self, asked: Sequence[ConsumerGroupTopicPartitions], **rest: Any
    ) -> dict[str, Future[Any]]:
        (one,) = asked
        name, partitions = one.group_id, one.topic_partitions or []

        def alter() -> Any:
            positions = {(at.topic, at.partition): (at.offset, at.metadata or "") for at in partitions}
            self.cluster.group(name).commit("", -1, positions)
            return SimpleNamespace(topic_partitions=[SimpleNamespace(error=None) for _ in partitions])

        return {name: self._ask("OffsetCommit", self.cluster.coordinator(name), alter)}

    # --- inside

    def _any_node(self) -> int:
        return self.scheduler.random.randrange(NODES)

    def _each(
        self, api: str, node: int, subjects: Iterable[Any], answer: Callable[[Any], Any]
    ) -> dict[Any, Future[Any]]:
        """One request about several subjects, each of which may be refused."""
        futures: dict[Any, Future[Any]] = {subject: Future(self.scheduler) for subject in subjects}

        def ask() -> list[tuple[Any, Any, Exception | None]]:
            found: list[tuple[Any, Any, Exception | None]] = []
            for subject in futures:
                try:
                    found.append((subject, answer(subject), None))
                except Refused as refused:
                    found.append((subject, None, failure(refused.code, api)))
            return found

        def answered(found: Any, error: Exception | None) -> None:
            if isinstance(error, Lost):
                self.later(self.backoff_s, send)
                return
            for subject, value, refusal in found:
                futures[subject].set(value, refusal)

        def send() -> None:
            self.shared.network.send(self, api, node, ask, answered)

        send()
        return futures

    def _ask(self, api: str, node: int, answer: Callable[[], Any]) -> Future[Any]:
        futures = self._each(api, node, [None], lambda _: answer())
        return futures[None]


def _topic(cluster: Cluster, name: str) -> Any:
    found = cluster.topics.get(name)
    if found is None:
        raise Refused(KafkaError.UNKNOWN_TOPIC_OR_PART)
    return found


def _described(cluster: Cluster, name: str) -> Any:
    group = cluster.groups.get(name)
    if group is None:
        return SimpleNamespace(state=ConsumerGroupState.DEAD, members=[])
    members = [
        SimpleNamespace(
            client_id=member.client,
            member_id=member.id,
            host="/simulated",
            assignment=SimpleNamespace(
                topic_partitions=[TopicPartition(topic, number) for topic, number in sorted(member.assigned)]
            ),
        )
        for member in group.members.values()
    ]
    return SimpleNamespace(state=ConsumerGroupState.STABLE, members=members)
