"""What a simulated run is judged by: the auditor, fed from the cluster's memory, and whether everybody still works."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.log.port import TopicPartition
from headwater.log.topology import owners_group
from headwater.readers.loop import Status
from headwater.stores.port import Store
from headwater.testing.audit import History, audit, collect_rows, models_of, rows_folds, state_folds
from headwater.testing.audit.contents import Committed, Contents, KeptRecord, Partition
from headwater.testing.simulation.bank import app
from headwater.testing.simulation.cluster.cluster import Cluster

STATES, ROWS, MODELS = state_folds(app), rows_folds(app), models_of(app)
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


def judged(history: History, cluster: Cluster, store: Store | None, statuses: Iterable[Status]) -> list[str]:
    """What is wrong with a run that has come to its end."""
    found = [
        f"{status.name} {status.state}: {status.last_failure or dict(status.stopped)}"
        for status in statuses
        if status.state == "failed" or status.stopped
    ]
    models = collect_rows(store, MODELS) if store is not None else []
    violations = audit(history, contents_of(cluster), states=STATES, models=models, rows=ROWS)
    return found + [str(violation) for violation in violations]
