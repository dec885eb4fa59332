"""What the positions of a group mean, which decides what setting them takes.

| group | its positions | setting them |
|---|---|---|
| of another program | are all there is | as kafka-consumer-groups does |
| the owners of an entity type | commands carried out; states remember as much | on only: skips commands |
| a read model | the shadow of those in its store, which are one with the rows | to the beginning only, rows and all |
| a process | events that it was told | any, with consent: see `processes` |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from headwater.environment import SYSTEM, Environment
from headwater.errors import Misuse, Unavailable, counted
from headwater.failures.held import tables_of
from headwater.log.port import Log, Positions, TopicPartition
from headwater.log.topology import commands_topic
from headwater.operations.resetting.moves import Move, positions_of
from headwater.projections.read_model import ReadModel
from headwater.projections.waiting import lives
from headwater.readers.foreign import group_now
from headwater.stores.port import Store, TableSchema


class StillRead(Unavailable):
    """Somebody reads in the group: its positions cannot be set."""


class NoConsent(Misuse):
    """Nobody said that what was done may be repeated."""


class Consequence(NamedTuple):
    """What comes of new positions, in words. Arguments: would: before they are set; did: afterwards."""

    would: str
    did: str


class Target(Protocol):
    """A group whose positions can be set."""

    @property
    def group(self) -> str: ...

    def positions(self) -> Positions:
        """Where it goes on, as far as it was anywhere."""
        ...

    def partitions(self) -> list[TopicPartition]:
        """All that it reads, as far as it is known."""
        ...

    def consequences(self, moves: Sequence[Move]) -> list[Consequence]:
        """What comes of new positions. Raises: Misuse: they cannot be."""
        ...

    def check(self, moves: Sequence[Move]) -> None:
        """Raises: StillRead, NoConsent: they cannot be set now."""
        ...

    def carry_out(self, moves: Sequence[Move]) -> None:
        """Sets them, after `check`. Raises: Unavailable."""
        ...


def refuse_while_read(log: Log, group: str) -> None:
    """Raises: StillRead: naming the members."""
    members = sorted(group_now(log, group).members)
    if members:
        raise StillRead(f"group {group} is being read by {', '.join(members)}: stop them first")


def or_beginning(log: Log, positions: Positions, partitions: Sequence[TopicPartition]) -> Positions:
    """Positions, with the beginning of each partition in which there is none: that is where our own readers begin."""
    return {**log.begins(partitions), **positions}


def check_ours(log: Log, group: str, moves: Sequence[Move]) -> None:
    """Of a group that headwater keeps: refuses members, and ends what one has left open when it died. When that was
    committed after all, it would move the positions again. Raises: StillRead. Unavailable: it stays open."""
    refuse_while_read(log, group)
    log.settle(group, list(positions_of(moves)))


@dataclass(frozen=True, slots=True)
class ForeignGroup:
    """A group of another program."""

    log: Log
    group: str

    def positions(self) -> Positions:
        return group_now(self.log, self.group).positions

    def partitions(self) -> list[TopicPartition]:
        return sorted(self.positions())

    def consequences(self, moves: Sequence[Move]) -> list[Consequence]:
        there = group_now(self.log, self.group)
        if there.positions or there.members:
            return []
        return [
            Consequence(
                f"no group is called {self.group} yet: setting its positions makes it",
                f"no group was called {self.group} yet: setting its positions has made it",
            )
        ]

    def check(self, moves: Sequence[Move]) -> None:
        refuse_while_read(self.log, self.group)

    def carry_out(self, moves: Sequence[Move]) -> None:
        self.log.reset(self.group, positions_of(moves), foreign=True)


@dataclass(frozen=True, slots=True)
class OwnersGroup:
    """The owners of an entity type. They go on from what their states say that they have carried out, or from the
    group's position where that is further on."""

    log: Log
    group: str
    entity: str

    def positions(self) -> Positions:
        return or_beginning(self.log, group_now(self.log, self.group).positions, self.partitions())

    def partitions(self) -> list[TopicPartition]:
        topic = commands_topic(self.entity)
        return [TopicPartition(topic, p) for p in range(self.log.topics([topic])[topic].partitions)]

    def consequences(self, moves: Sequence[Move]) -> list[Consequence]:
        for move in moves:
            if move.back:
                raise Misuse(
                    f"the commands of {move.partition} before {move.current} were carried out, and the states of their "
                    f"entities say so: owners go on from there, whatever group {self.group} says; it can only go on"
                )
        skipped = sum(move.skipped for move in moves)
        commands = counted(skipped, "command")
        return [
            Consequence(
                f"{commands} would never be carried out, and no sender would hear of it",
                f"{commands} will never be carried out, and no sender will hear of it",
            )
        ] * (skipped > 0)

    def check(self, moves: Sequence[Move]) -> None:
        check_ours(self.log, self.group, moves)

    def carry_out(self, moves: Sequence[Move]) -> None:
        self.log.reset(self.group, positions_of(moves))


@dataclass(frozen=True, slots=True)
class ReadModelGroup:
    """A read model. Its rows are what all events before its positions made of them, so the two change together."""

    log: Log
    model: ReadModel
    store: Store
    environment: Environment = SYSTEM

    @property
    def group(self) -> str:
        return self.model.runner

    def positions(self) -> Positions:
        return or_beginning(self.log, self.store.positions(self.model.runner), self.partitions())

    def partitions(self) -> list[TopicPartition]:
        there = self.log.topics([topic.name for topic in self.model.topics])
        return [TopicPartition(name, p) for name in sorted(there) for p in range(there[name].partitions)]

    def consequences(self, moves: Sequence[Move]) -> list[Consequence]:
        if self._stays(moves):
            same = "rows and positions in the store stay as they are; the group gets their positions again"
            return [Consequence(same, same)]
        begins = self.log.begins(self.partitions())
        if positions_of(moves) != begins:
            raise Misuse(
                f"the rows of {self.model.title} are what every event before its positions made of them: elsewhere, or "
                "in some partitions only, events would be missing in the rows or be in them twice; it can begin anew, "
                "in all its partitions"
            )
        tables = ", ".join(table.title for table in self.model.tables)
        rows, again = f"all rows of {tables}", "made again from the log when the app runs"
        beside = f"; `hw rebuild {self.model.title}` makes new ones beside them, while these are read"
        found = [
            Consequence(
                f"{rows} would be removed, and {again}{'' if self.model.sinks else beside}",
                f"{rows} were removed, and are {again}",
            )
        ]
        if self.model.sinks:
            written = f"what handlers of {self.model.title} wrote beside its rows (hw.Sink)"
            todo = "once more: remove it first, unless they overwrite it"
            found.append(
                Consequence(
                    f"{written} is not removed, and would be written {todo}",
                    f"{written} was not removed, and is written {todo}",
                )
            )
        kept = tables_of(self.group)
        if aside := self._kept(kept.held):
            records, are = counted(aside, "record"), "is" if aside == 1 else "are"
            found.append(
                Consequence(
                    f"{records} {are} set aside, and would be tried again with all others",
                    f"{records} had been set aside, and will be tried again with all others",
                )
            )
        if steps := self._kept(kept.audit):
            audit = f"the audit of dead letters, {counted(steps, 'step')},"
            found.append(
                Consequence(
                    f"{audit} would go with the rows: `hw deadletters audit` shows it", f"{audit} went with the rows"
                )
            )
        for tp, begin in begins.items():
            if begin:
                gone = f"{tp} begins at {begin}: what was before is gone, and the new rows"
                found.append(Consequence(f"{gone} would be without it", f"{gone} are without it"))
        return found

    def check(self, moves: Sequence[Move]) -> None:
        check_ours(self.log, self.group, moves)
        # A worker that has lost the log is no member, and still there.
        alive = [note.worker for note in self.store.notes(self.group) if lives(note, self.environment)]
        if alive:
            raise StillRead(f"{', '.join(alive)} still maintains {self.model.title}: stop it first")

    def carry_out(self, moves: Sequence[Move]) -> None:
        """The store first: where this is killed in between, a runner begins where the store stands, and the group
        follows it."""
        if not self._stays(moves):
            self.store.forget(self.group)
        self.log.reset(self.group, positions_of(moves))

    def _kept(self, table: TableSchema[Any]) -> int:
        """How many rows it has; none, where nobody has made it."""
        try:
            return len(self.store.rows(table))
        except Unavailable:
            return 0

    def _stays(self, moves: Sequence[Move]) -> bool:
        """Whether the rows are not to be made again: they stand there already."""
        there, stored = self.positions(), self.store.positions(self.group)
        return bool(stored) and all(there[tp] == new for tp, new in positions_of(moves).items())
