"""The coordinator of one classic group with cooperative rebalances: members, generations, and who may commit.

A rebalance waits until every member has joined again, or throws out who has not in time. What moves from one member to
another is first taken from the one, in one generation, and given to the other in the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from confluent_kafka import KafkaError

from headwater.testing.simulation.cluster.partition import Refused
from headwater.testing.simulation.cluster.positions import At, Positions, Where

Told = Callable[[str, int, frozenset[Where]], None]
"""Called with a member's id, the generation and the member's partitions."""

State = Literal["empty", "preparing", "completing", "stable"]


class GroupMember:
    """Arguments: id; client: its client id; topics: what it reads. `owned`: as it said when it joined; `told`: called
    with the answer to its joining; `heard`: counts its signs of life."""

    def __init__(self, id: str, client: str, topics: tuple[str, ...], session_s: float) -> None:
        self.id, self.client, self.topics, self.session_s = id, client, topics, session_s
        self.owned: frozenset[Where] = frozenset()
        self.assigned: frozenset[Where] = frozenset()
        self.told: Told | None = None
        self.heard = 0

    @property
    def joined(self) -> bool:
        return self.told is not None


class Group:
    """Arguments: later: has something done after so many seconds; partitions: of a topic; note: for the trace."""

    def __init__(
        self,
        name: str,
        later: Callable[[float, Callable[[], None]], None],
        partitions: Callable[[str], Iterable[Where]],
        note: Callable[[str], None],
    ) -> None:
        self.name, self._later, self._partitions, self._note = name, later, partitions, note
        self.members: dict[str, GroupMember] = {}
        self.positions = Positions()
        self.state: State = "empty"
        self.generation = 0
        self._ids = self._round = 0
        self._unsynced: set[str] = set()

    # --- membership

    def join(
        self,
        id: str,
        client: str,
        topics: tuple[str, ...],
        owned: frozenset[Where],
        session_s: float,
        rebalance_s: float,
        told: Told,
    ) -> str:
        """JoinGroup and SyncGroup. Arguments: id: empty: a new member; told: called when the group is complete.
        Returns: the member's id. Raises: Refused: no such member."""
        if id:
            member = self._known(id)
        else:
            self._ids += 1
            member = GroupMember(f"{client}-{self._ids}", client, topics, session_s)
            self.members[member.id] = member
        if self.state != "preparing":
            self._prepare(rebalance_s)
        member.owned, member.told = owned, told
        self._hear(member)
        self._complete_if_all()
        return member.id

    def synced(self, id: str) -> None:
        """The member has got its answer."""
        self._unsynced.discard(id)
        if self.state == "completing" and not self._unsynced:
            self.state = "stable"

    def heartbeat(self, id: str, generation: int) -> bool:
        """Returns whether the member must join again. Raises: Refused: no such member, or not in that generation."""
        member = self._known(id)
        if generation != self.generation:
            raise Refused(KafkaError.ILLEGAL_GENERATION)
        self._hear(member)
        return self.state == "preparing" and not member.joined

    def leave(self, id: str) -> None:
        if self.members.pop(id, None) is not None:
            self._note(f"{id} leaves {self.name}")
            self._left()

    # --- positions

    def commit(self, id: str, generation: int, positions: Mapping[Where, At]) -> None:
        """OffsetCommit. Raises: Refused."""
        self._check(id, generation, transactional=False)
        self.positions.commit(positions)

    def commit_in(self, id: str, generation: int, pid: int, positions: Mapping[Where, At]) -> None:
        """TxnOffsetCommit. Without member id and generation it is always accepted. Raises: Refused."""
        self._check(id, generation, transactional=True)
        self.positions.commit_in(pid, positions)

    def _check(self, id: str, generation: int, *, transactional: bool) -> None:
        if generation < 0 and not id:
            if transactional or self.state == "empty":
                return
            raise Refused(KafkaError.UNKNOWN_MEMBER_ID)
        self._known(id)
        if generation != self.generation:
            raise Refused(KafkaError.ILLEGAL_GENERATION)
        if not transactional and self.state == "completing":
            raise Refused(KafkaError.REBALANCE_IN_PROGRESS)

    # --- inside

    def _known(self, id: str) -> GroupMember:
        member = self.members.get(id)
        if member is None:
            raise Refused(KafkaError.UNKNOWN_MEMBER_ID)
        return member

    def _hear(self, member: GroupMember) -> None:
        member.heard += 1
        heard = member.heard

        def expire() -> None:
            if member.heard != heard or self.members.get(member.id) is not member:
                return
            if self.state == "preparing" and member.joined:
                self._hear(member)  # it waits for the others
            else:
                self._note(f"{member.id} of {self.name} was not heard of")
                del self.members[member.id]
                self._left()

        self._later(member.session_s, expire)

    def _left(self) -> None:
        if not self.members:
            self.state = "empty"
            self.generation += 1
            self._round += 1
        elif self.state == "preparing":
            self._complete_if_all()
        else:
            self._prepare(max(one.session_s for one in self.members.values()))

    def _prepare(self, rebalance_s: float) -> None:
        """All must join again."""
        self.state = "preparing"
        self._round += 1
        number = self._round
        for member in self.members.values():
            member.told = None

        def expire() -> None:
            if self._round == number:
                for member in [one for one in self.members.values() if not one.joined]:
                    self._note(f"{member.id} of {self.name} did not join in time")
                    del self.members[member.id]
                self._left()

        self._later(rebalance_s, expire)

    def _complete_if_all(self) -> None:
        if not all(member.joined for member in self.members.values()):
            return
        self.state = "completing"
        self._round += 1
        self.generation += 1
        self._assign()
        self._unsynced = set(self.members)
        shares = {id: sorted(member.assigned) for id, member in self.members.items()}
        self._note(f"generation {self.generation} of {self.name}: {shares}")
        for member in self.members.values():
            assert member.told is not None
            self._hear(member)
            member.told(member.id, self.generation, member.assigned)

    def _assign(self) -> None:
        """Sticky shares; what another member still owns is given to nobody in this generation."""
        members = [self.members[id] for id in sorted(self.members)]
        topics = sorted({topic for member in members for topic in member.topics})
        partitions = [partition for topic in topics for partition in self._partitions(topic)]
        owner = {partition: member for member in members for partition in sorted(member.owned)}
        each, larger = divmod(len(partitions), len(members))
        ranked = sorted(members, key=lambda member: (-len(member.owned), member.id))
        share: dict[str, list[Where]] = {}
        for rank, member in enumerate(ranked):
            kept = sorted(partition for partition in member.owned if partition in partitions)
            share[member.id] = kept[: each + (rank < larger)]
        taken = {partition for kept in share.values() for partition in kept}
        free = [partition for partition in partitions if partition not in taken]
        for rank, member in enumerate(ranked):
            while free and len(share[member.id]) < each + (rank < larger):
                share[member.id].append(free.pop(0))
        for member in members:
            member.assigned = frozenset(p for p in share[member.id] if owner.get(p, member) is member)
