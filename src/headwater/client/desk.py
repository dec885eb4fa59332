"""The one logic behind `Shop` and `AsyncShop`: how commands are made ready, and how entities are read.

Which way a command goes is the dispatcher's. Everything that is read of an entity afterwards waits until the log
shows what this client was answered: a reply is proof of the commit, not of its visibility.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from headwater.client.arguments import refuse_class, refuse_id, refuse_moment, refuse_sending
from headwater.client.dispatching import Dispatcher, Parcel
from headwater.client.receipts import Appending, Pending, Sending, events_partition
from headwater.client.replaying import replay
from headwater.client.stopped import why_stopped
from headwater.client.travelling import Post
from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour
from headwater.entities.travel import Moment, as_known_at, as_of, at_version, version_of
from headwater.environment import Environment
from headwater.errors import HeadwaterError, Misuse, NotFound, Unavailable, Unknown
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology, commands_topic, events_topic
from headwater.messages.builtin import Append, Get, Reverted
from headwater.messages.declare import Command, Event, key_of
from headwater.messages.envelope import Recorded
from headwater.messages.json_codec import JsonCodec
from headwater.owners.arriving import Arrived, NotMine
from headwater.owners.limits import ENVELOPE_CHARACTERS, too_long
from headwater.owners.owner import Owner
from headwater.owners.replies import Reply
from headwater.readers.spans import wait_visible

A = TypeVar("A", bound=Aggregate[Any])


class Desk:
    """Sends commands and reads entities.

    Arguments: log, topology; behaviours: by aggregate class; owners: those of this process, by entity type;
    post: for commands that travel; source: the app's name.
    """

    def __init__(
        self,
        log: Log,
        topology: Topology,
        behaviours: Mapping[type, Behaviour[Any]],
        owners: Mapping[str, Owner],
        post: Post,
        *,
        source: str,
        environment: Environment,
    ) -> None:
        self.log, self.topology, self.behaviours, self.environment = log, topology, behaviours, environment
        self._owners, self._post, self._tracing = owners, post, environment.tracing
        self._dispatcher = Dispatcher(log, owners, post, source)
        self._codecs: dict[type, JsonCodec[Any]] = {}
        self._seen: dict[TopicPartition, int] = {}
        self._seen_lock = threading.Lock()

    # --- commands

    def parcel(self, item: Command | Sending | Appending) -> Parcel:
        """One of many, whatever it is. Raises: Misuse: as `pack` and `append`."""
        if isinstance(item, Appending):
            return self.append(
                self.behaviour(item.aggregate),
                item.entity_id,
                item.events,
                command_id=item.command_id,
                expected_version=item.expected_version,
                time=item.time,
                actor=item.actor,
                source=item.source,
            )
        return self.pack(item if isinstance(item, Sending) else Sending(item))

    def pack(self, sending: Sending, target: tuple[str, str] | None = None) -> Parcel:
        """Encodes a command. `target`: entity type and id, for the commands that any entity understands.

        Raises: Misuse: not a command, a naive time, or something of a wrong type.
        """
        refuse_sending(sending)
        command = sending.command
        entity, entity_id = target or (str(type(command).__hw__.entity), key_of(command))
        key = entity_id.encode()
        if (long := len(key) + len(sending.actor or "")) > ENVELOPE_CHARACTERS:
            raise Misuse(f"{type(command).__name__}: {too_long(long)}")
        command_id = sending.command_id or self.environment.new_id()
        pending = Pending(command_id)
        arrived = Arrived(
            command_id,
            key,
            self._codec(type(command)).encode(command, None),
            self.topology.partition(entity, key),
            expected=sending.expected_version,
            time=sending.time,
            actor=sending.actor,
            source=sending.source,
        )
        if self._tracing is not None:
            attributes = {
                "messaging.operation.type": "send",
                "messaging.destination.name": commands_topic(entity),
                "messaging.message.id": command_id,
            }
            pending.span = self._tracing.begin(f"send {type(command).__hw__.wire_name}", "producer", None, attributes)
            arrived.traceparent = pending.span.traceparent
        return Parcel(entity, arrived, pending, sending)

    def dispatch(self, parcels: Sequence[Parcel]) -> None:
        """See `Dispatcher.dispatch`."""
        self._dispatcher.dispatch(parcels)

    def hand_over(self, parcel: Parcel) -> None:
        """See `Dispatcher.hand_over`."""
        self._dispatcher.hand_over(parcel)

    def finish(self, pending: Pending, waited_s: float) -> Reply:
        """As `outcome`. Raises: what the command was answered with."""
        outcome = self.outcome(pending, waited_s)
        if isinstance(outcome, HeadwaterError):
            try:
                raise outcome
            finally:
                del outcome  # it refers to this frame, which would refer to it: work for the garbage collector
        return outcome

    def outcome(self, pending: Pending, waited_s: float) -> Reply | HeadwaterError:
        """The reply of a pending that was waited for, or what the command was answered with instead: Unknown where
        there is no answer."""
        self.give_up(pending, waited_s)
        outcome = pending.outcome()
        if not isinstance(outcome, HeadwaterError):
            self._note(outcome)
        return outcome

    def give_up(self, pending: Pending, waited_s: float) -> None:
        """Waits no longer: without an answer up to now, what became of the command is Unknown."""
        if pending.result is None:
            self._post.forget(pending)
            pending.settle(Unknown(pending.command_id, waited_s))

    def check_owner(self, entity: str) -> None:
        """Raises: Unavailable: nobody owns the entity type."""
        if entity not in self._owners:
            self._post.check_owner(entity)

    def look_after(self, parcel: Parcel, waited_s: float) -> None:
        """Of one that has been without an answer for long: where none is to be expected soon, it is answered with why.
        A question, which changes nothing, with Unavailable. A command with Unknown: it is on its way to the log, or
        there, and the next owner carries it out."""
        pending, why = parcel.pending, self._why_unanswered(parcel)
        if why is None:
            return
        self._post.forget(pending)
        if isinstance(parcel.sending.command, Get):
            pending.settle(Unavailable(why))
        else:
            pending.settle(Unknown(pending.command_id, waited_s, why))

    def close(self) -> None:
        """Sends no more. Who still waits is answered: with Unknown if the command was sent, else with Unavailable."""
        self._dispatcher.close()
        self._post.close()

    # --- entities

    def behaviour(self, aggregate: type[A]) -> Behaviour[A]:
        """Raises: Misuse: the app does not know the aggregate, or it is none."""
        refuse_class(aggregate)
        found = self.behaviours.get(aggregate)
        if found is None:
            raise Misuse(f"{aggregate.__name__} is not among the app's aggregates; add it to hw.App(aggregates=[...])")
        return found

    def behaviour_of(self, entity: str) -> Behaviour[Any]:
        """By entity type, for callers that know names only. Raises: Misuse: no aggregate of that name."""
        for behaviour in self.behaviours.values():
            if behaviour.entity == entity:
                return behaviour
        known = ", ".join(sorted(b.entity for b in self.behaviours.values())) or "none"
        raise Misuse(f"the app has no entity type {entity!r}; it has: {known}")

    def history(self, behaviour: Behaviour[Any], entity_id: str) -> list[Recorded[Any]]:
        """All events of an entity, in order. Raises: BadData: a record that cannot be read. Misuse: the id is none."""
        refuse_id(entity_id)
        key = entity_id.encode()
        partition = TopicPartition(events_topic(behaviour.entity), self.topology.partition(behaviour.entity, key))
        self._wait_visible(partition)
        return behaviour.read(self.log.keyed(partition, key))

    def past(self, behaviour: Behaviour[A], entity_id: str, moment: Moment) -> A:
        """The state at a moment of the past, its `version` 0 if it is none of the entity's. Raises: NotFound: nothing
        had happened by then. Misuse: the moment or the id is none."""
        refuse_moment(moment)
        history = everything = self.history(behaviour, entity_id)
        if moment.as_of is not None:
            history = as_of(history, moment.as_of)
        if moment.known_at is not None:
            history = as_known_at(history, moment.known_at)
        if moment.at_version is not None:
            history = at_version(history, moment.at_version)
        if not history:
            raise NotFound(behaviour.entity, entity_id)
        state = behaviour.fold(entity_id, history)
        state.version = version_of(everything, history)
        return state

    def replay(self, behaviour: Behaviour[A]) -> dict[str, A]:
        """All entities, folded anew from all events. Raises: BadData, Unavailable."""
        partitions = self.topology.all_of(events_topic(behaviour.entity), behaviour.entity)
        for partition in partitions:
            self._wait_visible(partition)
        return replay(self.log, behaviour, partitions, self.environment)

    def get(self, behaviour: Behaviour[Any], entity_id: str, outcome_of: str | None = None) -> Parcel:
        """The question for an entity's state: answered by its owner, after a fenced commit. Raises: Misuse: the id is
        none. Unavailable: its owner is in this process, and has left its partition."""
        refuse_id(entity_id)
        entity = behaviour.entity
        why = self._stopped_here(entity, self.topology.partition(entity, entity_id.encode()))
        if why is not None:
            raise Unavailable(why)
        return self.pack(Sending(Get(outcome_of=outcome_of)), target=(entity, entity_id))

    def append(self, behaviour: Behaviour[Any], entity_id: str, events: Iterable[Event], **rest: Any) -> Parcel:
        """Events to be appended as they are, by the entity's owner. Raises: Misuse: an event of another entity, or what
        is none."""
        refuse_id(entity_id)
        raws = []
        for event in events:
            if not isinstance(event, Event):
                raise Misuse(f"append takes events, not {type(event).__name__}")
            if type(event) is not Reverted and key_of(event) != entity_id:
                raise Misuse(f"{type(event).__name__} carries the key {key_of(event)!r}, not {entity_id!r}")
            raws.append(msgspec.Raw(behaviour.json.encode(event, None)))
        return self.pack(Sending(Append(events=raws), **rest), target=(behaviour.entity, entity_id))

    # --- inside

    def _why_unanswered(self, parcel: Parcel) -> str | None:
        """Nobody owns the entity type, or the log cannot be asked who does; or a question's partition is stopped."""
        entity, partition = parcel.entity, parcel.arrived.partition
        try:
            self.check_owner(entity)
            if not isinstance(parcel.sending.command, Get):
                return None
            why = self._stopped_here(entity, partition)
            return why or why_stopped(self.log, entity, partition, self.topology.partitions(entity))
        except HeadwaterError as error:
            return str(error)

    def _stopped_here(self, entity: str, partition: int) -> str | None:
        """Why an owner in this process does not go on with a partition that it has."""
        owner = self._owners.get(entity)
        why = None if owner is None else owner.failures.get(partition)
        return None if why is None else str(NotMine(entity, partition, why))

    def _codec(self, command: type[Command]) -> JsonCodec[Any]:
        codec = self._codecs.get(command)
        if codec is None:
            codec = self._codecs[command] = JsonCodec(
                [command], type_field="commandType", version_field="commandVersion"
            )
        return codec

    def _note(self, reply: Reply) -> None:
        """Remembers how far the events must be readable for this client to see what it was answered."""
        tp = events_partition(reply.entity, reply.partition)
        if self._seen.get(tp, 0) < reply.next_offset:
            with self._seen_lock:
                self._seen[tp] = max(reply.next_offset, self._seen.get(tp, 0))

    def _wait_visible(self, partition: TopicPartition) -> None:
        wanted = self._seen.get(partition, 0)
        if wanted:
            wait_visible(self.log, partition, wanted, self.environment)
