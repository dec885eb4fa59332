"""The health of a cluster: asks for what `judging` judges, and looks for transactions that hold partitions back."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from confluent_kafka import ConsumerGroupType, KafkaError
from confluent_kafka.admin import ConfigResource, ResourceType

from headwater.errors import Unavailable
from headwater.log.findings import Finding
from headwater.log.held import staying
from headwater.log.kafka.connection import PATIENCE, Connection
from headwater.log.kafka.held import Watch
from headwater.log.kafka.judging import INTERNAL, Copies, Facts, judged
from headwater.log.kafka.membership import SESSION_AT_KIP_848
from headwater.log.kafka.open_transactions import OpenTransaction, open_transactions
from headwater.log.port import Held, TopicPartition, TopicSpec

_LONGEST_TRANSACTION_MS = 900_000
"""Kafka's default of what a broker allows, where it hides that."""

_HIDDEN = (
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


def examine(connection: Connection, watch: Watch, specs: Sequence[TopicSpec], groups: Sequence[str]) -> list[Finding]:
    """See `Log.examine`. Raises: Unavailable."""
    facts = _ask(connection, {spec.name for spec in specs}, groups)
    partitions = [tp for tp, copies in facts.copies.items() if tp.topic not in INTERNAL and copies.leader >= 0]
    try:
        transactions = _transactions(connection, watch, facts, partitions)
    except Unavailable as error:  # a leader went away a moment ago: the copies tell, and the rest is told all the same
        found = f"it could not be looked at: {error}"
        transactions = [Finding("unknown", "transactions", f"{len(specs)} topics", found)]
    return [*judged(facts, specs), *transactions]


def _ask(connection: Connection, topics: Collection[str], groups: Sequence[str]) -> Facts:
    metadata = connection.metadata(connection.options.answer_timeout_s)
    wanted = [*sorted(topics), *INTERNAL]
    copies = {
        TopicPartition(name, number): Copies(one.leader, tuple(one.replicas), tuple(one.isrs))
        for name in wanted
        if name in metadata.topics
        for number, one in metadata.topics[name].partitions.items()
    }
    there = [name for name in wanted if name in metadata.topics]
    return Facts(
        connection.bootstrap,
        connection.options,
        {id: _of_broker(connection, id) for id in metadata.brokers},
        copies,
        _settings(connection, ResourceType.TOPIC, there),
        _sessions_s(connection, groups),
    )


def _of_broker(connection: Connection, id: int) -> dict[str, str] | None:
    """None: they may not be seen, or the broker is going away."""
    try:
        return _settings(connection, ResourceType.BROKER, [str(id)]).get(str(id))  # one at a time, says the client
    except Unavailable:
        return None


def _settings(connection: Connection, kind: ResourceType, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Settings by name; those that may not be seen are left out."""
    if not names:
        return {}
    what = "asking for settings"
    resources = [ConfigResource(kind, name) for name in names]
    answers = connection.ask(what, lambda admin: admin.describe_configs(resources, **PATIENCE))
    found = {}
    for resource, settings in answers.items():
        if not isinstance(settings, KafkaError):
            found[resource.name] = {name: one.value for name, one in settings.items() if one.value is not None}
        elif settings.code() not in _HIDDEN:
            raise connection.translated(settings, f"{what} of {resource.name}")
    return found


def _sessions_s(connection: Connection, groups: Sequence[str]) -> dict[str, float]:
    """The session time-out of those groups that use the `consumer` protocol (KIP-848), in seconds."""
    if not groups:
        return {}
    described = connection.ask(
        "describing groups", lambda admin: admin.describe_consumer_groups(list(groups), **PATIENCE)
    )
    new = [
        name
        for name, one in described.items()
        if not isinstance(one, KafkaError) and one.type == ConsumerGroupType.CONSUMER
    ]
    found = _settings(connection, ResourceType.GROUP, new)
    return {name: int(told[SESSION_AT_KIP_848]) / 1000 for name, told in found.items()}


def _transactions(
    connection: Connection, watch: Watch, facts: Facts, partitions: Sequence[TopicPartition]
) -> list[Finding]:
    """Partitions that stay where they are, since a transaction over them is open."""
    where = f"{len({tp.topic for tp in partitions})} topics"
    stuck = staying(watch.held, partitions)
    if not stuck:
        return [Finding("ok", "transactions", where, "none is open for long: all that was written can be read")]
    longest = [int(one.get("transaction.max.timeout.ms", "0")) for one in facts.brokers.values() if one is not None]
    found = open_transactions(connection, max(longest, default=_LONGEST_TRANSACTION_MS))
    # Once more: one that ended while its name was looked for is none that hangs.
    now = watch.held(list(stuck))
    return [_holding(facts, tp, held, found) for tp, held in sorted(now.items()) if held.stable == stuck[tp].stable]


def _holding(facts: Facts, tp: TopicPartition, held: Held, known: list[OpenTransaction] | None) -> Finding:
    """Who holds a partition, and what ends that."""
    check, where = "transactions", f"partition {tp}"
    said = f"nothing from offset {held.stable} to {held.written - 1} can be read: "
    tool = facts.tool("kafka-transactions.sh")
    place = f"--topic {tp.topic} --partition {tp.partition}"
    if known is None:
        todo = f"{tool} find-hanging {place}"
        return Finding("fault", check, where, f"{said}a transaction is open; whose, this client may not see", todo)
    holders = sorted((one for one in known if tp in one.partitions), key=lambda one: one.started_ms)
    if not holders:
        todo = f"{tool} abort {place} --start-offset {held.stable}"
        found = f"{said}a transaction hangs that no coordinator knows, so nobody is going to end it"
        return Finding("fault", check, where, found, todo)
    first = holders[0]
    open_s, limit_s = time.time() - first.started_ms / 1000, first.timeout_ms / 1000
    end = datetime.fromtimestamp(first.started_ms / 1000 + limit_s, UTC)
    found = f"{said}{first.id} (producer {first.producer_id}) has had a transaction open for {open_s:,.0f} s"
    todo = f"stop what writes as {first.id}; the cluster ends its transaction at {end:%H:%M:%S} UTC, and before that: "
    todo += f"{tool} forceTerminateTransaction --transactionalId {first.id}"
    late = open_s > facts.options.transaction_timeout_s
    return Finding("fault" if late else "warning", check, where, found, todo)
