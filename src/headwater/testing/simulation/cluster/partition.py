"""A partition as its leader keeps it: records, the marks of transactions, what producers have written."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError

Header = tuple[str, bytes]
DUPLICATES = 5
"""So many of its last batches a broker remembers of each producer."""


class PartTransaction:
    """What one transaction wrote to a partition. `committed`: None while it is open."""

    __slots__ = ("committed", "first")

    def __init__(self, first: int) -> None:
        self.first = first
        self.committed: bool | None = None


class Entry:
    """A record. `transaction`: None: it was written outside of any."""

    __slots__ = ("headers", "key", "offset", "time_ms", "transaction", "value")

    def __init__(
        self,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header] | None,
        time_ms: int,
        transaction: PartTransaction | None,
    ) -> None:
        self.offset, self.key, self.value, self.headers, self.time_ms = offset, key, value, headers, time_ms
        self.transaction = transaction

    @property
    def visible(self) -> bool:
        return self.transaction is None or self.transaction.committed is True


class NewEntry:
    """A record as a producer sends it."""

    __slots__ = ("headers", "key", "time_ms", "value")

    def __init__(self, key: bytes | None, value: bytes | None, headers: list[Header] | None, time_ms: int) -> None:
        self.key, self.value, self.headers, self.time_ms = key, value, headers, time_ms


class _Known:
    """What is known of a producer. `batches`: (first sequence, last sequence, first offset)."""

    __slots__ = ("batches", "epoch", "next")

    def __init__(self, epoch: int) -> None:
        self.epoch, self.next = epoch, 0
        self.batches: deque[tuple[int, int, int]] = deque(maxlen=DUPLICATES)


class Refused(Exception):
    """The broker answers with an error code."""

    def __init__(self, code: int) -> None:
        super().__init__(KafkaError(code).name())
        self.code = code


class PartitionLog:
    """Arguments: log_time: record times are the broker's; compacted. `stable`: the last stable offset, where
    the first open transaction begins; `listeners`: called when there is something new."""

    def __init__(self, *, log_time: bool, compacted: bool) -> None:
        self.log_time, self.compacted = log_time, compacted
        self.listeners: dict[object, Callable[[], None]] = {}
        self.begin = self.end = self.stable = 0
        self.entries: list[Entry] = []
        self._offsets: list[int] = []
        self._open: dict[int, PartTransaction] = {}
        self._producers: dict[int, _Known] = {}

    def is_open(self, pid: int) -> bool:
        return pid in self._open

    def append(
        self,
        records: Sequence[NewEntry],
        now_ms: int,
        *,
        pid: int = -1,
        epoch: int = -1,
        sequence: int = -1,
        transactional: bool = False,
    ) -> int:
        """Returns the first offset. Raises: Refused."""
        if pid >= 0:
            known = self._producers.get(pid)
            if known is None:
                known = self._producers[pid] = _Known(epoch)
            if epoch < known.epoch:
                raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
            if epoch > known.epoch:
                known = self._producers[pid] = _Known(epoch)
            last = sequence + len(records) - 1
            for first_known, last_known, offset in known.batches:
                if (first_known, last_known) == (sequence, last):
                    return offset
            if sequence != known.next:
                raise Refused(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
            known.next = last + 1
            known.batches.append((sequence, last, self.end))
        base = self.end
        transaction = None
        if transactional:
            transaction = self._open.get(pid)
            if transaction is None:
                transaction = self._open[pid] = PartTransaction(base)
        for number, new in enumerate(records):
            time_ms = now_ms if self.log_time or not new.time_ms else new.time_ms
            self.entries.append(Entry(base + number, new.key, new.value, new.headers, time_ms, transaction))
            self._offsets.append(base + number)
        self.end = base + len(records)
        self._changed()
        return base

    def mark(self, pid: int, epoch: int, commit: bool) -> None:
        """Writes the mark that ends a producer's transaction here."""
        known = self._producers.get(pid)
        if known is not None and epoch > known.epoch:
            self._producers[pid] = _Known(epoch)
        transaction = self._open.pop(pid, None)
        if transaction is not None:
            transaction.committed = commit
        self.end += 1
        self._changed()

    def read(self, position: int, most: int, *, committed: bool = True) -> tuple[list[Entry], int]:
        """Up to so many records from a position on, and the position after what was looked at."""
        limit = self.stable if committed else self.end
        found: list[Entry] = []
        index = bisect_left(self._offsets, position)
        while index < len(self.entries):
            entry = self.entries[index]
            if entry.offset >= limit:
                break
            if len(found) >= most:
                return found, entry.offset
            if entry.visible or not committed:
                found.append(entry)
            index += 1
        return found, max(position, limit)

    def at_time(self, time_ms: int) -> int | None:
        """The first offset at or after a time."""
        for entry in self.entries:
            if entry.time_ms >= time_ms:
                return entry.offset
        return None

    def compact(self, keep: int) -> None:
        """Keeps the newest record of each key, and the last `keep` records whatever they are."""
        stable, newest = self.stable, dict[bytes | None, int]()
        for entry in self.entries:
            if entry.offset < stable and entry.visible:
                newest[entry.key] = entry.offset
        tail = self._offsets[-keep] if 0 < keep <= len(self._offsets) else (0 if keep else self.end)
        self._keep(lambda e: e.offset >= min(stable, tail) or (e.visible and newest[e.key] == e.offset))

    def cut(self, begin: int) -> None:
        """What is older is gone: retention."""
        self.begin = max(self.begin, min(begin, self.stable))
        self._keep(lambda entry: entry.offset >= self.begin)

    def _changed(self) -> None:
        self.stable = min((one.first for one in self._open.values()), default=self.end)
        for listener in list(self.listeners.values()):
            listener()

    def _keep(self, wanted: Callable[[Entry], bool]) -> None:
        self.entries = [entry for entry in self.entries if wanted(entry)]
        self._offsets = [entry.offset for entry in self.entries]
