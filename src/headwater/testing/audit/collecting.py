"""Reads what an audit needs from a log and from stores, when all is done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from headwater.app import App
from headwater.errors import Unavailable
from headwater.log.port import Log, Positions, Record, TopicPartition
from headwater.log.topology import commands_topic, events_topic, owners_group, replies_topic, state_topic
from headwater.projections.read_model import ReadModel
from headwater.stores.port import Store
from headwater.testing.audit.contents import Committed, Contents, KeptRecord, ModelRows, Partition
from headwater.testing.audit.folding import rows_in

STALLED_S = 60.0
"""How long the log may bring nothing new while something is missing."""


def collect(log: Log, app: App, *, stalled_s: float = STALLED_S) -> Contents:
    """The topics of an app's aggregates and processes, and the positions of their owners.

    Raises: Unavailable: the log does not show all that was written.
    """
    entities = sorted([*(one.entity for one in app.behaviours.values()), *(one.entity for one in app.processes)])
    make = (events_topic, state_topic, commands_topic, replies_topic)
    topics = [topic(entity) for entity in entities for topic in make]
    groups = [owners_group(entity) for entity in entities]
    return collect_topics(log, topics, groups, stalled_s=stalled_s)


def collect_topics(
    log: Log, topics: Sequence[str], groups: Iterable[str] = (), *, stalled_s: float = STALLED_S
) -> Contents:
    """All committed records of these topics, up to everything that was ever written, and what the groups committed in
    them. Topics that do not exist are left out. Raises: Unavailable."""
    there = log.topics(topics)
    names = [TopicPartition(topic, n) for topic in topics if topic in there for n in range(there[topic].partitions)]
    begins, ends = log.begins(names), log.ends(names, committed=False)
    records = _read(log, begins, ends, stalled_s)
    partitions = tuple(Partition(*name, begins[name], ends[name], tuple(records[name])) for name in names)
    committed = tuple(
        Committed(group, *name, position)
        for group in groups
        for name, position in sorted(log.committed(group, names).items())
    )
    return Contents(partitions, committed)


def _read(log: Log, begins: Positions, ends: Positions, stalled_s: float) -> dict[TopicPartition, list[KeptRecord]]:
    found: dict[TopicPartition, list[KeptRecord]] = {name: [] for name in begins}
    missing = {name for name in begins if begins[name] < ends[name]}
    if not missing:
        return found
    reader = log.reader()
    try:
        reader.assign({name: begins[name] for name in missing})
        deadline_s = time.monotonic() + stalled_s
        while missing:
            batch = reader.read(10_000, 0.2)
            for record in batch.records:
                name = TopicPartition(record.topic, record.partition)
                if record.offset < ends[name]:
                    found[name].append(kept(record))
            missing -= {name for name, reached in batch.reached.items() if reached >= ends[name]}
            if batch.reached:
                deadline_s = time.monotonic() + stalled_s
            elif time.monotonic() > deadline_s:
                waiting = ", ".join(str(name) for name in sorted(missing))
                raise Unavailable(
                    f"{waiting}: not all that was written can be read, and nothing new for {stalled_s:g} s"
                )
    finally:
        reader.close()
    return found


def kept(record: Record) -> KeptRecord:
    """Its plain fields: a log's own record may hold on to more."""
    return KeptRecord(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        tuple((name, value) for name, value in record.headers),
        record.timestamp_ms,
    )


def collect_rows(store: Store, models: Iterable[ReadModel]) -> list[ModelRows]:
    """The rows of read models, each with the positions that they belong to: read again while somebody moves them."""
    found = []
    for model in models:
        positions, rows = store.positions(model.runner), rows_in(store, model)
        while (now := store.positions(model.runner)) != positions:
            positions, rows = now, rows_in(store, model)
        places = tuple((*name, position) for name, position in sorted(positions.items()))
        found.append(ModelRows(model.runner, places, rows))
    return found
