"""Records: what is appended is read again, byte for byte and in order; what cannot be kept is refused."""

from __future__ import annotations

import threading
import time
from operator import itemgetter

import pytest

from headwater.errors import Misuse
from headwater.log.port import Log, NewRecord, TopicPartition
from headwater.testing.conformance.log.waiting import (
    Expectations,
    MakeLog,
    eventually,
    fresh,
    make_topic,
    numbered,
    numbers,
    of,
    read_topic,
)


class RecordConformance(Expectations):
    def test_records_come_in_the_order_of_their_partition(self, make_log: MakeLog) -> None:
        log = make_log()
        topic = make_topic(log, 3)
        offsets: dict[int, list[int]] = {0: [], 1: [], 2: []}
        for start in range(0, 300, 30):
            for number, told in offsets.items():
                told += log.append(numbered(topic, number, range(start, start + 30)))
        records = read_topic(make_log(), topic, self.patience_s)
        for number, told in offsets.items():
            own = of(records, TopicPartition(topic, number))
            assert numbers(own) == list(range(300))
            assert [r.offset for r in own] == told == sorted(set(told))

    def test_one_append_may_go_to_several_partitions(self, log: Log) -> None:
        topic = make_topic(log, 2)
        mixed = [NewRecord(topic, n % 2, None, b"%d" % n) for n in range(20)]
        offsets = log.append(mixed)
        records = {(r.partition, r.offset): r.value for r in read_topic(log, topic, self.patience_s)}
        assert records == {(new.partition, o): new.value for new, o in zip(mixed, offsets, strict=True)}

    def test_every_byte_survives(self, log: Log) -> None:
        topic = make_topic(log)
        given = [
            NewRecord(topic, 0, None, b"no key"),
            NewRecord(topic, 0, b"no value", None),
            NewRecord(topic, 0, None, None),
            NewRecord(topic, 0, b"", b""),
            NewRecord(topic, 0, b"\xff\xfe\x00", bytes(range(256)), [("binary", b"\x00\xff\xfe")]),
            NewRecord(topic, 0, b"k", b"v", [("twice", b"1"), ("once", b""), ("twice", b"2"), ("größe", b"3")]),
            NewRecord(topic, 0, b"k", b"v" * 900_000),
        ]
        log.append(given)
        for new, record in zip(given, read_topic(log, topic, self.patience_s), strict=True):
            assert (record.key, record.value) == (new.key, new.value)
            assert [tuple(header) for header in record.headers] == list(new.headers)
            assert (record.topic, record.partition) == (topic, 0)

    def test_the_writers_time_is_kept(self, log: Log) -> None:
        topic = make_topic(log)
        log.append([NewRecord(topic, 0, b"k", b"v", timestamp_ms=852_076_800_123)])
        (record,) = read_topic(log, topic, self.patience_s)
        assert record.timestamp_ms == 852_076_800_123

    def test_the_logs_time_is_taken_where_the_topic_says_so_and_where_none_is_given(self, log: Log) -> None:
        logs_own, writers = make_topic(log, log_time=True), make_topic(log)
        started_ms = time.time() * 1000
        log.append([NewRecord(logs_own, 0, b"k", b"v", timestamp_ms=852_076_800_123)])
        log.append([NewRecord(writers, 0, b"k", b"v")])
        for topic in (logs_own, writers):
            (record,) = read_topic(log, topic, self.patience_s)
            assert abs(record.timestamp_ms - started_ms) < 3_600_000

    def test_a_record_that_is_too_large_is_misuse_and_nothing_is_written(self, log: Log) -> None:
        topic = make_topic(log)
        small, large = NewRecord(topic, 0, b"small", b"v"), NewRecord(topic, 0, b"large-one", b"v" * 2_000_000)
        with pytest.raises(Misuse, match="large-one") as refused:
            log.append([small, large])
        assert topic in str(refused.value)
        assert read_topic(log, topic, self.patience_s) == []

    def test_appending_where_nothing_is_is_misuse(self, log: Log) -> None:
        topic = make_topic(log, 2)
        for nowhere in (NewRecord(fresh("unknown"), 0, b"k", b"v"), NewRecord(topic, 2, b"k", b"v")):
            with pytest.raises(Misuse):
                log.append([NewRecord(topic, 0, b"k", b"v"), nowhere])
        assert read_topic(log, topic, self.patience_s) == []

    def test_each_record_that_nobody_waits_for_is_told_once(self, log: Log) -> None:
        topic = make_topic(log, 2)
        told: list[tuple[int, int | None, Exception | None]] = []

        def on_done(index: int, offset: int | None, error: Exception | None) -> None:
            told.append((index, offset, error))

        new = [NewRecord(topic, n % 2, b"k", b"%d" % n) for n in range(200)]
        log.append_nowait(new, on_done)
        eventually(lambda: len(told) == 200, self.patience_s, "every record was told")
        read = {int(r.value or b""): r.offset for r in read_topic(log, topic, self.patience_s)}
        assert sorted(told, key=itemgetter(0)) == [(number, read[number], None) for number in range(200)]

    def test_a_mistake_is_raised_at_once_also_when_nobody_waits(self, log: Log) -> None:
        topic = make_topic(log)
        told: list[int] = []
        for bad in (NewRecord(topic, 0, b"k", b"v" * 2_000_000), NewRecord(topic, 1, b"k", b"v")):
            with pytest.raises(Misuse):
                log.append_nowait([NewRecord(topic, 0, b"k", b"v"), bad], lambda *told_of: told.append(told_of[0]))
        assert read_topic(log, topic, self.patience_s) == []
        assert told == []

    def test_appending_nothing_is_nothing(self, log: Log) -> None:
        assert log.append([]) == []

    def test_records_handed_out_are_counted(self, log: Log) -> None:
        topic = make_topic(log)
        log.append(numbered(topic, 0, range(50)))
        before = log.records_read
        assert len(read_topic(log, topic, self.patience_s)) == 50
        assert log.records_read - before == 50

    def test_many_threads_append_and_none_of_their_records_is_lost(self, make_log: MakeLog) -> None:
        log = make_log()
        topic = make_topic(log, 2)
        offsets: dict[int, list[tuple[int, int]]] = {}

        def work(worker: int) -> None:
            mine = offsets[worker] = []
            for n in range(40):
                (offset,) = log.append([NewRecord(topic, n % 2, b"%d" % worker, b"%d" % n)])
                mine.append((n % 2, offset))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = read_topic(make_log(), topic, self.patience_s)
        assert len(records) == 320
        for worker in range(8):
            for partition in (0, 1):
                own = [r for r in records if r.key == b"%d" % worker and r.partition == partition]
                assert numbers(own) == list(range(partition, 40, 2))
                assert [(partition, r.offset) for r in own] == [o for o in offsets[worker] if o[0] == partition]
