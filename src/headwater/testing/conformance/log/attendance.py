"""Members of a group in one thread, and what every caller of theirs has to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headwater.log.port import (
    Aborted,
    Batch,
    Fenced,
    Log,
    Member,
    Positions,
    Record,
    TopicPartition,
    Transaction,
    Writer,
)
from headwater.testing.conformance.log.waiting import attempts


class Attendance:
    """Members of a group, read in turn by one thread: what each owns and what it has read.

    A partition that is assigned is started at its committed position, or at 0. On a machine that stands still a group
    may drop a member that lives: it is given its partitions anew, and goes on there.
    """

    def __init__(self, log: Log, group: str, patience_s: float) -> None:
        self.log, self.group, self.patience_s = log, group, patience_s
        self.owned: dict[Member, set[TopicPartition]] = {}
        self.records: dict[Member, list[Record]] = {}
        self.revoked: dict[Member, list[TopicPartition]] = {}
        self._turns = 0

    def join(self, log: Log, topics: Sequence[str], name: str = "conformance") -> Member:
        member = log.member(self.group, topics, name=name)
        self.owned[member], self.records[member], self.revoked[member] = set(), [], []
        return member

    def turn(self, member: Member, max_records: int = 1000) -> Batch:
        """One short read of one member."""
        batch = member.read(max_records, 0.05)
        assert not (set(batch.assigned) & self.owned[member]) - set(batch.revoked), "assigned twice"
        self.owned[member] -= set(batch.revoked)
        self.revoked[member] += batch.revoked
        for record in batch.records:
            assert TopicPartition(record.topic, record.partition) in self.owned[member], "not (yet) its own"
        self.records[member] += batch.records
        if batch.assigned:
            self.owned[member] |= set(batch.assigned)
            committed = self.log.committed(self.group, batch.assigned)
            starts = {p: committed.get(p, 0) for p in batch.assigned}
            self._forget(member, starts)
            member.start(starts)
        self._turns += 1
        if batch.records and self._turns % 2:
            batch.look_ahead()  # whatever comes next, nothing of it is lost, doubled, or somebody else's
        return batch

    def _forget(self, member: Member, starts: Positions) -> None:
        """What a member reads again from where it goes on, it has not read yet."""
        self.records[member] = [
            r for r in self.records[member] if r.offset < starts.get(TopicPartition(r.topic, r.partition), r.offset + 1)
        ]

    def until(self, done: Callable[[], bool], what: str, *members: Member) -> None:
        """Reads these members (all that joined, if none is named) in turn until the condition holds."""
        for _ in attempts(self.patience_s, what, pause_s=0):
            for member in members or tuple(self.owned):
                self.turn(member)
            if done():
                return

    def own(self, counts: Mapping[Member, int]) -> bool:
        """Whether these members own so many partitions."""
        return all(len(self.owned[member]) == count for member, count in counts.items())

    def owns(self, member: Member, count: int) -> None:
        """Reads all members until this one owns so many partitions."""
        self.until(lambda: len(self.owned[member]) == count, f"a member owns {count} partitions", member)

    def commit(self, member: Member, positions: Positions) -> None:
        """Commits positions of partitions that only this member reads."""
        for _ in attempts(self.patience_s, "a member committed what it owns", pause_s=0):
            self.until(lambda: positions.keys() <= self.owned[member], "a member owns what it commits", member)
            try:
                member.commit(positions)
            except Fenced:
                continue
            return

    def carry_out(self, member: Member, writer: Writer, fill: Callable[[Transaction], None], count: int) -> None:
        """A transaction with positions of partitions that only this member reads. As every owner has to, it is done
        again when it was aborted, and when the member was fenced, as soon as it owns so many partitions again."""
        for _ in attempts(self.patience_s, "an owner's transaction was carried out"):
            self.owns(member, count)
            try:
                writer.transact(fill)
            except (Aborted, Fenced):
                continue
            return

    def leave(self, member: Member) -> None:
        member.close()
        del self.owned[member]
