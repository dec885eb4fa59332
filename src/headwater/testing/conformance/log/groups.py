"""Groups: what a member is given and when, where a group stands, and who may change that."""

from __future__ import annotations

import time
from contextlib import suppress

from headwater.errors import Misuse
from headwater.log.port import Fenced, Log, Member, NewRecord, Positions, Record, TopicPartition
from headwater.testing.conformance.log.sharing import SharingConformance
from headwater.testing.conformance.log.waiting import (
    MakeLog,
    attempts,
    eventually,
    fresh,
    make_topic,
    numbered,
    numbers,
    settled_ends,
)


class GroupConformance(SharingConformance):
    """With all that is shared."""

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
        assert self._numbers_from(member, {partition: offsets[4]}, 6) == list(range(4, 10))
        assert self._numbers_from(member, {partition: offsets[8]}, 2) == [8, 9], "start also goes back"
        member.close()

    def _numbers_from(self, member: Member, start: Positions, count: int) -> list[int]:
        """The first numbers from there on. Begun anew where the group has given the partition to its member anew."""
        found: list[int] = []
        started = False
        for _ in attempts(self.patience_s, f"{count} records came", pause_s=0):
            if not started:
                with suppress(Fenced):  # it has lost the partition, which comes again
                    member.start(start)
                    started = True
            batch = member.read(100, 0.1)
            found += numbers(batch.records)
            if batch.revoked or batch.assigned:
                found, started = [], False
            if len(found) >= count:
                return found
        raise AssertionError  # `attempts` never ends without raising

    def test_a_lean_member_is_given_the_same_records(self, log: Log) -> None:
        topic = make_topic(log)
        written = [NewRecord(topic, 0, b"k%d" % n, b"%d" % n, [("n", b"%d" % n)], 1000 + n) for n in range(1_100)]
        log.append(written)
        ends = settled_ends(log, topic, self.patience_s)
        member = log.member(fresh("group"), [topic], name="conformance", lean=True)
        found: list[Record] = []
        for _ in attempts(self.patience_s, "all records came", pause_s=0):
            batch = member.read(2_000, 0.1)
            found += batch.records
            if batch.assigned:
                found.clear()
                member.start(dict.fromkeys(ends, 0))
            if len(found) == len(written):
                break
        parts = [(one.key, one.value, list(one.headers), one.timestamp_ms) for one in found]
        assert parts == [(one.key, one.value, list(one.headers), one.timestamp_ms) for one in written]
        member.close()

    def test_reading_0_records_takes_none(self, log: Log) -> None:
        topic = make_topic(log)
        attendance = self.attend(log)
        member = attendance.join(log, [topic])
        attendance.owns(member, 1)
        log.append(numbered(topic, 0, range(3)))
        settled_ends(log, topic, self.patience_s)
        for _ in range(3):
            batch = attendance.turn(member, 0)
            assert not batch.records
            assert not batch.reached
        attendance.until(lambda: len(attendance.records[member]) >= 3, "they came")
        assert numbers(attendance.records[member]) == [0, 1, 2]
        attendance.leave(member)

    def test_positions_that_were_never_committed_are_left_out(self, log: Log) -> None:
        topic = make_topic(log, 2, records=20)
        first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
        attendance = self.attend(log)
        assert log.committed(attendance.group, [first, second]) == {}
        member = attendance.join(log, [topic])
        attendance.owns(member, 2)
        attendance.commit(member, {second: 7})
        assert log.committed(attendance.group, [first, second]) == {second: 7}
        assert log.committed(fresh("group"), [second]) == {}
        attendance.leave(member)

    def test_reset_sets_positions_only_while_nobody_reads(self, make_log: MakeLog) -> None:
        log, other = make_log(), make_log()
        topic = make_topic(log, 2, records=20)
        first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
        attendance = self.attend(log)
        member = attendance.join(log, [topic], "in-the-way")
        refused = ""
        for _ in attempts(self.patience_s, "it was refused while the member reads"):
            asked = time.monotonic()
            attendance.commit(member, {first: 3, second: 4})
            try:
                other.reset(attendance.group, {first: 0})
            except Misuse as error:
                refused = str(error)
                break
            silent_s = time.monotonic() - asked
            assert silent_s > self.session_timeout_s / 3, "else the member was heard of"
        assert "in-the-way" in refused
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
        attendance.commit(member, {TopicPartition(topic, 1): 5})

        def shown() -> bool:
            """Both ways of asking, while the member reads."""
            attendance.turn(member)
            group = {group.name: group for group in other.groups()}[attendance.group]
            named = [(name, set(owned)) for name, owned in group.members.items() if "visible" in name]
            return (
                len(group.members) == 1
                and [owned for _, owned in named] == [attendance.owned[member]]
                and other.groups([attendance.group, fresh("nobody")]) == [group]
            )

        eventually(shown, self.patience_s, "another process sees the member and what it owns")
        group = {group.name: group for group in other.groups()}[attendance.group]
        assert dict(group.positions) == {TopicPartition(topic, 1): 5}
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
            attendance.commit(member, {TopicPartition(topic, 0): 5})
            attendance.leave(member)

    def test_settling_where_nothing_is_open_changes_nothing(self, log: Log) -> None:
        topic = make_topic(log, records=20)
        partition = TopicPartition(topic, 0)
        attendance = self.attend(log)
        member = attendance.join(log, [topic])
        attendance.owns(member, 1)
        attendance.commit(member, {partition: 2})
        log.settle(attendance.group, [partition])
        assert log.committed(attendance.group, [partition]) == {partition: 2}
        attendance.leave(member)
