"""Who reads what in memory: members, what they own, and the positions of their group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headwater.errors import Misuse
from headwater.log.port import Fence, Fenced, GroupDescription, Positions, TopicPartition
from headwater.log.sharing import share


@dataclass(frozen=True, slots=True)
class Ownership:
    """The proof that a member shows: the epoch at which it took each of its partitions."""

    group: str
    member: str
    epochs: Mapping[TopicPartition, int]


@dataclass(slots=True)
class _Presence:
    topics: Sequence[str]
    seen_s: float


@dataclass(slots=True)
class Group:
    """One consumer group. Guarded by the lock of its log."""

    name: str
    session_timeout_s: float
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    _members: dict[str, _Presence] = field(default_factory=dict)
    _owners: dict[TopicPartition, str] = field(default_factory=dict)
    _epochs: dict[TopicPartition, int] = field(default_factory=dict)

    def attend(
        self, member: str, topics: Sequence[str], partitions: Mapping[str, int], now_s: float
    ) -> dict[TopicPartition, int]:
        """The member lives: it gives up its surplus and takes what is free and its share. Called in its `read`.

        Arguments: topics: what it reads; partitions: how many each topic has; now_s: on the log's clock.
        Returns: what it owns now, each with the epoch at which it took it.
        """
        self._members[member] = _Presence(topics, now_s)
        for other, presence in list(self._members.items()):
            if now_s - presence.seen_s > self.session_timeout_s:
                self.leave(other)
        wanted = share({m: p.topics for m, p in self._members.items()}, partitions, self._owners)
        for partition in [p for p, owner in self._owners.items() if owner == member]:
            if wanted.get(partition) != member:
                del self._owners[partition]
        for partition, owner in wanted.items():
            if owner == member and partition not in self._owners:
                self._owners[partition] = member
                self._epochs[partition] = self._epochs.get(partition, 0) + 1
        return {p: self._epochs[p] for p, owner in self._owners.items() if owner == member}

    def join(self, member: str, topics: Sequence[str], now_s: float) -> None:
        self._members[member] = _Presence(topics, now_s)

    def leave(self, member: str) -> None:
        self._members.pop(member, None)
        self._owners = {p: owner for p, owner in self._owners.items() if owner != member}

    def check(self, positions: Positions, fence: Fence) -> None:
        """Raises `Fenced` unless the fence's member still owns all of these since it made the fence."""
        if not isinstance(fence, Ownership) or fence.group != self.name:
            raise Misuse(f"positions of group {self.name} need a fence made by one of its members")
        for partition in positions:
            epoch = fence.epochs.get(partition)
            if self._owners.get(partition) != fence.member or self._epochs[partition] != epoch:
                raise Fenced(
                    f"{fence.member} does not own {partition} in group {self.name} "
                    f"(owner: {self._owners.get(partition, 'none')}); nothing was written"
                )

    def reset(self, positions: Positions, now_s: float) -> None:
        living = [m for m, p in self._members.items() if now_s - p.seen_s <= self.session_timeout_s]
        if living:
            raise Misuse(f"group {self.name} is being read by {', '.join(sorted(living))}: stop them, then reset it")
        self.positions.update(positions)

    def describe(self) -> GroupDescription:
        members: dict[str, list[TopicPartition]] = {member: [] for member in self._members}
        for partition, owner in sorted(self._owners.items()):
            members[owner].append(partition)
        return GroupDescription(self.name, members, dict(self.positions))
