"""What scenarios do with an app at work: make things happen, ask, and look at what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec

from headwater.app import App
from headwater.client.receipts import Sending
from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour
from headwater.errors import HeadwaterError, Misuse
from headwater.log.port import Log, Record, TopicPartition
from headwater.log.topology import commands_topic, state_topic
from headwater.messages.declare import Command, Event, key_of, members_of
from headwater.messages.envelope import Recorded
from headwater.messages.json_codec import JsonCodec
from headwater.messages.unreadable import Unreadable
from headwater.owners.arriving import parse_source
from headwater.owners.state_record import decode_value
from headwater.processes.declare import Process, shape_of
from headwater.projections.declare import Projection
from headwater.testing.clock import VirtualEnvironment
from headwater.testing.stage import Stage, Stopped
from headwater.testing.writing import EventWriter, Happened

A = TypeVar("A", bound=Aggregate[Any])
P = TypeVar("P", bound=Projection)

READ_S = 1.0

PATIENCE_S = 60.0
"""How long an answer may take: nothing is said of how quick the log is."""


class Outcome(NamedTuple):
    """What a command led to.

    Arguments: events: those it appended; error: what its sender got instead of a receipt; duplicate: it had
    been carried out before.
    """

    events: Sequence[Recorded[Any]]
    error: HeadwaterError | None
    duplicate: bool


class PlayedAggregate(Generic[A]):
    """Entities of one aggregate."""

    def __init__(self, aggregate: type[A], stage: Stage) -> None:
        self._aggregate = aggregate
        self._app = App("scenario", aggregates=[aggregate], partitions=1)
        self._behaviour: Behaviour[A] = self._app.behaviours[aggregate]
        self._at = stage.perform(self._app, "commands")

    def append(self, events: Iterable[Happened]) -> None:
        """Makes events happen, in order. Raises: HeadwaterError: they cannot have."""
        for event, time in events:
            self._refuse_foreign(event)
            self._at.sender.append(self._aggregate, key_of(event), [event], time=time, timeout_s=PATIENCE_S)

    def send(self, sending: Sending) -> Outcome:
        """Has a command carried out. Raises: AssertionError: the state cannot be made again from the events."""
        self._refuse_foreign(sending.command)
        entity_id = key_of(sending.command)
        before = len(self._at.sender.history(self._aggregate, entity_id))
        try:
            receipt = self._at.sender.send(
                sending.command,
                command_id=sending.command_id,
                expected_version=sending.expected_version,
                time=sending.time,
                actor=sending.actor,
                timeout_s=PATIENCE_S,
            )
        except HeadwaterError as error:
            return Outcome((), error, False)
        history: list[Recorded[Any]] = self._at.sender.history(self._aggregate, entity_id)
        self._refuse_drift(entity_id, history)
        return Outcome(history[before:], None, receipt.duplicate)

    def state(self, entity_id: str) -> A | None:
        """The state now; None: it was never there."""
        return self._at.sender.find(self._aggregate, entity_id, timeout_s=PATIENCE_S)

    def _refuse_foreign(self, message: Command | Event) -> None:
        kind = type(message)
        if not isinstance(message, Command | Event) or kind.__hw__.entity != self._behaviour.entity:
            raise Misuse(
                f"{kind.__name__} is no message of {self._behaviour.entity!r}, which is what the scenario is of"
            )

    def _refuse_drift(self, entity_id: str, history: Sequence[Recorded[Any]]) -> None:
        now = self.state(entity_id)
        if now is None:
            return
        encode, folded = self._behaviour.encode_state, self._behaviour.fold(entity_id, history)
        if encode(folded) != encode(now):
            raise AssertionError(
                f"{self._aggregate.__name__} {entity_id!r} is in another state when its events are read back:\n"
                f"    before: {now!r}\n    after:  {folded!r}\n"
                "an @evolves method uses something that does not travel in the events"
            )


class PlayedProcess:
    """A process, and the commands that it sends.

    On a log, the topics that its commands go to have to be there before; elsewhere their owners' apps make them.
    So the scenario is played in memory first, which tells where the commands will go.
    """

    def __init__(self, process: type[Process], stage: Stage) -> None:
        self._clock, self._shape = stage.clock, shape_of(process)
        self._at = stage.perform(App("scenario", processes=[process], partitions=1), "processes")
        self._twin: PlayedProcess | None = None
        if stage.place is not None:
            rehearsing = stage.keep(closing(Stage(clock=VirtualEnvironment(stage.clock.now()))))
            self._twin = PlayedProcess(process, rehearsing)
        self._writer = EventWriter(stage.clock, self._at.topology.partition)
        self._codecs = command_codecs(process)
        self._read: dict[TopicPartition, int] = {}

    def tell(self, events: Iterable[Happened]) -> list[Command]:
        """The commands with which it answers, in the order in which it sends them. Raises: Stopped."""
        events = [Happened(event, time or self._clock.now()) for event, time in events]
        if self._twin is not None:
            self._make_topics(self._twin, events)
        found: list[Record] = []
        for happened in events:
            self._at.log.append(self._writer.records([happened]))
            self._at.catch_up()
            found += sorted(self._new_commands(), key=place_among_its_own)
        return [self._decode(record) for record in found]

    def state(self, key: str | None = None) -> Process | None:
        """The state of one run of the process, as its owner keeps it; None: there is none.

        Arguments: key: which (None: the one that changed last).
        """
        log, topic = self._at.log, state_topic(self._shape.entity)
        partitions = [TopicPartition(topic, p) for p in range(log.topics([topic])[topic].partitions)]
        ends = log.ends(partitions, committed=False)
        records = read_between(log, {tp: 0 for tp, end in ends.items() if end}, ends)
        states = [decode_value(record.value) for record in records if record.value is not None]
        found = [one for one in states if key is None or one.id == key]
        return msgspec.json.decode(found[-1].state, type=self._shape.process) if found else None

    def _make_topics(self, twin: PlayedProcess, events: Sequence[Happened]) -> None:
        try:
            entities = {str(type(command).__hw__.entity) for command in twin.tell(events)}
        except Stopped:
            return  # it will stop on the log as well, and there it counts
        self._at.topology.ensure(sorted(entities), partitions=1)

    def _new_commands(self) -> list[Record]:
        """What has come to the topics of command takers since they were last looked at."""
        log = self._at.log
        there = log.topics([commands_topic(entity) for entity in self._codecs])
        partitions = [TopicPartition(topic, p) for topic, found in there.items() for p in range(found.partitions)]
        ends = log.ends(partitions, committed=False)
        start = {tp: self._read.get(tp, 0) for tp in partitions if self._read.get(tp, 0) < ends[tp]}
        self._read.update(ends)
        return read_between(log, start, ends)

    def _decode(self, record: Record) -> Command:
        entity = record.topic.removesuffix(commands_topic(""))
        found = self._codecs[entity].decode(record.value)
        if isinstance(found, Unreadable):
            raise Stopped(f"a command that it sent to {entity!r} cannot be read: {found.reason}")
        return found


def place_among_its_own(record: Record) -> int:
    """Its index among the commands that answer one event."""
    return parse_source(dict(record.headers)["hw_source"].decode()).index


def read_between(log: Log, start: dict[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> list[Record]:
    """All records from `start` up to the ends."""
    found: list[Record] = []
    missing = set(start)
    if missing:
        with closing(log.reader()) as reader:
            reader.assign(start)
            while missing:
                batch = reader.read(1000, READ_S)
                found += batch.records
                missing -= {tp for tp, reached in batch.reached.items() if reached >= ends[tp]}
    return found


def command_codecs(process: type[Process]) -> dict[str, JsonCodec[Command]]:
    """Entity type -> what reads its commands, of all classes that are imported. Where two have one wire name (two
    test modules), the one that the process's own code sees is meant."""
    seen: set[int] = set()
    for reaction in shape_of(process).reactions.values():
        function = reaction.function
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        seen |= {id(value) for value in (*function.__globals__.values(), *cells)}
    classes: dict[str, dict[str, type[Command]]] = {}
    for family in Command.__subclasses__():
        if family.__hw__.family and family.__hw__.entity:
            known = classes.setdefault(family.__hw__.entity, {})
            for member in members_of(family):
                if id(member) in seen or member.__hw__.wire_name not in known:
                    known[member.__hw__.wire_name] = cast("type[Command]", member)
    return {entity: JsonCodec(known.values()) for entity, known in classes.items() if known}


class PlayedProjection(Generic[P]):
    """The table of a projection. Arguments: beside: other projections of its group."""

    def __init__(self, projection: type[P], beside: Sequence[type[Projection]], stage: Stage) -> None:
        self._projection = projection
        self._at = stage.perform(App("scenario", projections=[projection, *beside], partitions=1), "projections")
        self._writer = EventWriter(stage.clock, self._at.topology.partition)

    def apply(self, events: Iterable[Happened]) -> None:
        """Raises: Stopped: at an event that it cannot apply. Events of one entity type are applied in batches, as
        far as they follow each other; between entity types there is no order but in time, so each batch is
        waited for."""
        for _, batch in groupby(self._writer.records(list(events)), key=lambda record: record.topic):
            self._at.log.append(list(batch))
            self._at.catch_up()

    def rows(self) -> list[P]:
        """All rows, in the order of their keys."""
        return self._at.shop.rows(self._projection)
