"""What a simulated run is judged by: the auditor, fed from the cluster's memory, and whether everybody still works."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from headwater.log.port import TopicPartition
from headwater.log.topology import owners_group
from headwater.readers.loop import Status
from headwater.stores.port import Store
from headwater.testing.audit import History, audit, collect_rows, models_of, rows_folds, state_folds
from headwater.testing.audit.contents import Committed, Contents, KeptRecord, Partition
from headwater.testing.audit.states import states_of
from headwater.testing.simulation.bank import app, renewed
from headwater.testing.simulation.cluster.cluster import Cluster

STATES = [state_folds(app), state_folds(renewed)]
"""Of both codes: each says nothing of the other's states."""
ROWS, MODELS = rows_folds(app), models_of(app)
GROUPS = [owners_group(one.entity) for one in app.behaviours.values()]


def contents_of(cluster: Cluster) -> Contents:
    """All topics, as a reader of committed records would find them."""
    partitions = []
    for name, topic in sorted(cluster.topics.items()):
        for number, log in enumerate(topic.partitions):
            records = tuple(
                KeptRecord(name, number, one.offset, one.key, one.value, tuple(one.headers or ()), one.time_ms)
                for one in log.read(log.begin, 1_000_000)[0]
            )
            partitions.append(Partition(name, number, log.begin, log.end, records))
    committed = tuple(
        Committed(group, *where, offset)
        for group in GROUPS
        for where, (offset, _) in cluster.group(group).positions.all().items()
    )
    return Contents(tuple(partitions), committed)


def positions_of(cluster: Cluster, group: str) -> dict[TopicPartition, int]:
    """What a group has committed."""
    return {TopicPartition(*where): offset for where, (offset, _) in cluster.group(group).positions.all().items()}


def states_of_code_before(cluster: Cluster) -> int:
    """How many entities have one, of those that have states."""
    schemas = {fold.schema for fold in STATES[1].values()}
    newest = states_of(contents_of(cluster))
    return sum(known[-1][1].schema not in schemas for known in newest.values())


def judged(
    history: History, cluster: Cluster, store: Store | None, statuses: Iterable[Status], asked: Sequence[str]
) -> list[str]:
    """What is wrong with a run that has come to its end. Arguments: asked: clients that read with the renewed code."""
    found = [
        f"{status.name} {status.state}: {status.last_failure or dict(status.stopped)}"
        for status in statuses
        if status.state == "failed" or status.stopped
    ]
    models = collect_rows(store, MODELS) if store is not None else []
    contents = contents_of(cluster)
    told: dict[str, None] = {}
    for states, new in zip(STATES, (False, True), strict=True):
        reads = tuple(
            one if (one.client in asked) is new else msgspec.structs.replace(one, state=None) for one in history.reads
        )
        seen = msgspec.structs.replace(history, reads=reads)
        told |= dict.fromkeys(map(str, audit(seen, contents, states=states, models=models, rows=ROWS)))
    return found + list(told)
