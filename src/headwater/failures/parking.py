"""Which records of a batch are set aside: decided record by record, in order, without I/O.

    for each record:   parks(record)?  -> it waits behind a failed one of its key, or its partition is paused
                       else it is tried; fail(record, trouble) where that does not succeed

A record without a key holds nothing back. At a limit, and at a record that the policy does not let be set aside, the
partition pauses *before* that record: its position stays there, and nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from headwater.errors import BadData, Failed, HeadwaterError, Unavailable, counted
from headwater.failures.held import TEXT_CHARACTERS, HeldRecord, Shelves, Stage
from headwater.failures.policy import FailurePolicy
from headwater.log.port import Record, TopicPartition
from headwater.messages.unreadable import Unreadable

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Trouble(NamedTuple):
    """Why a record cannot be applied.

    Arguments: stage, handler, error, message: as of `HeldRecord`; cause: what a reader that stops there raises; newer:
    whether newer code might read it; late: whether it is only left out of what it came too late for: then it holds
    nothing back.
    """

    stage: Stage
    handler: str
    error: str
    message: str
    cause: HeadwaterError
    newer: bool = False
    late: bool = False


def trouble_of(error: BadData | Failed) -> Trouble:
    """What is kept of a failure. The cause of a `Failed` is what the author's function raised."""
    if isinstance(error, BadData) and isinstance(error.found, Unreadable):
        return trouble_in(error.found, error)
    if isinstance(error, BadData):
        return Trouble("decode", "", "BadData", error.reason, error)
    cause = error.__cause__
    if cause is None:
        return Trouble("apply", error.handler, "Failed", error.cause, error)
    kind = type(cause)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Trouble("apply", error.handler, name, str(cause), error)


def trouble_in(found: Unreadable, cause: BadData) -> Trouble:
    """As `trouble_of`, for what a codec could not read."""
    if found.kind in ("upcast", "old_version"):
        return Trouble("upcast", found.handler or found.wire_name or "", found.error or "BadData", found.reason, cause)
    newer = found.kind == "unknown_version"
    return Trouble("decode", found.wire_name or "", "BadData", found.reason, cause, newer)


class Pause(NamedTuple):
    """Where a partition is left. Arguments: offset: of the record that is not taken; cause: why; limit: whether it goes
    on when there is room again."""

    offset: int
    cause: HeadwaterError
    limit: bool


class Parking:
    """Arguments: policy; shelves: what is set aside already, not changed here; now: the time of failures; pauses: that
    are known already; instead: rows that are tried again and so are not on the shelves in this. `believed`: the keys of
    which it matters that they are held, as the shelves say."""

    def __init__(
        self,
        policy: FailurePolicy,
        shelves: Shelves,
        now: datetime,
        pauses: Mapping[TopicPartition, Pause] | None = None,
        instead: Collection[HeldRecord] = (),
    ) -> None:
        self._policy, self._shelves, self._now = policy, shelves, now
        self._before = {place_of_row(row): row for row in instead}
        self._lifted = {(row.tp, row.held_key) for row in instead}
        self._held: set[tuple[TopicPartition, bytes]] = set()
        self._more: dict[TopicPartition, tuple[int, int]] = {}
        self.believed: set[tuple[TopicPartition, bytes]] = set()
        self.pauses: dict[TopicPartition, Pause] = dict(pauses or {})
        self.rows: dict[Place, HeldRecord] = {}

    def parks(self, record: Record) -> bool:
        """Whether a record is left alone: it is set aside now, or lies behind a pause."""
        tp = TopicPartition(record.topic, record.partition)
        pause = self.pauses.get(tp)
        if pause is not None and record.offset >= pause.offset:
            return True
        key = record.key
        if key is None or not self._holds(tp, key, record.offset):
            return False
        if record.offset not in self._shelves[tp] or place_of(record) in self._before:
            self._put(tp, self._row(record))  # else it was set aside before its reader was sent back
        return True

    def fail(self, record: Record, trouble: Trouble) -> None:
        """Sets a record aside that was tried."""
        tp = TopicPartition(record.topic, record.partition)
        answer = self._policy.at_newer if trouble.newer else self._policy.at_failure
        if answer == "stop":
            self.pauses[tp] = Pause(record.offset, trouble.cause, limit=False)
            return
        row = self._row(record)
        row.failed, row.attempts = True, row.attempts + 1
        row.holds = row.holds and answer != "skip" and not trouble.late
        row.stage, row.handler, row.error = trouble.stage, trouble.handler, trouble.error
        row.message = readable(trouble.message)
        row.first_failed, row.last_failed = row.first_failed or self._now, self._now
        self._put(tp, row)

    def sift(self, records: Iterable[Record], troubles: Mapping[Place, Trouble]) -> None:
        """For a batch of which all that fails is known."""
        for record in records:
            if not self.parks(record) and (trouble := troubles.get(place_of(record))) is not None:
                self.fail(record, trouble)

    def excludes(self, record: Record) -> bool:
        """Whether a record that was looked at is not to be applied."""
        pause = self.pauses.get(TopicPartition(record.topic, record.partition))
        return place_of(record) in self.rows or (pause is not None and record.offset >= pause.offset)

    def _row(self, record: Record) -> HeldRecord:
        before = self._before.get(place_of(record))
        return HeldRecord.of(record) if before is None else msgspec.structs.replace(before)

    def _holds(self, tp: TopicPartition, key: bytes, offset: int) -> bool:
        if (tp, key) in self._held:
            return True
        if (tp, key) in self._lifted or not self._shelves[tp].holds(key, offset):
            return False
        self.believed.add((tp, key))
        return True

    def _put(self, tp: TopicPartition, row: HeldRecord) -> None:
        records, size_bytes = self._more.get(tp, (0, 0))
        records, size_bytes = records + 1, size_bytes + row.size_bytes
        shelf, policy = self._shelves[tp], self._policy
        over = len(shelf) + records > policy.held_records or shelf.size_bytes + size_bytes > policy.held_bytes
        if over and not self._before:  # what comes back to its place takes no more room than before
            self.pauses[tp] = Pause(row.record_offset, Unavailable(full(tp, shelf.failed, policy)), limit=True)
            return
        self._more[tp] = records, size_bytes
        self.rows[place_of_row(row)] = row
        if row.held_key is not None:
            self._held.add((tp, row.held_key))


def place_of(record: Record) -> Place:
    return record.topic, record.partition, record.offset


def where_of(record: Record) -> str:
    """The same in words, for errors."""
    return f"{record.topic}, partition {record.partition}, offset {record.offset}"


def place_of_row(row: HeldRecord) -> Place:
    return row.topic, row.partition, row.record_offset


def full(tp: TopicPartition, failed: int, policy: FailurePolicy) -> str:
    limit = f"{policy.held_records:,} records or {policy.held_bytes >> 20:,} MB"
    return (
        f"{tp} is paused: as much is set aside there as may be ({limit}; {counted(failed, 'dead letter')} in front). "
        "Nothing is lost; it goes on by itself when dead letters are retried or discarded: hw deadletters list"
    )


def readable(text: str) -> str:
    """Words of anybody, as a store can keep them."""
    return text[:TEXT_CHARACTERS].encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
