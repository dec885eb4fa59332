"""A process that is told events again.

Its reader hands each event on to the process as a command, whose id and origin are the event's. The process keeps, per
key and origin, the last one that it has reacted to, for ever: what is not behind it is recognised, and answered with
nothing. So nothing is repeated that was done, and consent is asked for all the same: what the reactions send beyond
this log is done by others, at least once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from headwater.environment import SYSTEM, Environment
from headwater.errors import BadData, Failed, counted
from headwater.log.port import Log, Positions, TopicPartition
from headwater.log.topology import Topology, events_topic, state_topic
from headwater.operations.resetting.moves import Move, positions_of
from headwater.operations.resetting.targets import Consequence, NoConsent, check_ours, or_beginning
from headwater.owners.arriving import parse_source
from headwater.processes.declare import ProcessShape
from headwater.processes.forwarding import Forwarder
from headwater.readers.foreign import group_now
from headwater.readers.spans import batches_between
from headwater.schemas.topics import PLAIN, Codecs

FLAG = "--repeat-effects"


class Sources(msgspec.Struct):
    """The part of a state record that says what a process has reacted to."""

    sources: dict[str, tuple[int, int]] = {}


class Told(NamedTuple):
    """What a process would be told again.

    Arguments: commands: of the process, one for each event that it reacts to; recognised: those of them that it would
    take for duplicates; unreadable: events that nobody can hand on.
    """

    commands: int
    recognised: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """A process. Arguments: consent: whether what it does may be repeated; codecs: of the
    app."""

    log: Log
    shape: ProcessShape
    topology: Topology
    consent: bool
    environment: Environment = SYSTEM
    codecs: Codecs = PLAIN

    @property
    def group(self) -> str:
        return self.shape.entity

    def positions(self) -> Positions:
        return or_beginning(self.log, group_now(self.log, self.group).positions, self.partitions())

    def partitions(self) -> list[TopicPartition]:
        there = self.log.topics([events_topic(entity) for entity in self.shape.families])
        return [TopicPartition(name, p) for name in sorted(there) for p in range(there[name].partitions)]

    def consequences(self, moves: Sequence[Move]) -> list[Consequence]:
        found = []
        if any(move.back for move in moves):
            told = self._told(moves)
            commands, new = counted(told.commands, "command"), f"{told.commands - told.recognised:,}"
            known = f"{told.recognised:,}"
            found.append(
                Consequence(
                    f"{self.group} would be sent {commands} again: {known} it would recognise as duplicates and do "
                    f"nothing, {new} it would react to for the first time; {FLAG} says that this is wanted",
                    f"{self.group} will be sent {commands} again: {known} it will recognise as duplicates and do "
                    f"nothing, {new} it will react to for the first time",
                )
            )
            if told.unreadable:
                cannot = f"{told.unreadable:,} of the events cannot be handed on"
                then = "stop at the first" if self.shape.on_failure.stops else "set them aside as dead letters"
                found.append(Consequence(f"{cannot}: it would {then}", f"{cannot}: it will {then}"))
        if skipped := sum(move.skipped for move in moves):
            records = counted(skipped, "record")
            never = "never be told of"
            found.append(Consequence(f"{self.group} would {never} {records}", f"{self.group} will {never} {records}"))
        return found

    def check(self, moves: Sequence[Move]) -> None:
        if not self.consent and any(move.back for move in moves):
            raise NoConsent(f"process {self.group} would be told events again: say with {FLAG} that this is wanted")
        check_ours(self.log, self.group, moves)

    def carry_out(self, moves: Sequence[Move]) -> None:
        self.log.reset(self.group, positions_of(moves))

    def _told(self, moves: Sequence[Move]) -> Told:
        """Reads the events again, and the states of the process. Raises: Unavailable."""
        starts = {move.partition: move.new for move in moves if move.back}
        ends = self.log.ends(list(starts))
        ends = {move.partition: min(move.current or 0, ends[move.partition]) for move in moves if move.back}
        known = self._sources()
        commands = recognised = unreadable = 0
        with closing(
            Forwarder(self.log, self.topology, self.shape, name=f"{self.group}-reset", codecs=self.codecs)
        ) as forwarder:
            for batch in batches_between(self.log, starts, ends, "reading events again", self.environment):
                for record in batch.records:
                    try:
                        forwards = forwarder.forwarded(record)
                    except (BadData, Failed):
                        unreadable += 1
                        continue
                    for forward in forwards:
                        commands += 1
                        source = parse_source(dict(forward.headers)["hw_source"].decode())
                        last = known.get(forward.key or b"", {}).get(source.stream)
                        recognised += last is not None and (source.offset, source.index) <= last
        return Told(commands, recognised, unreadable)

    def _sources(self) -> Mapping[bytes, Mapping[str, tuple[int, int]]]:
        """By key of the process, what it has reacted to last of each origin."""
        partitions = self.topology.all_of(state_topic(self.shape.entity), self.shape.entity)
        # The written end: what a process has done may not be visible yet.
        begins, ends = self.log.begins(partitions), self.log.ends(partitions, committed=False)
        found: dict[bytes, Mapping[str, tuple[int, int]]] = {}
        for batch in batches_between(self.log, begins, ends, "reading the states of the process", self.environment):
            for record in batch.records:
                if record.key is not None and record.value is not None:
                    found[record.key] = msgspec.json.decode(record.value, type=Sources).sources
        return found
