"""Which records are set aside, without a log or a store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from headwater.errors import BadData
from headwater.failures import FailurePolicy, dead_letter, stop
from headwater.failures.held import HeldRecord, Shelves
from headwater.failures.parking import Parking, trouble_of
from headwater.log.port import StoredRecord, TopicPartition

NOW = datetime(2024, 4, 10, tzinfo=UTC)
P0 = TopicPartition("t", 0)


def record(offset: int, key: bytes | None = b"k", partition: int = 0) -> StoredRecord:
    return StoredRecord("t", partition, offset, key, b"v", [], 0)


def fail(parking: Parking, one: StoredRecord) -> None:
    error = BadData("no JSON", topic=one.topic, partition=one.partition, offset=one.offset)
    parking.fail(one, trouble_of(error))


def test_a_failed_record_holds_its_key_in_its_partition_and_nothing_else() -> None:
    parking = Parking(dead_letter(), Shelves(), NOW)
    assert not parking.parks(record(1))
    fail(parking, record(1))
    assert parking.parks(record(2))
    assert not parking.parks(record(3, b"other"))
    assert not parking.parks(record(4, partition=1)), "the same key elsewhere is another order"
    assert [(offset, row.failed) for (_, _, offset), row in parking.rows.items()] == [(1, True), (2, False)]


def test_a_record_without_a_key_holds_nothing() -> None:
    parking = Parking(dead_letter(), Shelves(), NOW)
    fail(parking, record(1, None))
    assert not parking.parks(record(2, None))


def test_what_a_reader_that_was_sent_back_reads_again_stays_as_it_was_set_aside() -> None:
    shelves = Shelves()
    first = Parking(dead_letter(), shelves, NOW)
    fail(first, record(1))
    assert first.parks(record(2))
    shelves.changed(first.rows.values())
    again = Parking(dead_letter(), shelves, NOW)
    assert again.parks(record(1))
    assert again.parks(record(2))
    assert again.rows == {}, "the dead letter is still one"
    assert again.parks(record(3))
    assert [offset for _, _, offset in again.rows] == [3]


def test_what_stands_before_a_dead_letter_is_not_held_by_it_where_a_reader_was_sent_back() -> None:
    shelves = Shelves()
    first = Parking(dead_letter(), shelves, NOW)
    fail(first, record(5))
    assert first.parks(record(6))
    shelves.changed(first.rows.values())
    again = Parking(dead_letter(), shelves, NOW)
    assert [again.parks(record(offset)) for offset in (3, 4, 5, 6, 7)] == [False, False, True, True, True]
    assert [offset for _, _, offset in again.rows] == [7]


@pytest.mark.parametrize("policy", [stop(), dead_letter(held_records=1), replace(dead_letter(), held_bytes=3)])
def test_a_pause_lies_before_the_record_and_everything_behind_it_is_left(policy: FailurePolicy) -> None:
    parking = Parking(policy, Shelves(), NOW)
    for one in (record(1, b"a"), record(2, b"b")):
        if not parking.parks(one):
            fail(parking, one)
    assert parking.pauses[P0].offset == (1 if policy.stops else 2)
    assert parking.pauses[P0].limit is not policy.stops
    assert parking.parks(record(3, b"c"))
    assert not parking.parks(record(3, b"c", partition=1))


def test_what_is_tried_again_keeps_its_first_failure_and_its_place() -> None:
    before = HeldRecord("t", 0, 1, b"k", b"v", [], 0, True, True, attempts=3, first_failed=NOW)
    shelves = Shelves()
    shelves.set(P0, [before])
    parking = Parking(dead_letter(held_records=1), shelves, datetime(2024, 5, 1, tzinfo=UTC), instead=[before])
    assert not parking.parks(record(1))
    fail(parking, record(1))
    [row] = parking.rows.values()
    assert (row.attempts, row.first_failed, row.published, parking.pauses) == (4, NOW, True, {})
    assert before.attempts == 3, "a transaction may run again"
