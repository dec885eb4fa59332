"""A part of a log that looks like a log of its own: topics, groups and writers get a prefix on the way down and
lose it on the way up. So each test has its own `order-events` on one broker or in one file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from headwater.log.findings import Finding
from headwater.log.limits import check_specs
from headwater.log.port import (
    Batch,
    Fence,
    GroupDescription,
    Held,
    Log,
    Member,
    NewRecord,
    OnDone,
    Positions,
    Reader,
    Record,
    StoredRecord,
    TopicDescription,
    TopicPartition,
    TopicSpec,
    Transaction,
    Writer,
)


class Prefix:
    """Puts a prefix on names and takes it off again."""

    def __init__(self, text: str) -> None:
        self.text = text

    def names_on(self, names: Iterable[str] | None) -> list[str] | None:
        return None if names is None else [self.text + name for name in names]

    def specs_on(self, specs: Iterable[TopicSpec]) -> list[TopicSpec]:
        return [replace(spec, name=self.text + spec.name) for spec in specs]

    def on(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(self.text + topic, partition) for topic, partition in partitions]

    def off(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        cut = len(self.text)
        return [TopicPartition(topic[cut:], partition) for topic, partition in partitions]

    def positions_on(self, positions: Positions) -> dict[TopicPartition, int]:
        return dict(zip(self.on(positions), positions.values(), strict=True))

    def positions_off(self, positions: Positions) -> dict[TopicPartition, int]:
        return dict(zip(self.off(positions), positions.values(), strict=True))

    def records_on(self, records: Iterable[NewRecord]) -> list[NewRecord]:
        return [msgspec.structs.replace(record, topic=self.text + record.topic) for record in records]

    def record_off(self, record: Record) -> StoredRecord:
        return StoredRecord(
            record.topic[len(self.text) :],
            record.partition,
            record.offset,
            record.key,
            record.value,
            record.headers,
            record.timestamp_ms,
        )

    def batch_off(self, batch: Batch) -> Batch:
        return Batch(
            [self.record_off(record) for record in batch.records],
            self.positions_off(batch.reached),
            set(self.off(batch.ended)),
            self.off(batch.assigned),
            self.off(batch.revoked),
        )


class PrefixedLog:
    """The topics and groups of a log that begin with a prefix, under their names without it.

    Arguments: log: stays open when this one is closed; prefix: of letters, digits, '.', '_' and '-'; forget:
    called with the prefix when this one is closed.
    """

    def __init__(self, log: Log, prefix: str, *, forget: Callable[[str], None] = lambda prefix: None) -> None:
        self._log, self._prefix, self._forget = log, Prefix(prefix), forget

    @property
    def prefix(self) -> str:
        return self._prefix.text

    @property
    def id(self) -> str:
        return f"{self._log.id}/{self.prefix}"

    @property
    def url(self) -> str:
        return "memory://"

    @property
    def embedded(self) -> bool:
        return self._log.embedded

    @property
    def cache(self) -> Path | None:
        return self._log.cache

    @property
    def records_read(self) -> int:
        return self._log.records_read

    @property
    def transaction_timeout_s(self) -> float | None:
        return self._log.transaction_timeout_s

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        check_specs(specs)
        self._log.create_topics(self._prefix.specs_on(specs))

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        found = self._log.topics(self._prefix.names_on(names)).values()
        cut = len(self.prefix)
        return {t.name[cut:]: replace(t, name=t.name[cut:]) for t in found if t.name.startswith(self.prefix)}

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._prefix.positions_off(self._log.begins(self._prefix.on(partitions)))

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        return self._prefix.positions_off(self._log.ends(self._prefix.on(partitions), committed=committed))

    def held(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Held]:
        found = self._log.held(self._prefix.on(partitions))
        return dict(zip(self._prefix.off(found), found.values(), strict=True))

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        return self._prefix.positions_off(self._log.positions_at(self._prefix.on(partitions), timestamp_ms))

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return self._log.append(self._prefix.records_on(records))

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        self._log.append_nowait(self._prefix.records_on(records), on_done)

    def reader(self, *, envelopes: bool = True, patient: bool = False) -> Reader:
        return _Reader(self._log.reader(envelopes=envelopes, patient=patient), self._prefix)

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> Member:
        own = [self.prefix + topic for topic in topics]
        return _Member(self._log.member(self.prefix + group, own, name=self.prefix + name, lean=lean), self._prefix)

    def writer(self, name: str) -> Writer:
        return _Writer(self._log.writer(self.prefix + name), self._prefix)

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        found = self._log.keyed(self._prefix.on([partition])[0], key)
        return [self._prefix.record_off(record) for record in found]

    def delete_before(self, positions: Positions) -> None:
        self._log.delete_before(self._prefix.positions_on(positions))

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        self._log.settle(self.prefix + group, self._prefix.on(partitions))

    def committed(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._prefix.positions_off(self._log.committed(self.prefix + group, self._prefix.on(partitions)))

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        self._log.reset(self.prefix + group, self._prefix.positions_on(positions), foreign=foreign)

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        found = self._log.groups(self._prefix.names_on(names))
        return [self._group(group) for group in found if group.name.startswith(self.prefix)]

    def _group(self, group: GroupDescription) -> GroupDescription:
        members = {member: self._prefix.off(partitions) for member, partitions in group.members.items()}
        name = group.name[len(self.prefix) :]
        foreign = frozenset(self._prefix.off(group.foreign))
        return GroupDescription(name, members, self._prefix.positions_off(group.positions), foreign)

    def examine(self, specs: Sequence[TopicSpec], groups: Sequence[str]) -> list[Finding]:
        """Topics and groups have their names in the log below: what is advised is done there."""
        return self._log.examine(self._prefix.specs_on(specs), [self.prefix + group for group in groups])

    def close(self) -> None:
        """The log below stays open."""
        self._forget(self.prefix)


class _Reader:
    def __init__(self, reader: Reader, prefix: Prefix) -> None:
        self._reader, self._prefix = reader, prefix

    def assign(self, positions: Positions) -> None:
        self._reader.assign(self._prefix.positions_on(positions))

    def read(self, max_records: int, timeout_s: float) -> Batch:
        return self._prefix.batch_off(self._reader.read(max_records, timeout_s))

    def close(self) -> None:
        self._reader.close()


class _Member:
    def __init__(self, member: Member, prefix: Prefix) -> None:
        self._member, self._prefix = member, prefix

    @property
    def id(self) -> str:
        return self._member.id

    def read(self, max_records: int, timeout_s: float) -> Batch:
        return self._prefix.batch_off(self._member.read(max_records, timeout_s))

    def start(self, positions: Positions) -> None:
        self._member.start(self._prefix.positions_on(positions))

    def fence(self) -> Fence:
        return self._member.fence()

    def commit(self, positions: Positions) -> None:
        self._member.commit(self._prefix.positions_on(positions))

    def close(self) -> None:
        self._member.close()


class _Writer:
    def __init__(self, writer: Writer, prefix: Prefix) -> None:
        self._writer, self._prefix = writer, prefix

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        firsts = self._writer.transact(lambda tx: fill(_Transaction(tx, self._prefix)), meanwhile)
        return self._prefix.positions_off(firsts)

    def close(self) -> None:
        self._writer.close()


class _Transaction:
    def __init__(self, tx: Transaction, prefix: Prefix) -> None:
        self._tx, self._prefix = tx, prefix

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return self._tx.append(self._prefix.records_on(records))

    def write(self, records: Sequence[NewRecord]) -> None:
        self._tx.write(self._prefix.records_on(records))

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        self._tx.positions(self._prefix.text + group, self._prefix.positions_on(positions), fence)
