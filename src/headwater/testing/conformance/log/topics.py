"""Topics: how they are made and described, and what is asked of them without reading."""

from __future__ import annotations

from contextlib import closing

import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.port import Log, NewRecord, Positions, Reader, TopicPartition, TopicSpec
from headwater.testing.conformance.log.waiting import (
    Expectations,
    MakeLog,
    attempts,
    carry_out,
    fresh,
    make_topic,
    numbered,
    numbers,
    of,
    read_topic,
    settled_ends,
    writing,
)


class TopicConformance(Expectations):
    def test_a_topic_is_described_as_it_was_asked_for(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        specs = [
            TopicSpec(fresh("plain"), 3),
            TopicSpec(fresh("kept-a-day"), 1, retention_ms=86_400_000, log_time=True),
            TopicSpec(fresh("compacted"), 2, compacted=True),
        ]
        log.create_topics(specs)
        for topics in (log.topics(), other.topics()):
            for spec in specs:
                topic = topics[spec.name]
                assert (topic.name, topic.partitions) == (spec.name, spec.partitions)
                assert (topic.retention_ms, topic.compacted) == (spec.retention_ms, spec.compacted)
                assert topic.log_time == spec.log_time
        assert len({log.topics()[spec.name].id for spec in specs}) == 3
        assert all(log.topics()[spec.name].id == other.topics()[spec.name].id for spec in specs)

    def test_some_topics_are_described_without_the_others(self, log: Log) -> None:
        one, other = make_topic(log, 2), make_topic(log, 1)
        assert {name: topic.partitions for name, topic in log.topics([one, fresh("nowhere")]).items()} == {one: 2}
        assert log.topics([]) == {}
        assert {one, other} <= log.topics().keys()
        assert log.topics([one])[one] == log.topics()[one]

    def test_a_topic_that_exists_stays_as_it_is(self, make_log: MakeLog) -> None:
        log = make_log()
        topic = make_topic(log, 2)
        before = log.topics()[topic]
        new = fresh("new")
        make_log().create_topics([TopicSpec(topic, 5, compacted=True), TopicSpec(new, 1)])
        assert log.topics()[topic] == before
        assert log.topics()[new].partitions == 1

    def test_a_topic_needs_a_name_and_partitions(self, log: Log) -> None:
        for spec in (TopicSpec("", 1), TopicSpec("a b", 1), TopicSpec("x" * 250, 1), TopicSpec(fresh("t"), 0)):
            with pytest.raises(Misuse):
                log.create_topics([spec])

    def test_every_handle_gives_the_same_log_id(self, make_log: MakeLog) -> None:
        first, second = make_log(), make_log()
        assert first.id
        assert first.id == second.id

    def test_asking_about_an_unknown_topic_is_misuse(self, log: Log) -> None:
        unknown = [TopicPartition(fresh("unknown"), 0)]
        for ask in (log.begins, log.ends, lambda p: log.positions_at(p, 0)):
            with pytest.raises(Misuse, match="unknown-"):
                ask(unknown)

    def test_an_empty_topic_begins_and_ends_at_0(self, log: Log) -> None:
        partitions = [TopicPartition(make_topic(log, 2), p) for p in (0, 1)]
        zero = dict.fromkeys(partitions, 0)
        assert log.begins(partitions) == log.ends(partitions) == log.ends(partitions, committed=False) == zero

    def test_ends_move_past_what_was_written(self, log: Log) -> None:
        topic = make_topic(log, 2)
        offsets = log.append(numbered(topic, 1, range(3)))
        ends = settled_ends(log, topic, self.patience_s)
        assert ends[TopicPartition(topic, 0)] == 0
        assert ends[TopicPartition(topic, 1)] > offsets[-1]

    def test_the_position_at_a_time_is_the_first_record_at_or_after_it(self, log: Log) -> None:
        topic = make_topic(log, 2)
        at = TopicPartition(topic, 0)
        times = [1_000_000, 2_000_000, 3_000_000]
        offsets = log.append([NewRecord(topic, 0, b"k", b"%d" % t, timestamp_ms=t) for t in times])
        ends = settled_ends(log, topic, self.patience_s)
        expected = {0: offsets[0], 1_000_000: offsets[0], 1_000_001: offsets[1], 3_000_000: offsets[2]}
        for time_ms, offset in expected.items():
            assert log.positions_at([at], time_ms) == {at: offset}, time_ms
        nothing_later = log.positions_at(list(ends), 3_000_001)
        assert nothing_later == ends

    def test_what_is_deleted_is_gone_and_the_rest_stays(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log, 2)
        first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
        offsets = log.append(numbered(topic, 0, range(100)))
        log.append(numbered(topic, 1, range(100)))
        settled_ends(other, topic, self.patience_s)
        log.delete_before({first: offsets[40]})
        log.delete_before({first: offsets[10], second: 0})
        for handle in (log, other):
            assert handle.begins([first, second]) == {first: offsets[40], second: 0}
            kept = read_topic(handle, topic, self.patience_s)
            assert numbers(of(kept, first)) == list(range(40, 100))
            assert numbers(of(kept, second)) == list(range(100))
            with closing(handle.reader()) as reader, pytest.raises(Unavailable, match="gone"):
                self._read_what_is_deleted(reader, {first: offsets[39]})

    def _read_what_is_deleted(self, reader: Reader, positions: Positions) -> None:
        reader.assign(positions)
        for _ in attempts(self.patience_s, "reading what is deleted was refused", pause_s=0):
            reader.read(10, 0.1)

    def test_nothing_is_deleted_of_a_compacted_topic_or_beyond_the_end(self, log: Log) -> None:
        latest, topic = make_topic(log, compacted=True, records=3), make_topic(log, records=3)
        ends = settled_ends(log, topic, self.patience_s)
        settled_ends(log, latest, self.patience_s)
        with pytest.raises(Misuse, match="compacted"):
            log.delete_before({TopicPartition(latest, 0): 1})
        with pytest.raises(Misuse, match=topic):
            log.delete_before({tp: end + 1 for tp, end in ends.items()})
        assert numbers(read_topic(log, topic, self.patience_s)) == [0, 1, 2]

    def test_a_compacted_topic_keeps_the_latest_record_of_each_key(self, log: Log) -> None:
        topic = make_topic(log, compacted=True)
        writer = log.writer(fresh("writer"))
        carry_out(writer, writing(numbered(topic, 0, range(30))), self.patience_s)
        carry_out(writer, writing(numbered(topic, 0, range(30, 55))), self.patience_s)
        records = read_topic(log, topic, self.patience_s)
        latest = {record.key: int(record.value or b"") for record in records}
        assert latest == {b"key-%d" % (n % 10): n for n in range(45, 55)}
        assert numbers(records) == sorted(numbers(records))
        if self.compacts_at_once:
            assert numbers(records) == list(range(45, 55))

    def test_the_records_of_one_key_are_found_among_others(self, log: Log) -> None:
        topic = make_topic(log, 2)
        log.append(numbered(topic, 0, range(500)))
        log.append(numbered(topic, 1, range(500, 1000)))
        settled_ends(log, topic, self.patience_s)
        before = log.records_read
        found = log.keyed(TopicPartition(topic, 0), b"key-7")
        assert numbers(found) == list(range(7, 500, 10))
        assert [r.offset for r in found] == sorted(r.offset for r in found)
        assert {(r.topic, r.partition, r.key) for r in found} == {(topic, 0, b"key-7")}
        if log.embedded:
            assert log.records_read - before == 50, "the cost follows the key's records"
        assert log.keyed(TopicPartition(topic, 1), b"key-7")[0].value == b"507"
        assert log.keyed(TopicPartition(topic, 0), b"nobody") == []

    def test_the_records_of_a_key_grow_with_each_commit(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log)
        partition = TopicPartition(topic, 0)
        writer = log.writer(fresh("writer"))
        for count in range(1, 4):
            carry_out(writer, writing(numbered(topic, 0, [count * 10])), self.patience_s)
            settled_ends(other, topic, self.patience_s)
            for handle in (log, other):
                assert numbers(handle.keyed(partition, b"key-0")) == [n * 10 for n in range(1, count + 1)]
