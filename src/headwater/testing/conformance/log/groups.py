"""Groups: partitions are shared, handed over and taken over; who lost one can commit nothing about it."""

from __future__ import annotations

import time

import pytest

from headwater.errors import Misuse
from headwater.log.port import Fenced, Log, Member, TopicPartition, Transaction
from headwater.testing.conformance.log.waiting import (
    Attendance,
    Expectations,
    MakeLog,
    attempts,
    carry_out,
    eventually,
    fresh,
    make_topic,
    numbered,
    numbers,
    read_topic,
    settled_ends,
)


class GroupConformance(Expectations):
    def attend(self, log: Log) -> Attendance:
        return Attendance(log, fresh("group"), self.patience_s)

    def test_a_lone_member_gets_every_partition_of_its_topics(self, log: Log) -> None:
        topics = [make_topic(log, 3), make_topic(log, 2)]
        attendance = self.attend(log)
        member = attendance.join(log, topics)
        attendance.owns(member, 5)
        assert attendance.owned[member] == {
            *(TopicPartition(topics[0], p) for p in range(3)),
            *(TopicPartition(topics[1], p) for p in range(2)),
        }
        attendance.leave(member)

    def test_a_partition_delivers_nothing_until_it_is_started(self, log: Log) -> None:
        topic = make_topic(log)
        partition = TopicPartition(topic, 0)
        offsets = log.append(numbered(topic, 0, range(10)))
        settled_ends(log, topic, self.patience_s)
        member = log.member(fresh("group"), [topic], name="conformance")
        for _ in attempts(self.patience_s, "the partition was assigned", pause_s=0):
            batch = member.read(100, 0.1)
            assert batch.records == []
            if batch.assigned:
                break
        for _ in range(5):
            assert member.read(100, 0.1).records == []
        member.start({partition: offsets[4]})
        assert self._next_numbers(member, 6) == list(range(4, 10))
        member.start({partition: offsets[8]})
        assert self._next_numbers(member, 2) == [8, 9], "start also goes back"
        member.close()

    def _next_numbers(self, member: Member, count: int) -> list[int]:
        found: list[int] = []
        for _ in attempts(self.patience_s, f"{count} records came", pause_s=0):
            found += numbers(member.read(100, 0.1).records)
            if len(found) >= count:
                return found
        raise AssertionError  # `attempts` never ends without raising

    def test_reading_0_records_takes_none(self, log: Log) -> None:
        topic = make_topic(log)
        attendance = self.attend(log)
        member = attendance.join(log, [topic])
        attendance.owns(member, 1)
        log.append(numbered(topic, 0, range(3)))
        settled_ends(log, topic, self.patience_s)
        for _ in range(3):
            batch = member.read(0, 0.05)
            assert not batch.records
            assert not batch.reached
        assert self._next_numbers(member, 3) == [0, 1, 2]
        attendance.leave(member)

    def test_a_second_member_takes_its_share_and_what_follows_comes_to_it(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topics = [make_topic(log, 4), make_topic(log, 4)]
        attendance = self.attend(log)
        first = attendance.join(log, topics, "first")
        attendance.owns(first, 8)
        second = attendance.join(other, topics, "second")
        attendance.until(lambda: len(attendance.owned[first]) == len(attendance.owned[second]) == 4, "both own four")
        assert not attendance.owned[first] & attendance.owned[second]
        assert set(attendance.revoked[first]) == attendance.owned[second]
        for owned in attendance.owned.values():
            indexes = {topic: {p.partition for p in owned if p.topic == topic} for topic in topics}
            if self.shares_by_index:
                assert indexes[topics[0]] == indexes[topics[1]], "one index of all topics has one owner"
        for partition in range(4):
            for topic in topics:
                log.append(numbered(topic, partition, [partition]))
        attendance.until(
            lambda: sum(map(len, attendance.records.values())) >= 8, "all records came to one or the other"
        )
        for member, records in attendance.records.items():
            assert {TopicPartition(r.topic, r.partition) for r in records} == attendance.owned[member]
        attendance.leave(first)
        attendance.leave(second)

    def test_more_members_than_partitions_is_no_harm(self, make_log: MakeLog) -> None:
        log = make_log()
        topic = make_topic(log)
        attendance = self.attend(log)
        members = [attendance.join(log, [topic], f"member-{n}") for n in range(3)]
        attendance.until(lambda: sum(map(len, attendance.owned.values())) == 1, "one has it")
        owner = next(member for member in members if attendance.owned[member])
        attendance.leave(owner)
        attendance.until(lambda: sum(map(len, attendance.owned.values())) == 1, "another has it")
        for member in list(attendance.owned):
            attendance.leave(member)

    def test_what_a_member_gives_back_on_leaving_goes_on_where_it_stood(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log, 2)
        partitions = [TopicPartition(topic, p) for p in (0, 1)]
        for partition in partitions:
            log.append(numbered(topic, partition.partition, range(10)))
        ends = settled_ends(log, topic, self.patience_s)
        attendance = self.attend(log)
        first = attendance.join(log, [topic])
        attendance.until(lambda: len(attendance.records[first]) == 20, "all was read")
        first.commit(ends)
        assert other.committed(attendance.group, partitions) == ends
        second = attendance.join(other, [topic])
        attendance.leave(first)
        left = time.monotonic()
        attendance.owns(second, 2)
        assert time.monotonic() - left < max(self.session_timeout_s, 5.0), "nobody waits for who has left"
        log.append(numbered(topic, 1, [10]))
        attendance.until(lambda: bool(attendance.records[second]), "the next record came")
        assert numbers(attendance.records[second]) == [10]
        attendance.leave(second)

    def test_who_stops_reading_loses_everything_and_commits_nothing(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        source, target = make_topic(log, 2, records=20), make_topic(log)
        partition = TopicPartition(source, 0)
        attendance = self.attend(log)
        stuck = attendance.join(log, [source], "stuck")
        attendance.owns(stuck, 2)
        fence = stuck.fence()
        writer = log.writer(fresh("writer"))

        def fill(transaction: Transaction, position: int) -> None:
            transaction.write(numbered(target, 0, [position]))
            transaction.positions(attendance.group, {partition: position}, fence)

        carry_out(writer, lambda t: fill(t, 1), self.patience_s)
        successor = attendance.join(other, [source], "successor")
        attendance.owns(successor, 2)
        with pytest.raises(Fenced):
            carry_out(writer, lambda t: fill(t, 2), self.patience_s)
        with pytest.raises(Fenced):
            stuck.commit({partition: 3})
        assert other.committed(attendance.group, [partition]) == {partition: 1}
        assert numbers(read_topic(other, target, self.patience_s)) == [1]
        successor.commit({partition: 4})
        attendance.until(lambda: len(attendance.revoked[stuck]) == 2, "the loser was told", stuck, successor)
        assert other.committed(attendance.group, [partition]) == {partition: 4}
        attendance.leave(stuck)
        attendance.leave(successor)

    def test_a_member_cannot_commit_what_it_never_owned(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log, 2, records=20)
        attendance = self.attend(log)
        first = attendance.join(log, [topic])
        attendance.owns(first, 2)
        second = attendance.join(other, [topic])
        attendance.until(lambda: len(attendance.owned[first]) == len(attendance.owned[second]) == 1, "both own one")
        (foreign,) = attendance.owned[second]
        with pytest.raises(Fenced):
            first.commit({foreign: 1})
        fence = first.fence()
        writer = log.writer(fresh("writer"))
        with pytest.raises(Fenced):
            carry_out(writer, lambda t: t.positions(attendance.group, {foreign: 1}, fence), self.patience_s)
        assert log.committed(attendance.group, [foreign]) == {}
        attendance.leave(first)
        attendance.leave(second)

    def test_reading_keeps_a_member_alive(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log, 2)
        attendance = self.attend(log)
        first, second = attendance.join(log, [topic]), attendance.join(other, [topic])
        attendance.until(lambda: len(attendance.owned[first]) == len(attendance.owned[second]) == 1, "both own one")
        owned = {member: set(own) for member, own in attendance.owned.items()}
        # Who joins first is not certain: the second may have had both for a moment, and given one back.
        revoked = list(attendance.revoked[second])
        until = time.monotonic() + 1.5 * self.session_timeout_s
        attendance.until(lambda: time.monotonic() > until, "one and a half session time-outs passed")
        assert attendance.owned == owned
        assert list(attendance.revoked[second]) == revoked
        attendance.leave(first)
        attendance.leave(second)

    def test_positions_that_were_never_committed_are_left_out(self, log: Log) -> None:
        topic = make_topic(log, 2, records=20)
        first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
        attendance = self.attend(log)
        assert log.committed(attendance.group, [first, second]) == {}
        member = attendance.join(log, [topic])
        attendance.owns(member, 2)
        member.commit({second: 7})
        assert log.committed(attendance.group, [first, second]) == {second: 7}
        assert log.committed(fresh("group"), [second]) == {}
        attendance.leave(member)

    def test_reset_sets_positions_only_while_nobody_reads(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log, 2, records=20)
        first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
        attendance = self.attend(log)
        member = attendance.join(log, [topic], "in-the-way")
        attendance.owns(member, 2)
        member.commit({first: 3, second: 4})
        with pytest.raises(Misuse, match="in-the-way"):
            other.reset(attendance.group, {first: 0})
        assert log.committed(attendance.group, [first, second]) == {first: 3, second: 4}
        attendance.leave(member)
        for _ in attempts(self.patience_s, "the group was empty"):
            try:
                other.reset(attendance.group, {first: 0})
            except Misuse:
                continue
            break
        assert log.committed(attendance.group, [first, second]) == {first: 0, second: 4}

    def test_groups_show_members_what_they_own_and_positions(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log, 2, records=20)
        attendance = self.attend(log)
        member = attendance.join(log, [topic], "visible")
        attendance.owns(member, 2)
        member.commit({TopicPartition(topic, 1): 5})

        def shown() -> bool:
            group = {group.name: group for group in other.groups()}[attendance.group]
            ((name, owned),) = group.members.items()
            return "visible" in name and set(owned) == attendance.owned[member]

        eventually(shown, self.patience_s, "another process sees the member and what it owns")
        group = {group.name: group for group in other.groups()}[attendance.group]
        assert dict(group.positions) == {TopicPartition(topic, 1): 5}
        assert other.groups([attendance.group, fresh("nobody")]) == [group]
        assert other.groups([]) == []
        attendance.leave(member)
        eventually(
            lambda: not {group.name: group for group in other.groups()}[attendance.group].members,
            self.patience_s,
            "the member is gone and the group is not",
        )

    def test_groups_do_not_disturb_each_other(self, log: Log) -> None:
        topic = make_topic(log)
        log.append(numbered(topic, 0, range(5)))
        for _ in range(2):
            attendance = self.attend(log)
            member = attendance.join(log, [topic])
            attendance.until(lambda: len(attendance.records[member]) == 5, "each group gets all records")  # noqa: B023 -- called within this turn of the loop
            member.commit({TopicPartition(topic, 0): 5})
            attendance.leave(member)

    def test_settling_where_nothing_is_open_changes_nothing(self, log: Log) -> None:
        topic = make_topic(log, records=20)
        partition = TopicPartition(topic, 0)
        attendance = self.attend(log)
        member = attendance.join(log, [topic])
        attendance.owns(member, 1)
        member.commit({partition: 2})
        log.settle(attendance.group, [partition])
        assert log.committed(attendance.group, [partition]) == {partition: 2}
        attendance.leave(member)
