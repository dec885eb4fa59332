"""What a cluster's settings mean for the promises of a log: pure, from what was asked to findings.

    Facts ──► copies · settings of topics · limits of brokers and groups ──► findings

The right settings of a topic are those that `administration` makes it with. A setting that a client may not see
(a managed cluster hides those of its brokers) is `unknown`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headwater.log.findings import Finding, or_fine
from headwater.log.kafka.connection import KafkaOptions
from headwater.log.limits import MAX_RECORD_BYTES
from headwater.log.port import TopicPartition, TopicSpec

Settings = Mapping[str, str]

INTERNAL = ("__consumer_offsets", "__transaction_state")
"""Where positions and transactions are kept: as precious as what is ours."""

NEEDED_BYTES = MAX_RECORD_BYTES + 48_588
"""Kafka's own default: a record at our limit with what a batch adds."""

LONGEST_SESSION_S = 15.0
"""A dead owner's partitions stand still for as long."""

_DAY_MS = 86_400_000
_YEAR_MS = 365 * _DAY_MS


class Copies(NamedTuple):
    """Where a partition is. Arguments: leader: -1: none; replicas, in_sync: ids of brokers."""

    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was asked of a cluster.

    Arguments: bootstrap; options: ours; brokers: settings by id (None: hidden); copies: of every partition that is
    looked at, internal ones too; topics: settings by name; sessions: the session time-out in seconds of each group
    that uses the `consumer` protocol (KIP-848).
    """

    bootstrap: str
    options: KafkaOptions
    brokers: Mapping[int, Settings | None]
    copies: Mapping[TopicPartition, Copies]
    topics: Mapping[str, Settings]
    sessions: Mapping[str, float]

    @property
    def cluster_size(self) -> int:
        """How many brokers there are, those that are away now included."""
        return len(self.brokers.keys() | {id for one in self.copies.values() for id in one.replicas})

    @property
    def topics_with_copies(self) -> dict[str, list[Copies]]:
        found: dict[str, list[Copies]] = {}
        for tp, copies in self.copies.items():
            found.setdefault(tp.topic, []).append(copies)
        return found

    def alter(self, topic: str, **settings: str) -> str:
        """The command that changes a topic. Arguments: settings: with _ for a dot."""
        added = ",".join(f"{name.replace('_', '.')}={value}" for name, value in settings.items())
        return (
            f"{self.tool('kafka-configs.sh')} --alter --entity-type topics --entity-name {topic} --add-config {added}"
        )

    def tool(self, name: str) -> str:
        return f"{name} --bootstrap-server {shlex.quote(self.bootstrap)}"


def judged(facts: Facts, specs: Sequence[TopicSpec]) -> list[Finding]:
    """Everything that settings tell. Arguments: specs: the topics as they should be."""
    where = f"{len(specs)} topics"
    own = [spec for spec in specs if spec.name in facts.topics]
    return [
        *or_fine(_replication(facts), "replication", where, f"each record is on {_copies(facts)} brokers"),
        *or_fine(_in_sync(facts), "in sync", where, "every copy is up to date"),
        *or_fine(
            _minimum(facts), "min.insync.replicas", where, f"confirmed by {_confirming(_copies(facts))} broker(s)"
        ),
        *or_fine(_unclean(facts), "unclean election", where, "no broker leads without having every confirmed record"),
        *or_fine(_retention(facts, own), "retention", where, "events for ever, states compacted, the rest for a while"),
        *or_fine(_times(facts, own), "record times", where, "business time in events only"),
        *or_fine(_sizes(facts, own), "message size", where, f"records of {MAX_RECORD_BYTES:,} bytes fit"),
        *or_fine(_limits(facts), "time-outs", "brokers and groups", _time_outs(facts.options)),
    ]


def _copies(facts: Facts) -> int:
    return min(3, facts.cluster_size)


def _confirming(replicas: int) -> int:
    """How many brokers must have a record before it is confirmed: with two, one may be lost, and one may be away."""
    return 2 if replicas >= 3 else 1


def _replication(facts: Facts) -> Iterator[Finding]:
    brokers, wanted = facts.cluster_size, _copies(facts)
    if brokers < 3:
        found = f"{brokers} broker(s): with fewer than 3, the loss of a disk may lose confirmed records"
        yield Finding("warning", "replication", "cluster", found, "run three brokers where the data matters")
    for topic, copies in facts.topics_with_copies.items():
        fewest = min(len(one.replicas) for one in copies)
        if fewest < wanted:
            found = f"its records are on {fewest} broker(s) of {brokers}, not on {wanted}: a lost disk loses them"
            command = facts.tool("kafka-reassign-partitions.sh")
            todo = f"list {wanted} replicas for each partition in copies.json, then: {command} "
            todo += "--reassignment-json-file copies.json --execute"
            yield Finding("fault", "replication", f"topic {topic}", found, todo)


def _in_sync(facts: Facts) -> Iterator[Finding]:
    for tp, copies in facts.copies.items():
        if copies.leader < 0:
            found = "no broker leads it: it can be neither read nor written"
            todo = f"start broker {' or '.join(map(str, copies.replicas))}"
            yield Finding("fault", "in sync", f"partition {tp}", found, todo)
        elif behind := sorted(set(copies.replicas) - set(copies.in_sync)):
            least = int(facts.topics.get(tp.topic, {}).get("min.insync.replicas", "1"))
            have, names = len(copies.in_sync), ", ".join(map(str, behind))
            found = f"broker {names} lacks the newest records"
            if have < least:
                found += f"; {have} of the {least} brokers are left that must have them: nothing can be written"
            todo = f"start broker {names}, or look into its log"
            yield Finding("fault" if have < least else "warning", "in sync", f"partition {tp}", found, todo)


def _minimum(facts: Facts) -> Iterator[Finding]:
    check = "min.insync.replicas"
    for topic, copies in facts.topics_with_copies.items():
        value = facts.topics.get(topic, {}).get(check)
        if value is None:
            continue
        least, replicas = int(value), min(len(one.replicas) for one in copies)
        right = _confirming(replicas)
        todo = facts.alter(topic, min_insync_replicas=str(right))
        if least > replicas:
            found = f"{least} brokers must have each record and {replicas} can: nothing can be written"
            yield Finding("fault", check, f"topic {topic}", found, todo)
        elif least == replicas > 1:
            found = f"all {replicas} brokers must have each record: nothing is written while one of them is away"
            yield Finding("warning", check, f"topic {topic}", found, todo)
        elif least < right:
            found = f"a record is confirmed when {least} broker(s) have it: the loss of that one loses it"
            yield Finding("fault", check, f"topic {topic}", found, todo)


def _unclean(facts: Facts) -> Iterator[Finding]:
    name = "unclean.leader.election.enable"
    for topic, settings in facts.topics.items():
        if settings.get(name) == "true":
            found = f"{name}=true: a broker that lacks confirmed records may lead, and they are gone"
            todo = facts.alter(topic, unclean_leader_election_enable="false")
            yield Finding("fault", "unclean election", f"topic {topic}", found, todo)


def _retention(facts: Facts, specs: Sequence[TopicSpec]) -> Iterator[Finding]:
    for spec in specs:
        settings, where = facts.topics[spec.name], f"topic {spec.name}"
        policy, right = settings["cleanup.policy"], "compact" if spec.compacted else "delete"
        if policy != right:
            found = f"cleanup.policy={policy}, not {right}: "
            found += "states are deleted by age" if spec.compacted else "all but the latest record of a key is removed"
            yield Finding("fault", "retention", where, found, facts.alter(spec.name, cleanup_policy=right))
        if not spec.compacted:
            yield from _kept(facts, spec)


def _kept(facts: Facts, spec: TopicSpec) -> Iterator[Finding]:
    settings, where = facts.topics[spec.name], f"topic {spec.name}"
    kept_ms, kept_bytes = int(settings["retention.ms"]), int(settings["retention.bytes"])
    if spec.retention_ms is None:
        if kept_ms >= 0 or kept_bytes >= 0:
            by = f"after {kept_ms / _DAY_MS:g} d" if kept_ms >= 0 else f"past {kept_bytes:,} bytes of a partition"
            found = f"records are deleted {by}; they must be kept for ever, everything is built from them"
            todo = facts.alter(spec.name, retention_ms="-1", retention_bytes="-1")
            yield Finding("fault", "retention", where, found, todo)
    elif 0 <= kept_ms < spec.retention_ms:
        days, wanted = kept_ms / _DAY_MS, spec.retention_ms / _DAY_MS
        found = f"records are deleted after {days:g} d, not {wanted:g}: what waits for longer is never carried out"
        todo = facts.alter(spec.name, retention_ms=str(spec.retention_ms))
        yield Finding("warning", "retention", where, found, todo)


def _times(facts: Facts, specs: Sequence[TopicSpec]) -> Iterator[Finding]:
    for spec in specs:
        settings, where = facts.topics[spec.name], f"topic {spec.name}"
        kind, right = settings["message.timestamp.type"], "LogAppendTime" if spec.log_time else "CreateTime"
        if kind != right:
            lost = spec.log_time and not spec.compacted
            why = "a record of long ago is deleted unread" if lost else "records carry another time than readers expect"
            found = f"message.timestamp.type={kind}, not {right}: {why}"
            todo = facts.alter(spec.name, message_timestamp_type=right)
            yield Finding("fault" if lost else "warning", "record times", where, found, todo)
        elif not spec.log_time and not spec.compacted:
            for name in ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms"):
                if int(settings.get(name, str(2**63 - 1))) < 100 * _YEAR_MS:
                    found = f"{name}={settings[name]}: an event that happened at another time is refused"
                    todo = facts.alter(spec.name, **{name: str(2**63 - 1)})
                    yield Finding("fault", "record times", where, found, todo)


def _sizes(facts: Facts, specs: Sequence[TopicSpec]) -> Iterator[Finding]:
    for spec in specs:
        most = int(facts.topics[spec.name]["max.message.bytes"])
        if most < NEEDED_BYTES:
            found = f"max.message.bytes={most}: a record may have {MAX_RECORD_BYTES:,} bytes, and would be refused"
            todo = facts.alter(spec.name, max_message_bytes=str(NEEDED_BYTES))
            yield Finding("fault", "message size", f"topic {spec.name}", found, todo)


def _limits(facts: Facts) -> Iterator[Finding]:
    """Time limits of brokers and groups against ours."""
    options = facts.options
    for id, settings in facts.brokers.items():
        where = f"broker {id}"
        if settings is None:
            yield Finding("unknown", "time-outs", where, "its settings are hidden from this client")
            continue
        longest_ms = int(settings.get("transaction.max.timeout.ms", "900000"))
        if options.transaction_timeout_s * 1000 > longest_ms:
            found = f"transaction.max.timeout.ms={longest_ms}: our transactions ask for "
            found += f"{options.transaction_timeout_s:g} s, and are refused"
            todo = f"?transaction_timeout_s={longest_ms // 1000} in the address, or a higher setting of the broker"
            yield Finding("fault", "time-outs", where, found, todo)
        session_ms = options.session_timeout_s * 1000
        group = "group" if options.group_protocol == "classic" else "group.consumer"
        least = int(settings.get(f"{group}.min.session.timeout.ms", "0"))
        most = int(settings.get(f"{group}.max.session.timeout.ms", str(2**31)))
        if not least <= session_ms <= most:
            found = f"members ask for a session of {options.session_timeout_s:g} s, and it allows {least / 1000:g} to "
            found += f"{most / 1000:g} s: they are refused"
            nearest = least if session_ms < least else most
            todo = f"?session_timeout_s={nearest / 1000:g} in the address"
            yield Finding("fault", "time-outs", where, found, todo)
    for group, session_s in facts.sessions.items():
        if session_s > LONGEST_SESSION_S:
            found = f"consumer.session.timeout.ms={session_s * 1000:.0f}: a dead owner is noticed after that long"
            command = f"{facts.tool('kafka-configs.sh')} --alter --entity-type groups --entity-name {group}"
            todo = f"{command} --add-config consumer.session.timeout.ms={options.session_timeout_s * 1000:.0f}"
            yield Finding("warning", "time-outs", f"group {group}", found, todo)


def _time_outs(options: KafkaOptions) -> str:
    return f"a session of {options.session_timeout_s:g} s and a transaction of {options.transaction_timeout_s:g} s fit"
