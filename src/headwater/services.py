"""The parts of an app that do work in this process: their threads, their start and their end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, Protocol

from headwater.client.read_models import ReadModels
from headwater.entities.behaviour import Behaviour
from headwater.entities.code import code_of
from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.failures.held import HeldRecord
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology, commands_topic, events_topic, owners_group, state_topic
from headwater.owners.deciding import Decider
from headwater.owners.giving_way import owner_name, refuse_beside_newer
from headwater.owners.keeping import AS_USUAL, Checkpoints, InMemory, Keeper, Keeping
from headwater.owners.looking_back import LookingBack
from headwater.owners.owner import Owner
from headwater.owners.steps import StepMaker
from headwater.processes.declare import ProcessShape
from headwater.processes.forwarding import Forwarder
from headwater.processes.reacting import Reactor
from headwater.projections.divided import Divided
from headwater.readers.held_topic import HeldTopic
from headwater.readers.loop import ReadingLoop, Status
from headwater.readers.relaying import Relaying
from headwater.readers.reporting import Reporting
from headwater.readers.watching import Watch
from headwater.schemas.topics import Codecs
from headwater.stores.port import PlacedStore

Part = Literal["commands", "projections", "views", "processes"]


class Parts(Protocol):
    """What is to run: an `App`, as far as it matters here."""

    name: str
    partitions: int
    behaviours: dict[type, Behaviour[Any]]
    processes: tuple[ProcessShape, ...]
    codecs: Codecs


class Services:
    """Everything that runs for an app in this process. `owners`: by entity type."""

    def __init__(self, log: Log, topology: Topology, models: ReadModels) -> None:
        self._log, self._topology, self._models = log, topology, models
        self.owners: dict[str, Owner] = {}
        self._loops: list[ReadingLoop] = []
        self._owner_loops: dict[str, ReadingLoop] = {}
        self._relays: list[Relaying] = []
        self._watch: Watch | None = None
        self._reporting: Reporting | None = None
        self._divided: Divided | None = None

    @property
    def notices(self) -> list[str]:
        """What the readers have noticed that is no failure, in words."""
        return self._models.notices + [text for one in self._relays for text in one.notices]

    @property
    def dead_letters(self) -> list[HeldRecord]:
        """What processes could not react to, and streams not write, in the partitions that are read here."""
        readers: list[Owner | Relaying] = [*self.owners.values(), *self._relays]
        return [row for reader in readers for row in reader.dead_letters]

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

    def add_relay(self, relaying: Relaying, loop: ReadingLoop) -> None:
        self._relays.append(relaying)
        self._loops.append(loop)

    def add_loop(self, loop: ReadingLoop) -> None:
        self._loops.append(loop)

    def start(self) -> None:
        for owner in self.owners.values():
            owner.start()
        for loop in self._loops:
            loop.start()

    def watch(self, environment: Environment) -> None:
        """Begins to look whether all readers get on, whether others keep read models in another store, and, where a log
        can have such, for transactions that are left open in what is read here."""
        tellings = [owner.telling for owner in self.owners.values()]
        store = self._models.store
        place = store.place if isinstance(store, PlacedStore) else None
        self._reporting = Reporting(self._log, self._loops, tellings, environment, store=place)
        self._reporting.start()
        running = {loop.group for loop in self._loops}
        models = [model for model in self._models.models if model.runner in running]
        if models:
            self._divided = Divided(self._log, self._models.store, models, environment)
            self._divided.start()
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
        if self._reporting is not None:
            self._reporting.stop()
        if self._divided is not None:
            self._divided.stop()
        if self._watch is not None:
            self._watch.stop()
        for owner in self.owners.values():
            owner.close()
        for relaying in self._relays:
            relaying.close()

    def _owned(self, entity: str, status: Status) -> bool:
        wanted = set(self._topology.all_of(commands_topic(entity), entity))
        if wanted <= status.owned:
            # Not before commands can be handed over here: what travels to a partition that is stopped has no answer.
            return all(self.owners[entity].owns(tp.partition) for tp in wanted)
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
    services = Services(log, topology, models)
    owners = len(app.behaviours) * ("commands" in parts) + len(app.processes) * ("processes" in parts)
    keeper = partial(_keeper_for, log, topology, keeping, owners)
    if "commands" in parts:
        for behaviour in app.behaviours.values():
            entity = behaviour.entity
            decider = Decider(behaviour, app.name, environment.new_id, LookingBack(log, entity, environment))
            _add_owner(services, log, topology, decider, entity, process, environment, True, keeper(decider))
    if "processes" in parts:
        for shape in app.processes:
            reactor = Reactor(shape, topology, app.name, app.codecs)
            held = partial(_held_of, shape, log, environment)
            mine = held(owners_group(shape.entity), [commands_topic(shape.entity)])
            _add_owner(
                services, log, topology, reactor, shape.entity, process, environment, False, keeper(reactor), mine
            )
            theirs = held(shape.entity, [events_topic(entity) for entity in shape.families])
            name = f"{shape.entity}-forward-{process}"
            forwarder = Forwarder(
                log, topology, shape, name=name, held=theirs, environment=environment, codecs=app.codecs
            )
            loop = ReadingLoop(
                log,
                forwarder.group,
                forwarder.topics,
                forwarder.relaying,
                name=f"{shape.entity}-forward",
                followed_as=f"forward to {shape.entity}",
                environment=environment,
            )
            services.add_relay(forwarder.relaying, loop)
    if "projections" in parts:
        for loop in models.loops(process):
            services.add_loop(loop)
    if "views" in parts:
        for loop in models.view_loops(process):
            services.add_loop(loop)
        for relaying, loop in models.streams(process):
            services.add_relay(relaying, loop)
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
    held: HeldTopic | None = None,
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
        held=held,
    )
    loop = ReadingLoop(
        log,
        owner.group,
        [commands_topic(entity)],
        owner,
        name=owner_name(entity, maker.schema),
        prepare=owner.ahead.prepare if with_events else lambda stopped: None,
        held=held,
        environment=environment,
    )
    services.add_owner(owner, loop)


def _held_of(
    shape: ProcessShape, log: Log, environment: Environment, group: str, sources: Sequence[str]
) -> HeldTopic | None:
    """Where a process sets aside what it cannot react to; None: it stops there."""
    if shape.on_failure.stops:
        return None
    code = code_of([reaction.function for reaction in shape.reactions.values()])
    return HeldTopic(log, group, shape.on_failure, code, sources, environment)


def _keeper_for(log: Log, topology: Topology, keeping: Keeping, owners: int, maker: StepMaker) -> Keeper:
    memory_bytes = (keeping.memory_mb << 20) // owners
    if log.cache is None:
        return InMemory(memory_bytes)
    count = topology.partitions(maker.entity)
    return Checkpoints(
        log, maker.entity, count, maker.schema, log.cache, memory_bytes=memory_bytes, standby=keeping.standby
    )
