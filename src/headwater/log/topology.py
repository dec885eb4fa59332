"""Which topics belong to an entity type, and how many partitions they were made with.

The count, the topic ids and the log's id are recorded when the topics are made, in the compacted topic
`headwater-meta`; partitions are computed from that record and never from live metadata. A topic whose
count or id has changed since would split entities between two owners, so it stops everything here.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from headwater.errors import HeadwaterError, Misuse, Unavailable, counted
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, TopicDescription, TopicPartition, TopicSpec

META_TOPIC = "headwater-meta"
META_SPEC = TopicSpec(META_TOPIC, 1, compacted=True)
ANOTHER_LOG = (
    "a topic cannot lose partitions: run on another log, made with the count that you want, and give `hw import` there "
    "what `hw replay` writes of the entities here"
)
DAY_MS = 86_400_000
HEARD_OF_S = 2.0
"""How long a topic that should be there is looked for before it is taken for gone."""


def events_topic(entity: str) -> str:
    return f"{entity}-events"


def commands_topic(entity: str) -> str:
    return f"{entity}-commands"


def state_topic(entity: str) -> str:
    return f"{entity}-state"


def replies_topic(entity: str) -> str:
    return f"{entity}-replies"


def owners_group(entity: str) -> str:
    """The group whose members own the entity type, whichever app they belong to."""
    return f"{entity}-owners"


class Beginning(msgspec.Struct, frozen=True):
    """Where the first events of an entity type are, which were deleted from the log.

    Arguments: archive: its address; begins: per partition, where the events begin there.
    """

    archive: str
    begins: list[int]


class InArchive(Unavailable):
    """Events were deleted from the log after they were archived, and it was opened without the archive.

    Arguments: entity: their type; address: of both.
    """

    def __init__(self, entity: str, address: str) -> None:
        super().__init__(f"the first events of {entity!r} are not in the log but in an archive: open it as {address}")
        self.address = address


class EntityTopics(msgspec.Struct, frozen=True):
    """The record in `headwater-meta`: one per entity type. Arguments: beginning: None: it is in the log."""

    entity: str
    partitions: int
    log: str
    topics: dict[str, str]
    beginning: Beginning | None = None


class Change(NamedTuple):
    """What differs from the record. Arguments: where: the topic, or the log; found: how; todo: the way out; kind: the
    error that it is for an owner that starts."""

    where: str
    found: str
    todo: str
    kind: type[HeadwaterError] = Unavailable


class Topology:
    """The recorded partition counts of a log's entity types.

    Arguments: log; recorded: entity type -> its record.
    """

    def __init__(self, log: Log, recorded: dict[str, EntityTopics]) -> None:
        self._log, self._recorded = log, recorded

    @classmethod
    def read(cls, log: Log) -> Topology:
        """What is recorded in the log (nothing, where no app has run yet)."""
        topology = cls(log, {})
        topology.refresh()
        return topology

    def refresh(self) -> None:
        """Reads the record again: another app may have made topics since."""
        self._recorded.update(_read_records(self._log))

    @property
    def records(self) -> list[EntityTopics]:
        """All of them, by entity type."""
        return [self._recorded[entity] for entity in self.entities()]

    def entities(self) -> list[str]:
        return sorted(self._recorded)

    def partitions(self, entity: str) -> int:
        """The recorded count. Raises: Unavailable: nothing is recorded for that entity type."""
        if entity not in self._recorded:
            self.refresh()
        found = self._recorded.get(entity)
        if found is None:
            known = ", ".join(self.entities()) or "none"
            raise Unavailable(
                f"no app has made the topics of {entity!r} on this log (known entity types: {known}); "
                "start one with: hw run MODULE:APP --on URL"
            )
        return found.partitions

    def partition(self, entity: str, key: bytes) -> int:
        return partition_of(key, self.partitions(entity))

    def all_of(self, topic: str, entity: str) -> list[TopicPartition]:
        return [TopicPartition(topic, p) for p in range(self.partitions(entity))]

    def ensure(self, entities: Iterable[str], *, partitions: int, with_events: bool = True) -> None:
        """Makes and records the topics of entity types that are not recorded yet, and checks the others.

        Raises: Misuse: topics were there before with another count, or have another since they were recorded.
        Unavailable: a topic is gone or was made anew since.
        """
        wanted = list(entities)
        self._log.create_topics([META_SPEC])
        self.refresh()
        missing = [entity for entity in wanted if entity not in self._recorded]
        specs = {entity: _specs(entity, partitions, with_events) for entity in missing}
        self._log.create_topics([spec for group in specs.values() for spec in group])
        there = self._seen({spec.name for group in specs.values() for spec in group})
        records = []
        if unseen := {spec.name for group in specs.values() for spec in group} - there.keys():
            raise Unavailable(
                f"the log does not show topics that it has made: {', '.join(sorted(unseen))}; start again"
            )
        for entity, group in specs.items():
            counts = {spec.name: there[spec.name].partitions for spec in group}
            if len(set(counts.values())) != 1:
                told = ", ".join(f"{topic} has {counted(count, 'partition')}" for topic, count in counts.items())
                raise Misuse(
                    f"the topics of {entity!r} must have one partition count, but {told}; delete those that are empty "
                    "and give the app the count of the others, App(..., partitions=N): it makes them anew"
                )
            ids = {spec.name: there[spec.name].id for spec in group}
            record = EntityTopics(entity, next(iter(counts.values())), self._log.id, ids)
            self._recorded[entity] = record
            records.append(NewRecord(META_TOPIC, 0, entity.encode(), msgspec.json.encode(record)))
        if records:
            self._log.append(records)
        for entity in wanted:
            self._check(self._recorded[entity])

    def ensure_events(self, entities: Iterable[str], *, partitions: int) -> None:
        """As `ensure`, for entity types that are only listened to: an `-events` topic that somebody else has made is
        read as it is, whatever its count, and nothing is made beside it."""
        wanted = list(entities)
        self.refresh()
        unknown = [events_topic(entity) for entity in wanted if entity not in self._recorded]
        foreign = self._log.topics(unknown) if unknown else {}
        self.ensure([entity for entity in wanted if events_topic(entity) not in foreign], partitions=partitions)

    def begin_in_archive(self, entity: str, beginning: Beginning) -> None:
        """Records where an entity type's first events are from now on, before they are deleted from the log."""
        self.refresh()
        record = msgspec.structs.replace(self._recorded[entity], beginning=beginning)
        if record != self._recorded[entity]:
            self._log.append([NewRecord(META_TOPIC, 0, entity.encode(), msgspec.json.encode(record))])
            self._recorded[entity] = record

    def check_beginnings(self) -> None:
        """Raises: InArchive: events were deleted after they were archived, and the log was opened without that
        archive: histories and new read models would be short in silence."""
        for record in self.records:
            if record.beginning is None:
                continue
            events = self.all_of(events_topic(record.entity), record.entity)
            begins = self._log.begins(events)
            if any(begins[tp] > known for tp, known in zip(events, record.beginning.begins, strict=True)):
                raise InArchive(record.entity, beside_archive(self._log, record.beginning.archive))

    def _seen(self, topics: Collection[str]) -> dict[str, TopicDescription]:
        """These topics as the log shows them. Who asks may be told by a broker that has not heard of them yet, when
        somebody else made them a moment ago, so one that is missing is looked for again."""
        deadline_s = time.monotonic() + HEARD_OF_S
        while True:
            there = self._log.topics(topics)
            if there.keys() >= set(topics) or time.monotonic() > deadline_s:
                return there
            time.sleep(0.02)

    def _check(self, record: EntityTopics) -> None:
        for change in changes(record, self._log.id, self._seen(record.topics.keys())):
            raise change.kind(f"{change.found}; {change.todo}")


def beside_archive(log: Log, archive: str) -> str:
    """The address of a log with its archive."""
    return f"{log.url}?archive={archive}"


def changes(record: EntityTopics, log_id: str, there: Mapping[str, TopicDescription]) -> Iterator[Change]:
    """What is not as it was recorded. Arguments: log_id: of the log; there: the topics that it has now."""
    if record.log != log_id:
        found = f"the topics of {record.entity!r} were recorded on the log {record.log}, and this is {log_id}"
        todo = f"were they copied with {META_TOPIC}? Positions and states of the other log mean nothing here"
        yield Change(f"entity type {record.entity}", found, todo)
        return
    for topic, topic_id in record.topics.items():
        now, where = there.get(topic), f"topic {topic}"
        if now is None:
            yield Change(where, f"{where} was recorded but is gone", "restore it before starting an owner")
        elif now.partitions != record.partitions:
            found = f"{where} was made with {record.partitions} partitions and has {now.partitions} now: keys have "
            found += "moved, one entity would get two owners"
            yield Change(where, found, ANOTHER_LOG, Misuse)
        elif now.id != topic_id:
            found = f"{where} was deleted and made again (its id was {topic_id}, now {now.id})"
            todo = f"clear the record of {record.entity!r} in {META_TOPIC} if that was meant"
            yield Change(where, found, todo)


def should_be(record: EntityTopics) -> list[TopicSpec]:
    """The topics of an entity type as they should be."""
    return [spec for spec in _specs(record.entity, record.partitions, True) if spec.name in record.topics]


def _specs(entity: str, partitions: int, with_events: bool) -> list[TopicSpec]:
    # Only -events records carry business time: a command stamped 1997 in a topic that keeps three days is
    # deleted unread within minutes.
    specs = [
        TopicSpec(commands_topic(entity), partitions, retention_ms=7 * DAY_MS, log_time=True),
        TopicSpec(state_topic(entity), partitions, compacted=True, log_time=True),
        TopicSpec(replies_topic(entity), partitions, retention_ms=DAY_MS // 4, log_time=True),
    ]
    if with_events:
        specs.insert(0, TopicSpec(events_topic(entity), partitions))
    return specs


def _read_records(log: Log) -> dict[str, EntityTopics]:
    if not log.topics([META_TOPIC]):
        return {}
    partition = TopicPartition(META_TOPIC, 0)
    # The written end: a record that is not visible yet is no reason to make the topics' record anew.
    end = log.ends([partition], committed=False)[partition]
    found: dict[str, EntityTopics] = {}
    position = log.begins([partition])[partition]
    reader = log.reader()
    try:
        reader.assign({partition: position})
        while position < end:
            batch = reader.read(1000, 1.0)
            position = batch.reached.get(partition, position)
            for record in batch.records:
                if record.value is not None:
                    entry = msgspec.json.decode(record.value, type=EntityTopics)
                    found[entry.entity] = entry
    finally:
        reader.close()
    return found
