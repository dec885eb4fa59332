"""Transactions: all or nothing over several topics and a group's positions, and nothing else is ever seen."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest

from headwater.errors import Misuse
from headwater.log.port import Aborted, Held, Log, NewRecord, TopicPartition, Transaction
from headwater.testing.conformance.log.attendance import Attendance
from headwater.testing.conformance.log.waiting import (
    Expectations,
    MakeLog,
    attempts,
    carry_out,
    eventually,
    fresh,
    make_topic,
    numbered,
    numbers,
    of,
    read_to,
    read_topic,
    settled_ends,
    writing,
)


class Interrupted(Exception):
    """What the author of a `fill` may raise."""


class TransactionConformance(Expectations):
    def test_a_transaction_over_several_topics_is_seen_whole(self, make_log: MakeLog) -> None:
        log = make_log()
        events, states = make_topic(log, 2), make_topic(log, 2)

        def fill(transaction: Transaction) -> None:
            transaction.write(numbered(events, 0, range(3)) + numbered(events, 1, range(3, 5)))
            transaction.write(numbered(states, 1, [7]))

        carry_out(log.writer(fresh("writer")), fill, self.patience_s)
        other = make_log()
        written = read_topic(other, events, self.patience_s)
        assert numbers(of(written, TopicPartition(events, 0))) == [0, 1, 2]
        assert numbers(of(written, TopicPartition(events, 1))) == [3, 4]
        assert numbers(read_topic(other, states, self.patience_s)) == [7]

    def test_the_offsets_given_inside_are_those_that_are_read(self, log: Log) -> None:
        topic = make_topic(log, 2)
        writer = log.writer(fresh("writer"))
        told: dict[int, tuple[int, int]] = {}

        def fill(transaction: Transaction) -> None:
            told.clear()
            records = numbered(topic, 0, [10, 11]) + numbered(topic, 1, [12])
            for number, new, offset in zip((10, 11, 12), records, transaction.append(records), strict=True):
                told[number] = (new.partition, offset)
            transaction.write(numbered(topic, 0, [13]))
            (offset,) = transaction.append(numbered(topic, 0, [14]))
            told[14] = (0, offset)

        carry_out(writer, writing(numbered(topic, 0, range(5))), self.patience_s)
        carry_out(writer, fill, self.patience_s)
        read = {numbers([r])[0]: (r.partition, r.offset) for r in read_topic(log, topic, self.patience_s)}
        assert {number: read[number] for number in told} == told
        assert read[11][1] < read[13][1] < read[14][1]

    def test_it_tells_where_its_first_record_in_each_partition_is(self, log: Log) -> None:
        events, states = make_topic(log, 2), make_topic(log, 2)
        writer = log.writer(fresh("writer"))

        def fill(transaction: Transaction) -> None:
            transaction.append(numbered(events, 1, [10, 11]))
            transaction.write(numbered(states, 0, [20, 21]) + numbered(states, 1, [22]) + numbered(events, 1, [12]))

        carry_out(writer, writing(numbered(events, 1, range(3)) + numbered(states, 0, range(2))), self.patience_s)
        told = carry_out(writer, fill, self.patience_s)
        read = [*read_topic(log, events, self.patience_s), *read_topic(log, states, self.patience_s)]
        firsts = [record for record in read if numbers([record])[0] in (10, 20, 22)]
        assert told == {TopicPartition(record.topic, record.partition): record.offset for record in firsts}

    def test_an_exception_inside_undoes_everything_and_comes_out(self, make_log: MakeLog) -> None:
        log = make_log()
        events, states = make_topic(log), make_topic(log)
        writer = log.writer(fresh("writer"))

        def fail(transaction: Transaction) -> None:
            transaction.append(numbered(events, 0, range(5)))
            transaction.write(numbered(states, 0, [1]))
            raise Interrupted("out of stock")

        with pytest.raises(Interrupted):
            carry_out(writer, fail, self.patience_s)
        carry_out(writer, writing(numbered(events, 0, [100])), self.patience_s)
        with pytest.raises(Interrupted):
            carry_out(writer, fail, self.patience_s)
        other = make_log()
        assert numbers(read_topic(other, events, self.patience_s)) == [100]
        assert read_topic(other, states, self.patience_s) == []

    def test_a_reader_reaches_the_end_past_committed_and_aborted_transactions(self, log: Log) -> None:
        topic = make_topic(log)
        writer = log.writer(fresh("writer"))
        reader = log.reader()
        reader.assign({TopicPartition(topic, 0): 0})
        carry_out(writer, writing(numbered(topic, 0, range(3))), self.patience_s)
        ends = settled_ends(log, topic, self.patience_s)
        assert numbers(read_to(reader, ends, self.patience_s)) == [0, 1, 2]

        def fail(transaction: Transaction) -> None:
            transaction.append(numbered(topic, 0, range(3, 6)))
            raise Interrupted

        with pytest.raises(Interrupted):
            carry_out(writer, fail, self.patience_s)
        carry_out(writer, writing(numbered(topic, 0, [6])), self.patience_s)
        with pytest.raises(Interrupted):
            carry_out(writer, fail, self.patience_s)
        ends = settled_ends(log, topic, self.patience_s)
        fresh_reader = log.reader()
        fresh_reader.assign({TopicPartition(topic, 0): 0})
        assert numbers(read_to(fresh_reader, ends, self.patience_s)) == [0, 1, 2, 6]
        reached = 0
        for _ in attempts(self.patience_s, f"the waiting reader reached {ends}", pause_s=0):
            reached = max([reached, *reader.read(10, 0.05).reached.values()])
            if reached >= ends[TopicPartition(topic, 0)]:
                break

    @pytest.mark.parametrize("mistake", ["too large", "unknown topic", "unknown partition"])
    def test_a_record_that_cannot_be_written_is_misuse_and_undoes_the_rest(self, log: Log, mistake: str) -> None:
        topic = make_topic(log)
        bad = {
            "too large": NewRecord(topic, 0, b"k", b"v" * 2_000_000),
            "unknown topic": NewRecord(fresh("unknown"), 0, b"k", b"v"),
            "unknown partition": NewRecord(topic, 9, b"k", b"v"),
        }[mistake]
        writer = log.writer(fresh("writer"))

        def fill(transaction: Transaction) -> None:
            transaction.write(numbered(topic, 0, [1]))
            transaction.write([bad])

        with pytest.raises(Misuse):
            carry_out(writer, fill, self.patience_s)
        carry_out(writer, writing(numbered(topic, 0, [2])), self.patience_s)
        assert numbers(read_topic(log, topic, self.patience_s)) == [2]

    def test_an_empty_transaction_is_nothing(self, log: Log) -> None:
        topic = make_topic(log)
        writer = log.writer(fresh("writer"))
        carry_out(writer, lambda t: None, self.patience_s)
        carry_out(writer, lambda t: t.write([]), self.patience_s)
        carry_out(writer, writing(numbered(topic, 0, [1])), self.patience_s)
        assert numbers(read_topic(log, topic, self.patience_s)) == [1]

    def test_a_closed_writer_leaves_what_it_committed(self, make_log: MakeLog) -> None:
        log = make_log()
        topic = make_topic(log)
        name = fresh("writer")
        for number in range(2):
            writer = log.writer(name)
            carry_out(writer, writing(numbered(topic, 0, [number])), self.patience_s)
            writer.close()
        assert numbers(read_topic(make_log(), topic, self.patience_s)) == [0, 1]

    def test_writers_side_by_side_do_not_mix(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log)
        failures: list[int] = []

        def work(worker: int) -> None:
            writer = (log if worker % 2 else other).writer(fresh(f"writer-{worker}"))
            for n in range(15):

                def fill(transaction: Transaction, n: int = n) -> None:
                    transaction.write([NewRecord(topic, 0, b"%d" % worker, b"%d" % v) for v in (n, n)])
                    if n % 5 == 4:
                        raise Interrupted

                try:
                    carry_out(writer, fill, self.patience_s)
                except Interrupted:
                    failures.append(worker)
            writer.close()

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = read_topic(log, topic, self.patience_s)
        for worker in range(4):
            kept = [n for n in range(15) if n % 5 != 4]
            own = numbers([r for r in records if r.key == b"%d" % worker])
            assert own == [n for n in kept for _ in range(2)]
        assert sorted(failures) == [worker for worker in range(4) for _ in range(3)]

    def test_positions_move_with_the_records_or_not_at_all(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        source, target, group = make_topic(log, records=20), make_topic(log), fresh("group")
        partition = TopicPartition(source, 0)
        attendance = Attendance(log, group, self.patience_s)
        member = attendance.join(log, [source])
        attendance.owns(member, 1)
        writer = log.writer(fresh("writer"))

        def fill(transaction: Transaction, number: int, position: int, fails: bool) -> None:
            transaction.write(numbered(target, 0, [number]))
            transaction.positions(group, {partition: position}, member.fence())
            if fails:
                raise Interrupted

        attendance.carry_out(member, writer, lambda t: fill(t, 1, 5, fails=False), 1)
        with pytest.raises(Interrupted):
            attendance.carry_out(member, writer, lambda t: fill(t, 2, 6, fails=True), 1)
        for handle in (log, other):
            assert handle.committed(group, [partition]) == {partition: 5}
        attendance.carry_out(member, writer, lambda t: fill(t, 3, 8, fails=False), 1)
        assert numbers(read_topic(other, target, self.patience_s)) == [1, 3]
        eventually(lambda: other.committed(group, [partition]) == {partition: 8}, self.patience_s, "8 was committed")
        attendance.leave(member)

    def test_positions_move_without_records(self, log: Log) -> None:
        source, group = make_topic(log, records=20), fresh("group")
        attendance = Attendance(log, group, self.patience_s)
        member = attendance.join(log, [source])
        attendance.owns(member, 1)
        partition = TopicPartition(source, 0)
        writer = log.writer(fresh("writer"))
        attendance.carry_out(member, writer, lambda t: t.positions(group, {partition: 3}, member.fence()), 1)
        assert log.committed(group, [partition]) == {partition: 3}
        attendance.leave(member)

    def test_what_an_open_transaction_holds_back_is_told(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        writer = log.writer(fresh("writer"))
        during: list[dict[TopicPartition, Held]] = []
        for _ in attempts(self.patience_s, "a transaction was not aborted"):
            topic = make_topic(log, 2)
            partitions = [TopicPartition(topic, p) for p in (0, 1)]
            assert other.held(partitions) == {}

            def fill(transaction: Transaction, partitions: Sequence[TopicPartition] = partitions) -> None:
                transaction.append(numbered(partitions[1].topic, 1, range(3)))
                during.append(other.held(partitions))

            with suppress(Aborted):  # what it leaves takes offsets: then once more, elsewhere
                writer.transact(fill)
                break
        if log.transaction_timeout_s is not None:
            assert during[-1] == {partitions[1]: Held(0, 3)}
        eventually(lambda: other.held(partitions) == {}, self.patience_s, "nothing is held after the commit")
