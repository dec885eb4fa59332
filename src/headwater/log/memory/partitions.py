"""One partition in memory, as unkind as Kafka's when asked to be.

A record gets its offset when it is written, and can be read when the partition's visible end has passed it:
with late visibility that end follows a few looks behind, each partition at its own pace, so a transaction over
two partitions is seen in one before the other. Gaps stand for transaction markers, aborted records and what
compaction removed.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

from headwater.log.cursors import Fetched
from headwater.log.port import StoredRecord, TopicPartition, TopicSpec

_MOST_LOOKS_LATE = 3
_PURGE_AT = 1_000


class Partition:
    """The records of one partition. Guarded by the lock of its log.

    Arguments: gaps, late: see `MemoryLog`; chance: where their sizes come from.
    """

    def __init__(self, name: TopicPartition, spec: TopicSpec, chance: random.Random, gaps: bool, late: bool):
        self.name, self.spec = name, spec
        self.first = self.next = self.visible = 0
        self._chance, self._gaps, self._late = chance, gaps, late
        self._records: list[StoredRecord] = []
        self._by_key: dict[bytes, list[StoredRecord]] = {}
        self._superseded = 0
        self._behind: deque[list[int]] = deque()

    def skip(self) -> None:
        """Now and then loses a few offsets, as to somebody else's aborted transaction."""
        if self._gaps and self._chance.random() < 0.25:
            self.next += self._chance.randint(1, 3)

    def abort(self, count: int) -> None:
        """Uses up the offsets of records that will never be seen."""
        if self._gaps:
            self.next += count + 1
            self._show()

    def commit(self, records: Sequence[StoredRecord], marker: bool) -> None:
        """Takes in records whose offsets begin at `next`; a transaction leaves a marker behind them."""
        for record in records:
            self._records.append(record)
            if record.key is not None:
                self._remember(record.key, record)
        if records:
            self.next = records[-1].offset + 1
        self.next += marker and self._gaps
        self._show()
        if self._superseded > max(_PURGE_AT, len(self._records) // 2):
            self._records = [record for record in self._records if self._kept(record)]
            self._superseded = 0

    def _remember(self, key: bytes, record: StoredRecord) -> None:
        known = self._by_key.setdefault(key, [])
        if self.spec.compacted and known:
            self._superseded += 1
            known.clear()
        known.append(record)

    def _kept(self, record: StoredRecord) -> bool:
        return not self.spec.compacted or record.key is None or self._by_key[record.key][0] is record

    def _show(self) -> None:
        if self._late:
            self._behind.append([self.next, self._chance.randint(0, _MOST_LOOKS_LATE)])
        else:
            self.visible = self.next

    def look(self) -> bool:
        """Every look brings what is late nearer. Returns whether all that was written can be seen now."""
        while self._behind:
            end, looks_left = self._behind[0]
            if looks_left > 0:
                self._behind[0][1] -= 1
                return False
            self.visible = end
            self._behind.popleft()
        return True

    def fetch(self, position: int, limit: int) -> Fetched:
        """The visible records from a position on, at most `limit`, and where that leads."""
        start = bisect_left(self._records, position, key=_offset)
        stop = bisect_left(self._records, self.visible, key=_offset)
        found = self._records[start:stop]
        if self.spec.compacted:
            found = [record for record in found if self._kept(record)]
        if len(found) > limit:
            return Fetched(found[:limit], found[limit - 1].offset + 1, ended=False)
        return Fetched(found, max(self.visible, position), ended=True)

    def delete_before(self, position: int) -> None:
        if position > self.first:
            self.first = position
            self._records = [record for record in self._records if record.offset >= position]
            for known in self._by_key.values():
                known[:] = [record for record in known if record.offset >= position]

    def keyed(self, key: bytes) -> list[StoredRecord]:
        return [record for record in self._by_key.get(key, ()) if record.offset < self.visible]

    def position_at(self, timestamp_ms: int) -> int:
        for record in self._records:
            if record.timestamp_ms >= timestamp_ms and record.offset < self.visible and self._kept(record):
                return record.offset
        return self.visible


def _offset(record: StoredRecord) -> int:
    return record.offset
