"""Sharing: partitions go from member to member, whole and at once; who lost one can commit nothing about it."""

from __future__ import annotations

import time
from functools import partial

import pytest

from headwater.log.port import Fence, Fenced, Log, TopicPartition, Transaction
from headwater.testing.conformance.log.attendance import Attendance
from headwater.testing.conformance.log.waiting import (
    Expectations,
    MakeLog,
    attempts,
    carry_out,
    fresh,
    make_topic,
    numbered,
    numbers,
    read_topic,
    settled_ends,
)


def later_than(moment_s: float) -> bool:
    """Whether this moment of the monotonic clock has passed."""
    return time.monotonic() > moment_s


class SharingConformance(Expectations):
    def attend(self, log: Log) -> Attendance:
        return Attendance(log, fresh("group"), self.patience_s)

    def test_a_second_member_takes_its_share_and_what_follows_comes_to_it(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topics = [make_topic(log, 4), make_topic(log, 4)]
        attendance = self.attend(log)
        for _ in attempts(self.patience_s, "nobody was dropped by the group while it shared"):
            first = attendance.join(log, topics, "first")
            attendance.owns(first, 8)
            second = attendance.join(other, topics, "second")
            attendance.until(partial(attendance.own, {first: 4, second: 4}), "both own four")
            if set(attendance.revoked[first]) == attendance.owned[second]:
                break
            attendance.leave(first)
            attendance.leave(second)
        assert not attendance.owned[first] & attendance.owned[second]
        for owned in attendance.owned.values():
            indexes = {topic: {p.partition for p in owned if p.topic == topic} for topic in topics}
            if self.shares_by_index:
                assert indexes[topics[0]] == indexes[topics[1]], "one index of all topics has one owner"
        for partition in range(4):
            for topic in topics:
                log.append(numbered(topic, partition, [partition]))

        def all_came() -> bool:
            """Whether every partition has one of them as owner, and its record has come to it."""
            read = {
                member: {TopicPartition(r.topic, r.partition) for r in attendance.records[member]}
                for member in (first, second)
            }
            owned = [attendance.owned[member] for member in read]
            return sum(map(len, owned)) == 8 and all(
                own <= came for own, came in zip(owned, read.values(), strict=True)
            )

        attendance.until(all_came, "the records of each partition came to its owner")
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
        attendance.commit(first, ends)
        assert other.committed(attendance.group, partitions) == ends
        for _ in attempts(self.patience_s, "nobody waits for who has left"):
            second = attendance.join(other, [topic])
            attendance.leave(first)
            left = time.monotonic()
            attendance.owns(second, 2)
            if time.monotonic() - left < max(self.session_timeout_s, 5.0):
                break
            first = second  # the machine may have stood still: once more
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
        fences: list[Fence] = []
        writer = log.writer(fresh("writer"))

        def fill(transaction: Transaction, position: int) -> None:
            transaction.write(numbered(target, 0, [position]))
            transaction.positions(attendance.group, {partition: position}, fences[-1])

        def owned(transaction: Transaction) -> None:
            fences.append(stuck.fence())
            fill(transaction, 1)

        attendance.carry_out(stuck, writer, owned, 2)
        lost = len(attendance.revoked[stuck])
        successor = attendance.join(other, [source], "successor")
        attendance.owns(successor, 2)
        with pytest.raises(Fenced):
            carry_out(writer, lambda t: fill(t, 2), self.patience_s)
        with pytest.raises(Fenced):
            stuck.commit({partition: 3})
        assert other.committed(attendance.group, [partition]) == {partition: 1}
        assert numbers(read_topic(other, target, self.patience_s)) == [1]
        attendance.commit(successor, {partition: 4})
        attendance.until(lambda: len(attendance.revoked[stuck]) >= lost + 2, "the loser was told", stuck, successor)
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
        for _ in attempts(self.patience_s, "both kept what they own for one and a half session time-outs"):
            # Who joins first is not certain: the second may have had both for a moment, and given one back. And where
            # the machine stood still for so long that neither read, they lose something all the same.
            owned = {member: set(own) for member, own in attendance.owned.items()}
            revoked = {member: list(gone) for member, gone in attendance.revoked.items()}
            passed = partial(later_than, time.monotonic() + 1.5 * self.session_timeout_s)
            attendance.until(passed, "one and a half session time-outs passed")
            if (attendance.owned, attendance.revoked) == (owned, revoked):
                break
        attendance.leave(first)
        attendance.leave(second)
