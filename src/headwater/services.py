"""The parts of an app that do work in this process: their threads, their start and their end."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

from headwater.client.read_models import ReadModels
from headwater.entities.behaviour import Behaviour
from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology, commands_topic, events_topic, state_topic
from headwater.owners.deciding import Decider
from headwater.owners.giving_way import owner_name, refuse_beside_newer
from headwater.owners.keeping import AS_USUAL, Checkpoints, InMemory, Keeper, Keeping
from headwater.owners.looking_back import LookingBack
from headwater.owners.owner import Owner
from headwater.owners.steps import StepMaker
from headwater.processes.declare import ProcessShape
from headwater.processes.forwarding import Forwarder
from headwater.processes.reacting import Reactor
from headwater.readers.loop import ReadingLoop, Status
from headwater.readers.watching import Watch

Part = Literal["commands", "projections", "processes"]


class Parts(Protocol):
    """What is to run: an `App`, as far as it matters here."""

    name: str
    partitions: int
    behaviours: dict[type, Behaviour[Any]]
    processes: tuple[ProcessShape, ...]


class Services:
    """Everything that runs for an app in this process. `owners`: by entity type."""

    def __init__(self, log: Log, topology: Topology) -> None:
        self._log, self._topology = log, topology
        self.owners: dict[str, Owner] = {}
        self._loops: list[ReadingLoop] = []
        self._owner_loops: dict[str, ReadingLoop] = {}
        self._forwarders: list[Forwarder] = []
        self._watch: Watch | None = None

    @property
    def held(self) -> Mapping[TopicPartition, str]:
        """Partitions that are read here and in which a transaction has been open for too long, in words."""
        return {} if self._watch is None else self._watch.alerts

    @property
    def loops(self) -> Sequence[ReadingLoop]:
        """Everything that reads."""
        return tuple(self._loops)

    @property
    def statuses(self) -> list[Status]:
        return [loop.status for loop in self._loops]

    def add_owner(self, owner: Owner, loop: ReadingLoop) -> None:
        self.owners[owner.entity] = owner
        self._owner_loops[owner.entity] = loop
        self._loops.append(loop)

    def add_forwarder(self, forwarder: Forwarder, loop: ReadingLoop) -> None:
        self._forwarders.append(forwarder)
        self._loops.append(loop)

    def add_loop(self, loop: ReadingLoop) -> None:
        self._loops.append(loop)

    def start(self) -> None:
        for owner in self.owners.values():
            owner.start()
        for loop in self._loops:
            loop.start()

    def watch(self, environment: Environment) -> None:
        """Begins to look for transactions that are left open in what is read here, where a log can have such."""
        timeout_s = self._log.transaction_timeout_s
        if timeout_s is not None:
            topics = {topic for loop in self._loops for topic in loop.topics}
            topics |= {topic for entity in self.owners for topic in (events_topic(entity), state_topic(entity))}
            self._watch = Watch(self._log, topics, timeout_s, environment)
            self._watch.start()

    def wait_ready(self, timeout_s: float, pause: threading.Event) -> None:
        """Waits until every partition of the owned entity types is owned, here or elsewhere.

        Raises: Unavailable: that did not happen in time, or an owner failed (with its failure).
        """
        waited = 0.0
        folded = 0
        missing = dict(self._owner_loops)
        while missing:
            so_far = sum(owner.ahead.folded for owner in self.owners.values())
            if so_far != folded:  # all states are made anew, however long that takes
                waited, folded = 0.0, so_far
            for entity, loop in list(missing.items()):
                if not loop.status.alive:
                    raise Unavailable(f"the owner of {entity!r} stopped: {loop.status.last_failure}")
                if self._owned(entity, loop.status):
                    del missing[entity]
            if missing:
                if waited > timeout_s:
                    entity, loop = next(iter(missing.items()))
                    why = loop.status.last_failure or "no answer from the group"
                    raise Unavailable(f"the owner of {entity!r} is not ready after {timeout_s:g} s: {why}")
                pause.wait(0.005)
                waited += 0.005

    def stop(self) -> None:
        """Stops all parts after what they are at. What callers left in queues is answered first."""
        for loop in self._loops:
            loop.ask_to_stop()
        for loop in self._loops:
            loop.stop()
        if self._watch is not None:
            self._watch.stop()
        for owner in self.owners.values():
            owner.close()
        for forwarder in self._forwarders:
            forwarder.close()

    def _owned(self, entity: str, status: Status) -> bool:
        wanted = set(self._topology.all_of(commands_topic(entity), entity))
        if wanted <= status.owned:
            return True
        if status.state != "running":
            return False
        group = self.owners[entity].group
        owned: set[TopicPartition] = set()
        for description in self._log.groups([group]):
            owned = {tp for partitions in description.members.values() for tp in partitions}
        return wanted <= owned


def start_services(
    app: Parts,
    log: Log,
    topology: Topology,
    models: ReadModels,
    parts: Sequence[Part],
    process: str,
    environment: Environment,
    keeping: Keeping,
) -> Services:
    """As `make_services`, and starts the parts and the watch over them."""
    services = make_services(app, log, topology, models, parts, process, environment, keeping)
    services.start()
    services.watch(environment)
    return services


def make_services(
    app: Parts,
    log: Log,
    topology: Topology,
    models: ReadModels,
    parts: Sequence[Part],
    process: str,
    environment: Environment,
    keeping: Keeping = AS_USUAL,
) -> Services:
    """Makes the topics of the app where they are missing, and the parts, which are not started yet.

    Raises: Misuse, Unavailable: the topics are not as they were made, or newer code owns the entities.
    """
    families = {b.entity for b in app.behaviours.values()}
    listened = {entity for shape in app.processes for entity in shape.families}
    listened |= models.families()
    topology.ensure(sorted(families), partitions=app.partitions)
    topology.ensure_events(sorted(listened - families), partitions=app.partitions)
    topology.ensure([shape.entity for shape in app.processes], partitions=app.partitions, with_events=False)
    services = Services(log, topology)
    owners = len(app.behaviours) * ("commands" in parts) + len(app.processes) * ("processes" in parts)
    keeper = partial(_keeper_for, log, topology, keeping, owners)
    if "commands" in parts:
        for behaviour in app.behaviours.values():
            entity = behaviour.entity
            decider = Decider(behaviour, app.name, environment.new_id, LookingBack(log, entity, environment))
            _add_owner(services, log, topology, decider, entity, process, environment, True, keeper(decider))
    if "processes" in parts:
        for shape in app.processes:
            reactor = Reactor(shape, topology, app.name)
            _add_owner(services, log, topology, reactor, shape.entity, process, environment, False, keeper(reactor))
            forwarder = Forwarder(log, topology, shape, name=f"{shape.entity}-forward-{process}")
            loop = ReadingLoop(
                log,
                forwarder.group,
                forwarder.topics,
                forwarder,
                name=f"{shape.entity}-forward",
                environment=environment,
            )
            services.add_forwarder(forwarder, loop)
    if "projections" in parts:
        for loop in models.loops(process):
            services.add_loop(loop)
    return services


def _add_owner(
    services: Services,
    log: Log,
    topology: Topology,
    maker: StepMaker,
    entity: str,
    process: str,
    environment: Environment,
    with_events: bool,
    keeper: Keeper,
) -> None:
    refuse_beside_newer(log, entity, maker.schema)
    owner = Owner(
        log,
        maker,
        topology.partitions(entity),
        name=f"{entity}-owners-{process}",
        environment=environment,
        with_events=with_events,
        keeper=keeper,
    )
    loop = ReadingLoop(
        log,
        owner.group,
        [commands_topic(entity)],
        owner,
        name=owner_name(entity, maker.schema),
        prepare=owner.ahead.prepare if with_events else lambda stopped: None,
        environment=environment,
    )
    services.add_owner(owner, loop)


def _keeper_for(log: Log, topology: Topology, keeping: Keeping, owners: int, maker: StepMaker) -> Keeper:
    memory_bytes = (keeping.memory_mb << 20) // owners
    if log.cache is None:
        return InMemory(memory_bytes)
    count = topology.partitions(maker.entity)
    return Checkpoints(
        log, maker.entity, count, maker.schema, log.cache, memory_bytes=memory_bytes, standby=keeping.standby
    )
