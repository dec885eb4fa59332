"""What comes too late for a window: told, counted, and holding nothing back; and what closes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.failures.held import HeldRecord
from headwater.failures.policy import DEFAULT, FailurePolicy
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, Record, TopicPartition
from headwater.views import merging
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.feeding import Fed, records_of
from tests.views.orders import CODEC, TOPIC, OrderPlaced, make_log, placed

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
VIEW = (
    "CREATE TABLE v AS SELECT window_start, COUNT(*) AS n, COUNT(DISTINCT orderId) AS o FROM order-events "
    "GROUP BY TUMBLE(_time, INTERVAL 10 MINUTE, grace => INTERVAL 5 MINUTE)"
)


def fed(sql: str = VIEW, path: str | Path = ":memory:", on_failure: FailurePolicy = DEFAULT) -> Fed:
    [view] = plan_views([Text(sql)], catalogue_of([OrderPlaced], []))
    return Fed(view, path, on_failure)


@pytest.fixture
def v() -> Iterator[Fed]:
    with closing(fed()) as one:
        yield one


class Written:
    """Records at minutes after noon, by partition, read in the order in which they were written."""

    def __init__(self) -> None:
        self._log, self._read = make_log(2, MemoryLog()), 0
        self._order: list[TopicPartition] = []

    def at(self, *minutes: float, partition: int = 0, order: str = "1", value: bytes | None = None) -> list[Record]:
        known = {(one.partition, one.offset) for one in records_of(self._log)}
        value = value or CODEC.encode(placed(order, "1"))
        times = [int((NOON + timedelta(minutes=one)).timestamp() * 1000) for one in minutes]
        self._log.append([NewRecord(TOPIC, partition, order.encode(), value, (), one) for one in times])
        return [one for one in records_of(self._log) if (one.partition, one.offset) not in known]


@pytest.fixture
def written() -> Written:
    return Written()


def counts(v: Fed) -> dict[int, int]:
    """Minute at which a window begins -> rows in it."""
    return {int((at - NOON).total_seconds()) // 60: n for at, n, _ in v.rows()}


def letters(v: Fed) -> list[HeldRecord]:
    return v.file.rows(v.held)


def test_a_window_takes_records_until_its_end_and_the_grace_have_passed(v: Fed, written: Written) -> None:
    v.feed(written.at(1, 14.999, 9, 15, 9, 10))
    assert counts(v) == {0: 2, 10: 3}
    [letter] = letters(v)
    assert (letter.record_offset, letter.failed, letter.stage, letter.error) == (4, True, "late", "Late")
    assert letter.message == (
        "2026-03-02T12:09:00+00:00 came after 2026-03-02T12:15:00+00:00, and the window that it belongs to took "
        "records up to 5 min after the end"
    )


def test_what_is_late_holds_nothing_back(v: Fed, written: Written) -> None:
    v.feed(written.at(30, 1))
    v.feed(written.at(31))
    assert counts(v) == {30: 2}
    assert [one.holds for one in letters(v)] == [False]


def test_each_partition_has_a_clock_of_its_own(v: Fed, written: Written) -> None:
    v.feed(written.at(60))
    v.feed(written.at(1, partition=1))
    assert counts(v) == {60: 1, 0: 1}
    assert letters(v) == []


def test_a_record_may_be_late_for_some_of_its_windows() -> None:
    hop = VIEW.replace("TUMBLE(_time, INTERVAL 10 MINUTE", "HOP(_time, INTERVAL 20 MINUTE, INTERVAL 10 MINUTE")
    with closing(fed(hop)) as v:
        v.feed(Written().at(26, 12))
        assert counts(v) == {10: 2, 20: 1}
        assert (len(letters(v)), v.late()) == (1, 1)


def test_late_records_can_be_dropped(written: Written) -> None:
    with closing(fed(VIEW.replace("TABLE v AS", "TABLE v WITH (late = 'drop') AS"))) as v:
        v.feed(written.at(30, 1, 2))
        assert (counts(v), letters(v), v.late()) == ({30: 1}, [], 2)


def test_what_a_condition_leaves_out_moves_no_clock(written: Written) -> None:
    with closing(fed(VIEW.replace(" GROUP", " WHERE total < 5 GROUP"))) as v:
        v.feed(written.at(60, value=CODEC.encode(placed("1", "7"))))
        v.feed(written.at(1))
        assert counts(v) == {0: 1}


def test_a_partition_pauses_before_a_late_record_for_which_there_is_no_room(written: Written) -> None:
    with closing(fed(on_failure=hw.dead_letter(held_records=1))) as v:
        records = written.at(30, 1, 31, 2, 32)
        v.feed(records)
        assert (counts(v), len(letters(v)), v.late()) == ({30: 2}, 1, 1)
        assert v.positions == {letters(v)[0].tp: 3}  # the second late one is not lost
        v.file.apply("test-view", {}, {}, lambda loading: loading.delete(v.held, [(TOPIC, 0, 1)]))
        v.shelves.drop(TopicPartition(TOPIC, 0))
        v.feed(records[3:])
        assert (counts(v), [row.record_offset for row in letters(v)], v.late()) == ({30: 3}, [3], 2)


BAD = b'{"eventType":"OrderPlaced","eventVersion":1,'


def again(v: Fed, row: HeldRecord) -> None:
    """Tries a dead letter again, with a value that can be read."""
    [tp] = {row.tp}
    edited = msgspec.structs.replace(row, value=CODEC.encode(placed("1", "1")))

    def settle(loading: Any, parking: Any) -> None:
        if not parking.rows:
            loading.delete(v.held, [(row.topic, row.partition, row.record_offset)])

    v.applying.again({tp: v.positions[tp]}, [edited], settle)


def test_a_dead_letter_that_is_tried_again_is_judged_by_what_was_before_it(v: Fed, written: Written) -> None:
    v.feed(written.at(1))
    v.feed(written.at(2, order="bad", value=BAD))
    v.feed(written.at(60, order="2"))
    v.feed(written.at(3, order="worse", value=BAD))
    v.feed(written.at(61, order="2"))
    first, second = sorted(letters(v), key=lambda row: row.record_offset)
    again(v, first)
    again(v, second)
    assert counts(v) == {0: 2, 60: 2}
    assert [(row.record_offset, row.stage) for row in letters(v)] == [(second.record_offset, "late")]


def test_the_clock_before_a_dead_letter_is_that_of_its_place_in_the_batch(v: Fed, written: Written) -> None:
    batch = written.at(0, order="first", value=BAD) + written.at(1) + written.at(2, order="bad", value=BAD)
    batch += written.at(60, order="2") + written.at(3, order="late", value=BAD) + written.at(4, order="2")
    v.feed(batch)
    v.feed(written.at(90, order="2"))
    assert (counts(v), v.late()) == ({0: 1, 60: 1, 90: 1}, 1)
    for row in sorted(letters(v), key=lambda row: row.record_offset):
        again(v, row)
    assert counts(v) == {0: 3, 60: 1, 90: 1}
    assert [(row.record_offset, row.stage) for row in letters(v)] == [(4, "late"), (5, "late")]
    assert v.late() == 2  # the one that was late before is counted once


class TestClosing:
    """With tables that are merged at once."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(merging.Growth, "enough", True)

    def test_closed_windows_keep_what_they_came_to_and_no_values(self, v: Fed, written: Written) -> None:
        v.feed(written.at(1, 2, order="a"))
        for partition in (0, 1):
            v.feed(written.at(40, partition=partition, order=str(partition)))
        v.feed(written.at(41))
        assert counts(v) == {0: 2, 40: 3}
        assert (kept(v, "closed"), kept(v, "groups"), kept(v, "p0")) == (1, 1, 2)

    def test_a_partition_without_rows_keeps_windows_open(self, v: Fed, written: Written) -> None:
        v.feed(written.at(1, 2, order="a"))
        v.feed(written.at(40, 41))
        assert kept(v, "closed") == 0

    def test_a_dead_letter_keeps_the_windows_open_that_it_may_belong_to(self, v: Fed, written: Written) -> None:
        v.feed(written.at(1))
        v.feed(written.at(2, order="bad", value=BAD))
        for minutes in (40, 41, 42):
            v.feed(written.at(minutes, order="2"))
            v.feed(written.at(minutes, partition=1, order="3"))
        assert kept(v, "closed") == 0
        again(v, *letters(v))
        assert counts(v) == {0: 2, 40: 6}
        v.feed(written.at(43, order="2"))
        assert (kept(v, "closed"), counts(v)) == (1, {0: 2, 40: 7})

    def test_a_session_closes_when_nothing_can_join_it_any_more(self, written: Written) -> None:
        sql = VIEW.replace("TUMBLE(_time, INTERVAL 10 MINUTE", "SESSION(_time, INTERVAL 10 MINUTE")
        with closing(fed(sql)) as v:
            v.feed(written.at(0))
            v.feed(written.at(25, partition=1))
            v.feed(written.at(25))
            v.feed(written.at(10))  # 10 + 10 + 5 is not before 25, and it joins what began at 0
            assert (kept(v, "closed"), counts(v)) == (0, {0: 2, 25: 2})
            for partition in (0, 1):
                v.feed(written.at(60, partition=partition))
            v.feed(written.at(61))
            assert (kept(v, "closed"), counts(v)) == (2, {0: 2, 25: 2, 60: 3})


def kept(v: Fed, part: str) -> int:
    """How many rows a table of the view has."""
    with v.file.aside() as connection:
        [(rows,)] = connection.execute(f'SELECT count(*) FROM hw."test-view/{part}"').fetchall()
    return int(rows)


def test_the_clock_is_there_after_a_restart(written: Written, tmp_path: Path) -> None:
    with closing(fed(path=tmp_path / "v.duckdb")) as v:
        v.feed(written.at(30))
    with closing(fed(path=tmp_path / "v.duckdb")) as v:
        v.feed(written.at(1))
        assert (counts(v), v.late()) == ({30: 1}, 1)
