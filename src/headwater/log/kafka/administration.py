"""Questions and orders to the cluster: topics, offsets, groups. Each is one or two round trips.

Offsets are asked for in `offsets`, groups' positions in `positions`, everything else through the admin client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    TopicCollection,
)
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from headwater.errors import HeadwaterError, Misuse
from headwater.log.kafka.connection import PATIENCE, Connection, passes
from headwater.log.kafka.marks import MARK, is_ours
from headwater.log.kafka.offsets import Offsets
from headwater.log.kafka.positions import GroupPositions
from headwater.log.limits import check_before, check_deletion, check_specs, unknown_topic
from headwater.log.port import (
    GroupDescription,
    Positions,
    TopicDescription,
    TopicPartition,
    TopicSpec,
)

_KEEPS_FOR_EVER = "-1"
_NEVER = str(2**63 - 1)
_LOOK_S = 0.5
"""How long a look at a group's positions waits for an open transaction to end."""
_SETTINGS_KEEP_S = 5.0
"""How long a topic's settings are believed: they are long to ask for (almost 1 ms a topic) and hardly ever change."""


class Administration:
    """Thread-safe. Arguments: connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answer_s = connection.options.answer_timeout_s
        self._offsets, self._group_positions = Offsets(connection), GroupPositions(connection)
        self._counts: dict[str, int] = {}
        self._descriptions: dict[str, tuple[TopicDescription, float]] = {}

    def close(self) -> None:
        self._offsets.close()
        self._group_positions.close()

    # Topics

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        check_specs(specs)
        there = self.partition_counts()
        missing = {spec.name: spec for spec in specs if spec.name not in there}
        if not missing:
            return
        brokers = len(self._connection.metadata(self._answer_s).brokers)
        wanted = [_new_topic(spec, brokers) for spec in missing.values()]
        answers = self._connection.ask("creating topics", lambda admin: admin.create_topics(wanted, **PATIENCE))
        for name, answer in answers.items():
            if isinstance(answer, KafkaError) and answer.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._connection.translated(answer, f"creating topic {name}")
        # The brokers learn of a topic a moment after its creation was confirmed.
        self._until(lambda: missing.keys() <= self.partition_counts().keys(), "new topics were not seen")

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        counts = self.partition_counts()
        if names is not None:
            counts = {name: count for name, count in counts.items() if name in names}
        if not counts:
            return {}
        ids = self._topic_ids(counts)
        now = time.monotonic()
        known = {
            name: (description, asked)
            for name, (description, asked) in self._descriptions.items()
            if description.id == ids.get(name) and now - asked < _SETTINGS_KEEP_S
        }
        unknown = [name for name in ids if name not in known]
        for name, settings in self._settings(unknown).items():
            known[name] = (_description(name, ids[name], counts[name], settings), now)
        self._descriptions = known if names is None else {**self._descriptions, **known}
        return {name: replace(description, partitions=counts[name]) for name, (description, _) in known.items()}

    def _settings(self, topics: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The settings of topics; one that was deleted a moment ago is left out."""
        if not topics:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
        answers = self._connection.ask("describing topics", lambda admin: admin.describe_configs(resources, **PATIENCE))
        found = {}
        for resource, settings in answers.items():
            if not isinstance(settings, KafkaError):
                found[resource.name] = settings
            elif settings.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise self._connection.translated(settings, f"describing topic {resource.name}")
        return found

    def topic_id(self, topic: str) -> str:
        """Raises: Misuse: there is no such topic."""
        ids = self._topic_ids([topic])
        if topic not in ids:
            raise unknown_topic(topic)
        return ids[topic]

    def partition_counts(self) -> dict[str, int]:
        """The partition count of every topic but Kafka's own, as it is now."""
        self._counts = {
            name: len(topic.partitions)
            for name, topic in self._connection.metadata(self._answer_s).topics.items()
            if not name.startswith("__") and topic.error is None
        }
        return self._counts

    def partition_count(self, topic: str) -> int:
        """As known; asked again only for a topic that is not. Raises: Misuse: there is no such topic."""
        count = self._counts.get(topic)
        if count is None and (count := self.partition_counts().get(topic)) is None:
            raise unknown_topic(topic)
        return count

    def check(self, partitions: Iterable[TopicPartition]) -> None:
        """Raises: Misuse: one of them does not exist."""
        for topic, partition in partitions:
            known = 0 <= partition < self.partition_count(topic)
            # Partitions may have been added since.
            if not known and not 0 <= partition < self.partition_counts().get(topic, 0):
                raise unknown_topic(f"{topic} with a partition {partition}")

    def _topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        wanted = TopicCollection(list(topics))
        answers = self._connection.ask("describing topics", lambda admin: admin.describe_topics(wanted, **PATIENCE))
        found = {}
        for name, answer in answers.items():
            if not isinstance(answer, KafkaError):
                found[name] = str(answer.topic_id)
            elif answer.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise self._connection.translated(answer, f"describing topic {name}")
        return found

    # Offsets

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.check(partitions)
        return self._offsets.begins(partitions)

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        self.check(partitions)
        return self._offsets.ends(partitions, committed=committed)

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        self.check(partitions)
        return self._offsets.at(partitions, timestamp_ms)

    def delete_before(self, positions: Positions) -> None:
        """See `Log.delete_before`."""
        partitions = list(positions)
        check_before(positions, self.ends(partitions))
        topics = self.topics({partition.topic for partition in partitions})
        for name, topic in topics.items():
            check_deletion(name, topic.compacted)
        begins = self.begins(partitions)
        wanted = {KafkaPartition(*tp, at): tp for tp, at in positions.items() if at > begins[tp]}
        what = f"deleting records of {', '.join(map(str, wanted.values()))}"

        def ask() -> bool:
            answers = self._connection.ask(what, lambda admin: admin.delete_records(list(wanted), **PATIENCE))
            for partition, answer in answers.items():
                if not isinstance(answer, KafkaError):
                    wanted.pop(partition)
                elif not passes(answer):
                    raise self._connection.translated(answer, what)
            return not wanted

        if wanted:
            self._until(ask, f"{what}: their leaders are moving")

    # Groups

    def committed(
        self, group: str, partitions: Sequence[TopicPartition] | None
    ) -> dict[TopicPartition, tuple[int, str]]:
        """Stable positions with the text that was committed with them. Arguments: partitions: None: all."""
        # Offsets of a transaction that is being ended are pending for a moment; those of one that nobody ends
        # until the cluster aborts it.
        patience_s = self._connection.options.transaction_timeout_s + self._answer_s
        return self._told(group, self._all_if_none(partitions), patience_s, stable=True)

    def committed_now(
        self, group: str, partitions: Sequence[TopicPartition] | None, *, stable: bool = True
    ) -> dict[TopicPartition, tuple[int, str]] | None:
        """As `committed`, without waiting for long: None while a transaction over one of them is open.

        Arguments: stable: False gives the positions before that transaction.
        """
        partitions = self._all_if_none(partitions)
        if stable:
            return self._group_positions.of(group, partitions, _LOOK_S, stable=True)
        return self._told(group, partitions, self._answer_s, stable=False)

    def _told(
        self, group: str, partitions: Sequence[TopicPartition], patience_s: float, *, stable: bool
    ) -> dict[TopicPartition, tuple[int, str]]:
        """Raises: Unavailable: they are not told in time."""
        deadline = time.monotonic() + patience_s
        while (left_s := deadline - time.monotonic()) > 0:
            found = self._group_positions.of(group, partitions, left_s, stable=stable)
            if found is not None:
                return found
            time.sleep(0.01)
        held = " or held by an open transaction" if stable else ""
        raise self._connection.unavailable(f"the positions of group {group} are not told{held}")

    def _all_if_none(self, partitions: Sequence[TopicPartition] | None) -> Sequence[TopicPartition]:
        if partitions is not None:
            return partitions
        counts = self.partition_counts()
        return [TopicPartition(topic, partition) for topic, count in counts.items() for partition in range(count)]

    def processes(self, group: str) -> set[str]:
        """The processes (see `Connection.process`) that have members in a group."""
        members = self._described([group])[group].members
        return {member.client_id.rpartition("@")[2] for member in members}

    def group_answers(self, group: str) -> bool:
        """Whether a group has a coordinator that answers now."""
        try:
            self._described([group])
        except HeadwaterError:
            return False
        return True

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        mark = "" if foreign else MARK
        members = self._described([group])[group].members
        if members:
            names = ", ".join(sorted(f"{member.client_id} ({member.host})" for member in members))
            raise Misuse(f"group {group} is being read by {names}: stop them, then set its positions")
        wanted = ConsumerGroupTopicPartitions(
            group, [KafkaPartition(topic, partition, at, mark) for (topic, partition), at in positions.items()]
        )
        answer = self._connection.ask(
            f"setting positions of group {group}",
            lambda admin: admin.alter_consumer_group_offsets([wanted], **PATIENCE),
        )[group]
        # Somebody may have joined since: then the broker refuses, and so do we.
        failures = [answer] if isinstance(answer, KafkaError) else [at.error for at in answer.topic_partitions]
        for failure in failures:
            if failure is not None:
                raise self._refused(failure, group)

    def _refused(self, error: KafkaError, group: str) -> Exception:
        if error.code() in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP):
            return Misuse(f"group {group} is being read: stop its members, then set its positions")
        return self._connection.translated(error, f"setting positions of group {group}")

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        names = self._group_names() if names is None else sorted(names)
        descriptions = self._described(names)
        with ThreadPoolExecutor(8) as asking:
            positions = dict(zip(names, asking.map(self._positions, names), strict=True))
        return [
            GroupDescription(
                name,
                {
                    f"{member.client_id} {member.member_id}": [
                        TopicPartition(at.topic, at.partition) for at in member.assignment.topic_partitions
                    ]
                    for member in descriptions[name].members
                },
                {partition: position for partition, (position, _) in positions[name].items()},
                frozenset(partition for partition, (_, text) in positions[name].items() if not is_ours(text)),
            )
            for name in names
            if descriptions[name].state != ConsumerGroupState.DEAD
        ]

    def _group_names(self) -> list[str]:
        listing = self._connection.ask("listing groups", lambda admin: {None: admin.list_consumer_groups(**PATIENCE)})[
            None
        ]
        if isinstance(listing, KafkaError):
            raise self._connection.translated(listing, "listing groups")
        return sorted(group.group_id for group in listing.valid)

    def _positions(self, group: str) -> dict[TopicPartition, tuple[int, str]]:
        return self._told(group, self._all_if_none(None), self._answer_s, stable=False)

    def _described(self, groups: Sequence[str]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}

        def ask() -> bool:
            wanted = [name for name in groups if name not in found]
            answers = self._connection.ask(
                "describing groups", lambda admin: admin.describe_consumer_groups(wanted, **PATIENCE)
            )
            for name, answer in answers.items():
                if not isinstance(answer, KafkaError):
                    found[name] = answer
                elif not passes(answer):
                    raise self._connection.translated(answer, f"describing group {name}")
            return found.keys() >= set(groups)

        if groups:
            self._until(ask, f"groups {', '.join(groups)} are not described: their coordinators are moving")
        return found

    def configure_group(self, group: str, settings: Mapping[str, str]) -> None:
        """Sets a group's own settings (KIP-848)."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
        answers = self._connection.ask(
            f"setting the time-out of group {group}",
            lambda admin: admin.incremental_alter_configs([resource], **PATIENCE),
        )
        for answer in answers.values():
            if isinstance(answer, KafkaError):
                raise self._connection.translated(answer, f"setting the time-out of group {group}")

    def _until(self, done: Callable[[], bool], what: str, patience_s: float | None = None) -> None:
        deadline = time.monotonic() + (self._answer_s if patience_s is None else patience_s)
        while not done():
            if time.monotonic() > deadline:
                raise self._connection.unavailable(what)
            time.sleep(0.01)


def _new_topic(spec: TopicSpec, brokers: int) -> NewTopic:
    copies = min(3, brokers)
    settings = {
        "cleanup.policy": "compact" if spec.compacted else "delete",
        "retention.ms": _KEEPS_FOR_EVER if spec.retention_ms is None else str(spec.retention_ms),
        "message.timestamp.type": "LogAppendTime" if spec.log_time else "CreateTime",
        "min.insync.replicas": "2" if copies == 3 else "1",
    }
    if spec.retention_ms is None:
        settings["retention.bytes"] = _KEEPS_FOR_EVER
    if not spec.log_time:
        # Records carry the time at which things happened: it must neither delete nor roll segments, nor be refused
        # for being later than the broker's clock.
        settings["segment.ms"] = settings["message.timestamp.after.max.ms"] = _NEVER
    return NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=copies, config=settings)


def _description(name: str, id: str, partitions: int, settings: Mapping[str, Any]) -> TopicDescription:
    retention = settings["retention.ms"].value
    return TopicDescription(
        name,
        id,
        partitions,
        None if retention == _KEEPS_FOR_EVER else int(retention),
        "compact" in settings["cleanup.policy"].value,
        settings["message.timestamp.type"].value == "LogAppendTime",
    )
