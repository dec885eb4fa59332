"""Records: what is appended is read again, byte for byte, in order, in batches, and as soon as it is there."""

from __future__ import annotations

import threading
import time

import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.port import Batch, Log, NewRecord, Reader, TopicPartition
from headwater.testing.conformance.log.waiting import (
    Expectations,
    MakeLog,
    attempts,
    eventually,
    fresh,
    make_topic,
    numbered,
    numbers,
    of,
    read_to,
    read_topic,
    read_until,
    settled_ends,
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
        told: dict[int, list[int | None]] = {}

        def on_done(index: int, offset: int | None, error: Exception | None) -> None:
            assert error is None
            told.setdefault(index, []).append(offset)

        new = [NewRecord(topic, n % 2, b"k", b"%d" % n) for n in range(200)]
        log.append_nowait(new, on_done)
        eventually(lambda: len(told) == 200, self.patience_s, "every record was told")
        read = {int(r.value or b""): r.offset for r in read_topic(log, topic, self.patience_s)}
        assert told == {number: [offset] for number, offset in read.items()}

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

    def test_reading_an_unknown_topic_is_misuse(self, log: Log) -> None:
        reader = log.reader()
        with pytest.raises(Misuse, match="unknown-"):
            self._read_from(reader, TopicPartition(fresh("unknown"), 0), 0)

    def test_reading_beyond_the_end_is_refused(self, log: Log) -> None:
        topic = make_topic(log)
        log.append(numbered(topic, 0, range(5)))
        settled_ends(log, topic, self.patience_s)
        with pytest.raises(Unavailable, match=topic):
            self._read_from(log.reader(), TopicPartition(topic, 0), 1000)

    def _read_from(self, reader: Reader, partition: TopicPartition, position: int) -> None:
        """Whether `assign` or the first reads refuse is the implementation's choice."""
        reader.assign({partition: position})
        for _ in attempts(self.patience_s, f"{partition} from {position} was refused", pause_s=0):
            reader.read(10, 0.1)

    def test_a_read_brings_no_more_than_asked_for_and_the_next_ones_the_rest(self, log: Log) -> None:
        topic = make_topic(log, 2)
        for partition in (0, 1):
            log.append(numbered(topic, partition, range(500)))
        ends = settled_ends(log, topic, self.patience_s)
        reader = log.reader()
        reader.assign(dict.fromkeys(ends, 0))
        batches: list[Batch] = []
        for _ in attempts(self.patience_s, "all records came", pause_s=0):
            batches.append(reader.read(7, 0.1))
            if sum(len(batch.records) for batch in batches) == 1000:
                break
        assert max(len(batch.records) for batch in batches) == 7
        records = [record for batch in batches for record in batch.records]
        for read_from in ends:
            assert numbers(of(records, read_from)) == list(range(500))

    def test_what_was_reached_is_where_reading_goes_on(self, log: Log) -> None:
        topic = make_topic(log)
        partition = TopicPartition(topic, 0)
        log.append(numbered(topic, 0, range(100)))
        settled_ends(log, topic, self.patience_s)
        position, seen = 0, list[int]()
        for _ in attempts(self.patience_s, "all records came, each reader reading a few", pause_s=0):
            reader = log.reader()
            reader.assign({partition: position})
            batch = reader.read(30, 5)
            reader.close()
            seen += numbers(batch.records)
            position = batch.reached.get(partition, position)
            assert all(record.offset < position for record in batch.records)
            if len(seen) >= 100:
                break
        assert seen == list(range(100))

    def test_a_reader_may_go_back_and_to_other_partitions(self, log: Log) -> None:
        topic = make_topic(log, 2)
        first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
        offsets = log.append(numbered(topic, 0, range(10)))
        log.append(numbered(topic, 1, range(100, 110)))
        ends = settled_ends(log, topic, self.patience_s)
        reader = log.reader()
        reader.assign({first: 0})
        assert numbers(read_to(reader, {first: ends[first]}, self.patience_s)) == list(range(10))
        reader.assign({first: offsets[6]})
        assert numbers(read_to(reader, {first: ends[first]}, self.patience_s)) == [6, 7, 8, 9]
        reader.assign({second: 0})
        assert numbers(read_to(reader, {second: ends[second]}, self.patience_s)) == list(range(100, 110))
        log.append(numbered(topic, 0, [10]))
        log.append(numbered(topic, 1, [110]))
        more = read_until(reader, lambda r: bool(r), self.patience_s, "the next record came")
        assert numbers(more) == [110], "a partition that is assigned no more is not read"

    def test_the_end_of_a_partition_is_told_also_of_an_empty_one(self, log: Log) -> None:
        topic = make_topic(log, 2)
        log.append(numbered(topic, 0, range(3)))
        ends = settled_ends(log, topic, self.patience_s)
        reader = log.reader()
        reader.assign(dict.fromkeys(ends, 0))
        ended: set[TopicPartition] = set()
        for _ in attempts(self.patience_s, "both ends were told", pause_s=0):
            ended |= reader.read(100, 1).ended
            if ended == set(ends):
                break

    def test_a_read_without_news_ends_after_its_time(self, log: Log) -> None:
        topic = make_topic(log)
        reader = log.reader()
        reader.assign({TopicPartition(topic, 0): 0})
        started = time.monotonic()
        for _ in attempts(self.patience_s, "a read waited and found nothing", pause_s=0):
            asked = time.monotonic()
            batch = reader.read(10, 0.3)
            if not batch.ended:
                break
        assert batch.records == []
        assert time.monotonic() - asked >= 0.25
        assert time.monotonic() - started < self.patience_s

    @pytest.mark.parametrize("who", ["this process", "another process"])
    def test_a_waiting_read_returns_when_a_record_is_there(self, make_log: MakeLog, who: str) -> None:
        log = make_log()
        other = log if who == "this process" else make_log()
        topic = make_topic(log)
        reader = log.reader()
        reader.assign({TopicPartition(topic, 0): 0})
        appending = threading.Timer(0.3, lambda: other.append(numbered(topic, 0, [42])))
        appending.start()
        started = time.monotonic()
        records = list[int]()
        while not records and time.monotonic() < started + self.patience_s:
            records = numbers(reader.read(10, self.patience_s).records)
        appending.join()
        assert records == [42]
        assert time.monotonic() - started < self.patience_s / 2

    def test_closing_from_another_thread_wakes_a_waiting_read(self, log: Log) -> None:
        topic = make_topic(log)
        reader = log.reader()
        reader.assign({TopicPartition(topic, 0): 0})
        for _ in attempts(self.patience_s, "the end was told", pause_s=0):
            if reader.read(10, 0.5).ended:
                break
        closing = threading.Timer(0.3, reader.close)
        closing.start()
        started = time.monotonic()
        batch = reader.read(10, self.patience_s)
        closing.join()
        assert batch.records == []
        assert time.monotonic() - started < self.patience_s / 2

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
