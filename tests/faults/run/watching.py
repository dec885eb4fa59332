"""Who looks on while faults strike: positions are sampled, and all events are read as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from headwater.errors import HeadwaterError
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import commands_topic, events_topic, owners_group
from headwater.stores.port import Store
from headwater.testing.audit import Contents, Journal
from headwater.testing.audit.collecting import kept
from headwater.testing.audit.contents import KeptRecord, Partition
from tests.faults.run.bank import PARTITIONS

SAMPLE_S = 0.5


def partitions_of(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in range(PARTITIONS)]


READ = {
    **{owners_group(one): partitions_of(commands_topic(one)) for one in ("account", "transfer", "transfers")},
    "transfers": partitions_of(events_topic("account")),
}
"""What each group reads."""

EVENTS = [*partitions_of(events_topic("account")), *partitions_of(events_topic("transfer"))]


class Watcher:
    """Threads that end with `stop`. Arguments: open_log: a log of each one's own; store, models: the read models."""

    def __init__(self, open_log: Callable[[], Log], journal: Journal, store: Store, models: Sequence[str]) -> None:
        self._open_log, self._journal, self._store, self._models = open_log, journal, store, models
        self._over = threading.Event()
        self._seen: dict[TopicPartition, list[KeptRecord]] = {tp: [] for tp in EVENTS}
        self._reached: dict[TopicPartition, int] = dict.fromkeys(EVENTS, 0)
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._sample, self._read)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> Contents:
        """Returns what was read of the events."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return Contents(tuple(Partition(*tp, 0, self._reached[tp], tuple(self._seen[tp])) for tp in EVENTS))

    def _sample(self) -> None:
        log = self._open_log()
        while not self._over.wait(SAMPLE_S):
            for group, partitions in READ.items():
                with suppress(HeadwaterError):  # the cluster is away
                    self._journal.sample_group(log, group, partitions)
            for model in self._models:
                self._journal.sample(model, lambda model=model: self._store.positions(model))  # type: ignore[misc] # called at once
        log.close()

    def _read(self) -> None:
        log = self._open_log()
        reader = log.reader()
        reader.assign(self._reached)
        while not self._over.is_set():
            try:
                batch = reader.read(5000, 0.2)
            except HeadwaterError:
                reader.close()
                self._over.wait(SAMPLE_S)
                reader = log.reader()
                reader.assign(self._reached)
                continue
            for record in batch.records:
                self._seen[TopicPartition(record.topic, record.partition)].append(kept(record))
            self._reached.update(batch.reached)
        reader.close()
        log.close()
