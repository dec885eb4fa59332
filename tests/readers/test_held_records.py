"""The records of a held topic: what is too large for one is in several, also while the topic is compacted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from headwater.failures.held import Audit, HeldRecord
from headwater.log.limits import check_size
from headwater.log.port import NewRecord, StoredRecord
from headwater.readers.held_records import PART_BYTES, Contents, audit_line, held_line

PLACE = ("order-events", 1, 7)


def row(size_bytes: int, message: str = "") -> HeldRecord:
    return HeldRecord(*PLACE, b"k", b"x" * size_bytes, [("name", b"content")], 5, failed=True, message=message)


def stored(records: list[NewRecord]) -> list[StoredRecord]:
    return [StoredRecord("held", one.partition, n, one.key, one.value, one.headers, 0) for n, one in enumerate(records)]


def read(records: list[NewRecord]) -> Contents:
    contents = Contents()
    for one in stored(records):
        contents.take(one)
    return contents


def newest(records: list[NewRecord]) -> list[NewRecord]:
    """What stays of a compacted topic."""
    return list({one.key: one for one in records}.values())


@pytest.mark.parametrize("size_bytes", [0, 10, PART_BYTES // 2, PART_BYTES, 1_000_000])
def test_a_record_of_any_size_comes_back_whole(size_bytes: int) -> None:
    records = Contents().records("held", held_line(row(size_bytes)))
    for one in records:
        check_size(one)
    assert read(records).held == {PLACE: row(size_bytes)}


def test_an_edit_of_a_large_record_is_in_the_audit() -> None:
    line = Audit("1", datetime(2024, 4, 10, tzinfo=UTC), *PLACE, "retried", "ann", "", "", "", "", b"x" * 1_000_000)
    assert read(Contents().records("held", audit_line(line))).audit == {"1": line}


@pytest.mark.parametrize("reads_it_back", [False, True])
def test_what_is_gone_leaves_nothing_but_marks_of_deletion(reads_it_back: bool) -> None:
    contents = Contents()
    records = contents.records("held", held_line(row(1_000_000)))
    if reads_it_back:
        contents = read(records)
    records += contents.records("held", held_line(row(10)))
    records += contents.records("held", held_line(row(10), there=False))
    assert {one.key: one.value for one in records} == dict.fromkeys([one.key for one in records])
    assert read(records).held == read(newest(records)).held == {}


@pytest.mark.parametrize("size_bytes", [10, 1_000_000])
def test_compaction_may_have_come_to_any_place(size_bytes: int) -> None:
    contents = Contents()
    old = contents.records("held", held_line(row(1_000_000, "old")))
    records = [*old, *contents.records("held", held_line(row(size_bytes, "new")))]
    for cleaned in range(len(records) + 1):
        last = {one.key: n for n, one in enumerate(records[:cleaned])}
        left = [one for n, one in enumerate(records) if n >= cleaned or last[one.key] == n]
        assert read(left).held == {PLACE: row(size_bytes, "new")}, f"cleaned up to {cleaned}"
