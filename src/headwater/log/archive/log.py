"""A log whose beginning is in an archive: everything that reads it reads both as one sequence."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from headwater.log.archive.archive import Archive, Topic
from headwater.log.archive.manifest import lost
from headwater.log.archive.reading import ArchivedMember, ArchivedReader, Tapes, missing
from headwater.log.findings import Finding
from headwater.log.limits import unknown_topic
from headwater.log.port import (
    GroupDescription,
    Held,
    Log,
    Member,
    NewRecord,
    OnDone,
    Positions,
    Reader,
    Record,
    TopicDescription,
    TopicPartition,
    TopicSpec,
    Writer,
)


class ArchivedLog:
    """A log and its archive. See `headwater.log.port.Log`.

    Only what the log has no more is read from the archive, so as long as nothing was deleted it costs nothing but the
    question where partitions begin.

    Arguments: live: the log, closed with this one; archive.
    """

    def __init__(self, live: Log, archive: Archive) -> None:
        self.live, self.archive = live, archive
        self._topics: dict[str, Topic] = {}
        self._lock = threading.Lock()
        self._read = 0

    @property
    def id(self) -> str:
        return self.live.id

    @property
    def url(self) -> str:
        return self.live.url

    @property
    def embedded(self) -> bool:
        return self.live.embedded

    @property
    def cache(self) -> Path | None:
        return self.live.cache

    @property
    def records_read(self) -> int:
        return self.live.records_read + self._read

    @property
    def transaction_timeout_s(self) -> float | None:
        return self.live.transaction_timeout_s

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        self.live.create_topics(specs)

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        return self.live.topics(names)

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the archive begins, where it has what the log has no more."""
        found = self.live.begins(partitions)
        for tp, begin in found.items():
            if begin > 0 and (files := self.archive.files(self._topic(tp.topic), tp.partition)):
                found[tp] = min(begin, files[0].begin)
        return found

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        return self.live.ends(partitions, committed=committed)

    def held(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Held]:
        return self.live.held(partitions)

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        found = self.live.positions_at(partitions, timestamp_ms)
        for tp, begin in self.live.begins(partitions).items():
            if begin > 0:
                earlier = self.archive.first_since(self._topic(tp.topic), tp.partition, timestamp_ms, begin)
                if earlier is not None:
                    found[tp] = earlier
        return found

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return self.live.append(records)

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        self.live.append_nowait(records, on_done)

    def reader(self, *, envelopes: bool = True, patient: bool = False) -> Reader:
        return ArchivedReader(self.live.reader(envelopes=envelopes, patient=patient), self._tapes(envelopes))

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> Member:
        return ArchivedMember(self.live.member(group, topics, name=name, lean=lean), self._tapes(True))

    def writer(self, name: str) -> Writer:
        return self.live.writer(name)

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        """Raises: Unavailable: a part is neither in the archive nor in the log."""
        begin = self.live.begins([partition])[partition]
        found = self.live.keyed(partition, key)
        if begin == 0:
            return found
        topic = self._topic(partition.topic)
        for hole in lost(self.archive.files(topic, partition.partition, begin), begin):
            raise missing(partition, hole.begin, hole.end, self.archive)
        earlier = self.archive.keyed(topic, partition.partition, key, begin)
        self._count(len(earlier))
        # A log may remember more of a key than it has of the topic.
        known = {record.offset for record in earlier}
        return sorted(earlier + [one for one in found if one.offset not in known], key=lambda record: record.offset)

    def delete_before(self, positions: Positions) -> None:
        self.live.delete_before(positions)

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        self.live.settle(group, partitions)

    def committed(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self.live.committed(group, partitions)

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        self.live.reset(group, positions, foreign=foreign)

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        return self.live.groups(names)

    def examine(self, specs: Sequence[TopicSpec], groups: Sequence[str]) -> list[Finding]:
        return self.live.examine(specs, groups)

    def close(self) -> None:
        self.live.close()

    def _tapes(self, envelopes: bool) -> Tapes:
        return Tapes(self.live, self.archive, self._topic, self._count, envelopes=envelopes)

    def _topic(self, name: str) -> Topic:
        """Raises: Misuse: there is no such topic."""
        found = self._topics.get(name)
        if found is None:
            there = self.live.topics([name])
            if name not in there:
                raise unknown_topic(name)
            found = self._topics[name] = Topic(name, there[name].id)
        return found

    def _count(self, records: int) -> None:
        with self._lock:
            self._read += records
