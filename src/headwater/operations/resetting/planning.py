"""From what an operator asks for to what would be done, which is then done or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headwater.environment import SYSTEM, Environment
from headwater.errors import Misuse
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology, owners_group
from headwater.operations.resetting.moves import Move, moves_of
from headwater.operations.resetting.processes import ProcessGroup
from headwater.operations.resetting.scenarios import Bounds, Listed, Scenario, clamped, new_positions
from headwater.operations.resetting.targets import Consequence, ForeignGroup, OwnersGroup, ReadModelGroup, Target
from headwater.processes.declare import ProcessShape
from headwater.projections.read_model import ReadModel
from headwater.readers.foreign import group_now
from headwater.schemas.topics import PLAIN, Codecs
from headwater.stores.port import Store


@dataclass(frozen=True, slots=True)
class Readers:
    """What an app reads, as far as an app is named.

    Arguments: app: its name (None: no app is named); models; processes; store: opens the store of the read models;
    codecs: of the app.
    """

    app: str | None = None
    models: Sequence[ReadModel] = ()
    processes: Sequence[ProcessShape] = ()
    store: Callable[[], Store] | None = None
    codecs: Codecs = PLAIN

    @property
    def groups(self) -> list[str]:
        return sorted([model.runner for model in self.models] + [shape.entity for shape in self.processes])


@dataclass(frozen=True, slots=True)
class Scope:
    """Arguments: topics: by name, the partitions that are meant (None: all); everything: whatever the group reads."""

    topics: Mapping[str, Sequence[int] | None] = field(default_factory=dict)
    everything: bool = False


class Plan(NamedTuple):
    """What would be done. Arguments: taken: where the log has less than was asked for, in words; consequences."""

    target: Target
    moves: list[Move]
    taken: list[str]
    consequences: list[Consequence]

    @property
    def words(self) -> list[str]:
        """What would come of it."""
        return self.taken + [one.would for one in self.consequences]

    @property
    def done(self) -> list[str]:
        """What has come of it."""
        return self.taken + [one.did for one in self.consequences]


class Unnamed(Misuse):
    """Which app a group belongs to must be known first."""


def target_of(
    log: Log, group: str, readers: Readers, *, repeat_effects: bool = False, environment: Environment = SYSTEM
) -> Target:
    """What a group is.

    Raises: Unnamed: headwater keeps its positions, and no app is named. Misuse: the app has no such group.
    """
    topology = Topology.read(log)
    for entity in topology.entities():
        if group == owners_group(entity):
            return OwnersGroup(log, group, entity)
    for model in readers.models:
        if group == model.runner:
            assert readers.store is not None
            return ReadModelGroup(log, model, readers.store(), environment)
    for shape in readers.processes:
        if group == shape.entity:
            return ProcessGroup(log, shape, topology, repeat_effects, environment, readers.codecs)
    there = group_now(log, group)
    if not log.embedded and not there.positions.keys() - there.foreign:
        return ForeignGroup(log, group)
    if readers.app is None:
        raise Unnamed(f"headwater keeps the positions of group {group}; what belongs to them, its app says: name it")
    raise Misuse(f"app {readers.app!r} has no group {group!r}; it has {', '.join(readers.groups) or 'none'}")


def plan(log: Log, target: Target, scope: Scope, scenario: Scenario, environment: Environment = SYSTEM) -> Plan:
    """Looks at the log, and changes nothing.

    Raises: Misuse: there are no such partitions, or their positions cannot be these. Unavailable.
    """
    partitions = _partitions(log, target, scope, scenario)
    if not isinstance(target, ForeignGroup):
        _refuse_unread(target, partitions)
    bounds, current = Bounds.of(log, partitions), target.positions()
    wanted = new_positions(log, target.group, current, bounds, partitions, scenario)
    new, taken = clamped(wanted, bounds)
    moves = moves_of(log, target.group, current, new, bounds, environment)
    return Plan(target, moves, taken, target.consequences(moves))


def carry_out(plans: Sequence[Plan]) -> None:
    """Does all of it, or nothing if one cannot be done now.

    Raises: StillRead, NoConsent. Unavailable: those before were done.
    """
    for one in plans:
        one.target.check(one.moves)
    for one in plans:
        one.target.carry_out(one.moves)


def _partitions(log: Log, target: Target, scope: Scope, scenario: Scenario) -> list[TopicPartition]:
    if isinstance(scenario, Listed):
        wanted = list(scenario.positions[target.group])
        _refuse_unknown(log, wanted)
        return wanted
    if scope.everything:
        wanted = target.partitions()
        if not wanted:
            raise Misuse(f"group {target.group} has no positions: name the topics, --topic NAME")
        return wanted
    if not scope.topics:
        raise Misuse("which topics are meant? --topic NAME (or NAME:0,2 for some of its partitions), or --all-topics")
    there = log.topics(scope.topics.keys())
    wanted = []
    for name, numbers in scope.topics.items():
        if numbers is None and name in there:
            numbers = range(there[name].partitions)
        wanted += [TopicPartition(name, number) for number in numbers or (0,)]
    _refuse_unknown(log, wanted)
    return wanted


def _refuse_unread(target: Target, wanted: Sequence[TopicPartition]) -> None:
    read = target.partitions()
    for tp in wanted:
        if tp not in read:
            topics = ", ".join(sorted({topic for topic, _ in read})) or "nothing yet"
            raise Misuse(f"group {target.group} does not read {tp.topic}; it reads {topics}")


def _refuse_unknown(log: Log, wanted: Sequence[TopicPartition]) -> None:
    there = log.topics({topic for topic, _ in wanted})
    for topic, partition in wanted:
        if topic not in there:
            raise Misuse(f"there is no topic {topic!r}")
        if not 0 <= partition < there[topic].partitions:
            raise Misuse(f"topic {topic!r} has no partition {partition}: it has {there[topic].partitions}, from 0 on")
