"""What is unsafe about a log and the topics of its entity types, each with what to do. Changes nothing.

    record in `headwater-meta` ─► what should be ─┐
    topics, begins, groups ─────► what is ────────┼─► findings
    `Log.examine` (its own health) ───────────────┘

What only one kind of log can know stands beside that log (`log.kafka.judging`, `log.sqlite.examining`).
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from headwater.environment import SYSTEM, Environment
from headwater.errors import Unavailable, counted
from headwater.log.findings import Finding, or_fine
from headwater.log.port import Log, TopicDescription, TopicPartition, TopicSpec
from headwater.log.topology import (
    ANOTHER_LOG,
    META_SPEC,
    META_TOPIC,
    Topology,
    beside_archive,
    changes,
    commands_topic,
    events_topic,
    owners_group,
    replies_topic,
    should_be,
    state_topic,
)
from headwater.operations.clocks import WRONG_S, clocks
from headwater.operations.groups import group_lags
from headwater.operations.stopped import waiting
from headwater.projections.divided import REMEDY, Divided, words
from headwater.projections.read_model import ReadModel
from headwater.stores.port import Store

AGAIN_S = 3.0

CLOCKS = f"within {WRONG_S:g} s of the brokers', as the newest states tell"


def examine(log: Log, environment: Environment = SYSTEM) -> list[Finding]:
    """Looks at everything. Takes a second more where a transaction is open, and longer where something does not answer:
    what cannot be looked at is `unknown`, so that the rest is told.

    Arguments: environment: this machine's clock. Raises: Unavailable: the log does not answer at all.
    """
    there, topology = log.topics(), Topology(log, {})
    recorded = _look("record", META_TOPIC, "every entity type is as recorded", lambda: _changed(topology, log, there))
    specs, entities = _specs(topology, there), topology.entities()
    what = counted(len(entities), "entity type")
    return [
        *recorded,
        *_look("partition counts", what, "the topics of each have the same count", lambda: _unequal(there, entities)),
        *_look(
            "history", what, "every event is there from the first on", lambda: _beginnings(log, topology, there, specs)
        ),
        *log.examine(specs, [owners_group(entity) for entity in entities]),
        *_look("stopped", what, "no command waits for an owner that lives", lambda: _stopped(log, environment)),
        *([] if log.embedded else _look("clocks", "owners", CLOCKS, lambda: clocks(log, entities, there, environment))),
    ]


def examine_read_models(
    log: Log, store: Store, models: Sequence[ReadModel], environment: Environment = SYSTEM
) -> list[Finding]:
    """Looks whether all who read for read models keep their rows in one store. Takes some seconds more where somebody
    seems not to. Arguments: store: that of an app; models: of the app."""
    what, fine = counted(len(models), "read model"), "whoever reads for them keeps their rows in this store"
    return _look("one store", what, fine, lambda: _divided(log, store, models, environment))


def _look(check: str, where: str, fine: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return or_fine(look(), check, where, fine)
    except Unavailable as error:
        return [Finding("unknown", check, where, f"it could not be looked at: {error}")]


def _specs(topology: Topology, there: Mapping[str, TopicDescription]) -> list[TopicSpec]:
    """The topics that are there, as they should be."""
    specs = [META_SPEC, *(spec for record in topology.records for spec in should_be(record))]
    return [spec for spec in specs if spec.name in there]


def _changed(topology: Topology, log: Log, there: Mapping[str, TopicDescription]) -> Iterator[Finding]:
    topology.refresh()
    if not topology.records:
        yield Finding(
            "warning", "record", "log", "no app has run here yet", f"hw run MODULE:APP --on {shlex.quote(log.url)}"
        )
    for record in topology.records:
        for change in changes(record, log.id, there):
            yield Finding("fault", "record", change.where, change.found, change.todo)


def _unequal(there: Mapping[str, TopicDescription], recorded: list[str]) -> Iterator[Finding]:
    """Topics of one entity type that differ, also where no app has run yet: it would refuse to start."""
    commands, state = commands_topic(""), state_topic("")
    waiting = {name.removesuffix(commands) for name in there if name.endswith(commands)}
    waiting = {entity for entity in waiting if entity + state in there}
    for entity in sorted(waiting.union(recorded)):
        names = (events_topic(entity), commands_topic(entity), state_topic(entity), replies_topic(entity))
        counts = {name: there[name].partitions for name in names if name in there}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            found = f"partition counts differ ({told}): a command's partition has no state or events beside it"
            todo = ANOTHER_LOG
            if entity not in recorded:
                todo = f"if they are empty, delete them ({', '.join(counts)}): hw run MODULE:APP makes them"
            yield Finding("fault", "partition counts", f"entity type {entity}", found, todo)


def _beginnings(
    log: Log, topology: Topology, there: Mapping[str, TopicDescription], specs: list[TopicSpec]
) -> Iterator[Finding]:
    """Partitions whose first events are gone: by age, by size, or by hand; or in an archive."""
    archived = {
        TopicPartition(events_topic(record.entity), partition): record.beginning.archive
        for record in topology.records
        if record.beginning is not None
        for partition, begin in enumerate(record.beginning.begins)
        if begin == 0
    }
    for_ever = [spec.name for spec in specs if spec.retention_ms is None and not spec.compacted]
    partitions = [TopicPartition(name, p) for name in for_ever for p in range(there[name].partitions)]
    for tp, begin in log.begins(partitions).items():
        if begin > 0 and tp in archived:
            found = (
                f"begins at offset {begin}: what was before is in the archive {archived[tp]}, which is not looked at"
            )
            todo = f"hw doctor --on {shlex.quote(beside_archive(log, archived[tp]))}"
            yield Finding("warning", "history", f"partition {tp}", found, todo)
        elif begin > 0:
            found = f"begins at offset {begin}: what was before is gone, and nothing can be built from it again"
            todo = "restore the topic from a backup; keep the states and read models that there are until then"
            yield Finding("fault", "history", f"partition {tp}", found, todo)


def _divided(log: Log, store: Store, models: Sequence[ReadModel], environment: Environment) -> Iterator[Finding]:
    looking = Divided(log, store, models, environment)
    found = looking.found()
    if found:  # who was just given partitions is about to say so
        threading.Event().wait(AGAIN_S)
        found = {runner: members for runner, members in looking.found().items() if runner in found}
    for model in models:
        if model.runner in found:
            yield Finding("fault", "one store", f"group {model.runner}", words(model, found[model.runner]), REMEDY)


def _stopped(log: Log, environment: Environment) -> Iterator[Finding]:
    for one in waiting(log, group_lags(log), environment):
        where = f"partition {TopicPartition(one.topic, one.partition)}"
        todo = f"hw tail {one.topic} --from {one.offset} --limit 1 shows what is in front; see docs/stopped.md"
        yield Finding("fault", "stopped", where, one.text, todo)
