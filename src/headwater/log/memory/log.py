"""The log in memory: for tests and trials. What it forgets when the process ends, nobody gets back.

It keeps the whole contract, and can be as unkind as the contract allows, so that nothing built on it relies on
dense offsets or on commits that are seen everywhere at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from weakref import WeakSet

from headwater.environment import SYSTEM, Environment
from headwater.log.findings import Finding
from headwater.log.limits import check_before, check_deletion
from headwater.log.memory.reading import Counter, MemoryMember, MemoryReader
from headwater.log.memory.shelf import Draft, Shelf, Unkindness
from headwater.log.port import (
    GroupDescription,
    Held,
    NewRecord,
    OnDone,
    Positions,
    Record,
    TopicDescription,
    TopicPartition,
    TopicSpec,
    Transaction,
)


class MemoryLog:
    """A log that lives in this process. See `headwater.log.port.Log`. Nothing is ever deleted by age.

    Arguments:
        gaps: transactions leave markers, aborted ones use up offsets, and a few are missing here and there.
        late: each partition shows a commit at its own time, a few looks later.
        aborts: the share of transactions (0 to 1) that are aborted for no reason, to be done again.
        seed: of the three above; None takes a new one. It can be read as `seed`, to repeat a run.
        session_timeout_s: how long a member may stay without reading.
        environment: the clock for record times and sessions.
    """

    def __init__(
        self,
        *,
        gaps: bool = False,
        late: bool = False,
        aborts: float = 0.0,
        seed: int | None = None,
        session_timeout_s: float = 6.0,
        environment: Environment = SYSTEM,
    ) -> None:
        self.seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self._shelf = Shelf(Unkindness(gaps, late, aborts), self.seed, session_timeout_s, environment)
        self._open: WeakSet[MemoryReader | MemoryMember] = WeakSet()
        self._counter = Counter()

    def again(self) -> MemoryLog:
        """A second handle on the same log, as another process would have."""
        handle = MemoryLog(seed=self.seed)
        handle._shelf = self._shelf
        return handle

    @property
    def id(self) -> str:
        return self._shelf.id

    @property
    def url(self) -> str:
        return "memory://"

    @property
    def embedded(self) -> bool:
        return True

    @property
    def cache(self) -> Path | None:
        return None

    @property
    def records_read(self) -> int:
        return self._counter.records

    @property
    def transaction_timeout_s(self) -> None:
        return None

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        with self._shelf.changed:
            self._shelf.create_topics(specs)

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        with self._shelf.changed:
            return {name: found for name, found in self._shelf.topics.items() if names is None or name in names}

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        with self._shelf.changed:
            return {name: self._shelf.partition(name).first for name in partitions}

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        with self._shelf.changed:
            self._shelf.look(partitions)
            found = [self._shelf.partition(name) for name in partitions]
            return {p.name: p.visible if committed else p.next for p in found}

    def held(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Held]:
        seen, written = self.ends(partitions), self.ends(partitions, committed=False)
        return {p: Held(seen[p], written[p]) for p in partitions if seen[p] < written[p]}

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        with self._shelf.changed:
            self._shelf.look(partitions)
            return {name: self._shelf.partition(name).position_at(timestamp_ms) for name in partitions}

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        with self._shelf.changed:
            return Draft(self._shelf).carry_out(lambda draft: draft.append(records), marker=False)

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        for index, offset in enumerate(self.append(records)):
            on_done(index, offset, None)

    def reader(self, *, envelopes: bool = True, patient: bool = False) -> MemoryReader:
        reader = MemoryReader(self._shelf, self._counter)
        self._open.add(reader)
        return reader

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> MemoryMember:
        member = MemoryMember(self._shelf, self._counter, group, topics, name)
        self._open.add(member)
        return member

    def writer(self, name: str) -> MemoryWriter:
        return MemoryWriter(self._shelf)

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        with self._shelf.changed:
            self._shelf.look([partition])
            found = self._shelf.partition(partition).keyed(key)
            self._counter.records += len(found)
            return list(found)

    def delete_before(self, positions: Positions) -> None:
        check_before(positions, self.ends(list(positions)))
        with self._shelf.changed:
            for name, position in positions.items():
                check_deletion(name.topic, self._shelf.topics[name.topic].compacted)
                self._shelf.partition(name).delete_before(position)

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to do: a transaction here is never open for longer than `fill` runs."""

    def committed(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        with self._shelf.changed:
            known = self._shelf.groups.get(group)
            return {} if known is None else {p: known.positions[p] for p in partitions if p in known.positions}

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        with self._shelf.changed:
            for partition in positions:
                self._shelf.partition(partition)
            self._shelf.group(group).reset(positions, self._shelf.environment.monotonic_s())

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        with self._shelf.changed:
            groups = self._shelf.groups
            return [group.describe() for name, group in groups.items() if names is None or name in names]

    def examine(self, specs: Sequence[TopicSpec], groups: Sequence[str]) -> list[Finding]:
        """Nothing to say: it is gone with its process."""
        return []

    def close(self) -> None:
        for reading in list(self._open):
            reading.close()
        self._open.clear()


class MemoryWriter:
    """See `headwater.log.port.Writer`."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        draft = Draft(self._shelf)
        with self._shelf.changed:
            draft.carry_out(fill, marker=True)
            return draft.firsts()

    def close(self) -> None:
        """Nothing is held between transactions."""
