"""Reading: in batches, from any position, past the end of what is there, and as soon as there is more."""

from __future__ import annotations

import threading
import time

import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.port import Batch, Log, Reader, TopicPartition
from headwater.testing.conformance.log.waiting import (
    Expectations,
    MakeLog,
    attempts,
    fresh,
    make_topic,
    numbered,
    numbers,
    of,
    read_to,
    read_until,
    settled_ends,
)


class ReadingConformance(Expectations):
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
