"""What a reader without a store has set aside: in `<group>-held`, a compacted topic that it writes in its transactions.

The partition is that of the source, so it moves with it: who takes a partition over reads it from the beginning to its
written end, as the states (what its records are: `held_records`). Dead letters are written into their topic in the same
transaction, once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from headwater.environment import Environment
from headwater.failures.held import Asked, Audit, HeldRecord, Shelves
from headwater.failures.letters import deadletters_topic, letter_of
from headwater.failures.parking import Parking, Pause, place_of_row
from headwater.failures.policy import DEFAULT, FailurePolicy
from headwater.log.port import Log, NewRecord, TopicPartition, TopicSpec
from headwater.readers.held_records import Contents, Line, asked_line, audit_line, held_line, held_topic
from headwater.readers.setting_aside import tell, tell_failed
from headwater.readers.spans import batches_between

LOOK_S = 0.5
"""How often a reader looks whether something is asked for; one request, where something was ever set aside."""


class HeldTopic:
    """Arguments: log; group: of the reader; policy; code: fingerprint of its code; sources: topics that it reads."""

    def __init__(
        self,
        log: Log,
        group: str,
        policy: FailurePolicy,
        code: str,
        sources: Sequence[str],
        environment: Environment,
    ) -> None:
        self._log, self._group, self._policy, self._code = log, group, policy, code
        self._sources, self._environment = sources, environment
        self.topic = held_topic(group)
        self.shelves = Shelves()
        self.pauses: dict[TopicPartition, Pause] = {}
        self._contents = Contents()
        self._owned: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        self._counts: dict[str, int] = {}
        self._looked_s = environment.monotonic_s()

    @property
    def letters(self) -> list[HeldRecord]:
        """The dead letters of the partitions that are owned."""
        return [row for row in self._contents.held.values() if row.failed and row.tp in self._owned]

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Reads what is set aside there. Raises: Unavailable."""
        self._owned.update(partitions)
        self._contents.forget(partitions)
        self._count()
        if self.topic in self._counts:
            self._read(self._log.begins(sorted(self._homes(partitions))))
        self._put(partitions)
        self._tell(partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self._owned.difference_update(partitions)
        for tp in partitions:
            self.pauses.pop(tp, None)
            self.shelves.drop(tp)
        self._contents.forget(partitions)
        mine = self._homes(self._owned) if self._positions else set()
        self._positions = {tp: at for tp, at in self._positions.items() if tp in mine}
        self._tell(partitions)

    def parking(self, again: Collection[HeldRecord] = ()) -> Parking:
        """For the next transaction. Arguments: again: rows that are tried again."""
        policy = self._policy if not again else DEFAULT
        return Parking(policy, self.shelves, self._environment.now(), {}, again)

    def records(self, parking: Parking, gone: Iterable[HeldRecord] = ()) -> list[NewRecord]:
        """What a transaction writes. Makes the topics where they are missing. Raises: Unavailable."""
        rows = list(parking.rows.values())
        if not rows and not gone:
            return []
        self._make_topics()
        records = []
        for row in rows:
            if row.failed and not row.published:
                row.published = True
                letter = letter_of(row, self._group, self._code)
                records.append(msgspec.structs.replace(letter, partition=self._home(letter.topic, row.partition)))
            records += self._written(held_line(row))
        for row in gone:
            if place_of_row(row) not in parking.rows:
                records += self._written(held_line(row, there=False))
        return records

    def settled(self, asked: Asked, line: Audit) -> list[NewRecord]:
        """What ends something that was asked for."""
        lines = [audit_line(line), asked_line(asked, there=False)]
        return [record for one in lines for record in self._written(one)]

    def committed(self, parking: Parking, gone: Iterable[HeldRecord] = (), done: Asked | None = None) -> None:
        """After the transaction."""
        gone = list(gone)
        for row in gone:
            self._contents.held.pop(place_of_row(row), None)
        for place, row in parking.rows.items():
            self._contents.held[place] = row
        self.shelves.changed(parking.rows.values(), gone)
        self.pauses.update(parking.pauses)
        tell_failed(self._environment.telemetry, self._group, parking.rows.values())
        self._tell({row.tp for row in (*parking.rows.values(), *gone)} | parking.pauses.keys())
        if done is not None:
            self._contents.asked.pop(done.id, None)

    def asked(self) -> list[Asked]:
        """What is asked for in the partitions that are owned, the oldest first. Raises: Unavailable."""
        now_s = self._environment.monotonic_s()
        if self._positions and now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._read(self._positions)
        mine = [one for one in self._contents.asked.values() if TopicPartition(one.topic, one.partition) in self._owned]
        return sorted(mine, key=lambda one: one.asked)

    def row(self, asked: Asked) -> HeldRecord | None:
        return self._contents.held.get((asked.topic, asked.partition, asked.record_offset))

    def behind(self, letter: HeldRecord) -> list[HeldRecord]:
        """What waits for a dead letter, in order."""
        if letter.held_key is None:
            return []
        offsets = self.shelves[letter.tp].offsets(letter.held_key)
        return [self._contents.held[(*letter.tp, offset)] for offset in offsets if offset > letter.record_offset]

    def resume(self) -> list[TopicPartition]:
        """Paused partitions that go on from now on: half of what may be set aside is free again."""
        found = []
        for tp, pause in self.pauses.items():
            shelf = self.shelves[tp]
            fits = 2 * len(shelf) <= self._policy.held_records and 2 * shelf.size_bytes <= self._policy.held_bytes
            if pause.limit and fits:
                found.append(tp)
        for tp in found:
            del self.pauses[tp]
        self._tell(found)
        return found

    def _put(self, partitions: Collection[TopicPartition]) -> None:
        rows: dict[TopicPartition, list[HeldRecord]] = {tp: [] for tp in partitions}
        for row in self._contents.held.values():
            if row.tp in rows:
                rows[row.tp].append(row)
        for tp, mine in rows.items():
            self.shelves.set(tp, mine)
            self.pauses.pop(tp, None)

    def _tell(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            shelf = self.shelves[tp] if tp in self._owned else None
            tell(self._environment.telemetry, self._group, tp, shelf, self.pauses.get(tp))

    def _read(self, start: Mapping[TopicPartition, int]) -> None:
        ends = self._log.ends(list(start), committed=False)
        for batch in batches_between(self._log, start, ends, f"reading {self.topic}", self._environment):
            for record in batch.records:
                self._contents.take(record)
        self._positions.update(ends)
        self._contents.audit.clear()  # that is for others, and grows for ever

    def _make_topics(self) -> None:
        names = [self.topic, deadletters_topic(self._group)]
        if self._count() < len(names):
            count = max(one.partitions for one in self._log.topics(self._sources).values())
            specs = [
                TopicSpec(names[0], count, compacted=True, log_time=True),
                TopicSpec(names[1], count, log_time=True),
            ]
            self._log.create_topics(specs)
            self._count()
        # Another member may have made them, since these partitions were taken over: what is asked for is there, too.
        new = self._homes(self._owned) - self._positions.keys()
        if new:
            self._positions.update(self._log.begins(sorted(new)))

    def _count(self) -> int:
        """How many of the two topics there are."""
        there = self._log.topics([self.topic, deadletters_topic(self._group)])
        self._counts = {name: one.partitions for name, one in there.items()}
        return len(there)

    def _home(self, topic: str, partition: int) -> int:
        """Where records of a source's partition go: a source that is listened to later may have more of them."""
        return partition % self._counts[topic]

    def _homes(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        return {TopicPartition(self.topic, self._home(self.topic, tp.partition)) for tp in partitions}

    def _written(self, line: Line) -> list[NewRecord]:
        return self._contents.records(self.topic, line._replace(partition=self._home(self.topic, line.partition)))
