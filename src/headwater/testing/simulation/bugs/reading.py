"""Bugs in how records are read, and in read models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from headwater.client.travelling import Post
from headwater.log.kafka.membership import KafkaMember
from headwater.log.kafka.reading import KafkaReader
from headwater.log.port import Batch, Positions, TopicPartition
from headwater.owners import owner
from headwater.projections.gathering import Gathered
from headwater.projections.runner import ProjectionRunner
from headwater.stores.sqlite import SqliteStore
from headwater.testing.simulation.bugs.planting import bug, replaced


class _SeesAll:
    """A log whose readers see what is not committed, too."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def reader(self) -> KafkaReader:
        reader = self._log.reader()
        reader._consumer.see_all()
        return cast(KafkaReader, reader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@bug("A new owner sees committed records only.")
def restore_reads_what_is_not_committed() -> Iterator[None]:
    def restore(log: Any, *rest: Any) -> Any:
        return original(_SeesAll(log), *rest)

    with replaced(owner, "restore", restore) as original:
        yield


@bug("A client sees committed replies only.")
def a_client_reads_replies_that_are_not_committed() -> Iterator[None]:
    def read_on(self: Post) -> None:
        self._log = _SeesAll(self._log)  # type: ignore[assignment]  # of a log, all that is used here
        original(self)

    with replaced(Post, "_read_on", read_on) as original:
        yield


@bug("A position lies past marks and aborted records, not behind the last record that was read.", restarts=0.5)
def positions_are_counted_from_records() -> Iterator[None]:
    def take_events(self: KafkaReader, messages: Any, batch: Batch) -> Any:
        positions = dict(self._positions)
        records = original(self, messages, batch)
        batch.reached.clear()
        self._positions = positions
        return records

    with replaced(KafkaReader, "_take_events", take_events) as original:
        yield


@bug("What was read ahead of a partition counts no more when it is read from elsewhere, or lost.")
def what_was_read_ahead_outlives_its_partition() -> Iterator[None]:
    with replaced(KafkaMember, "_forget_ahead", lambda self, partitions: None):
        yield


@bug("Rows and the position that they stand for are one transaction.", projects=True, kills=1.0, idle_s=0.0)
def positions_before_rows() -> Iterator[None]:
    def work(self: ProjectionRunner, batch: Batch, prepared: Gathered | None = None) -> None:
        self._store.apply(self.model.runner, self._positions, batch.reached, lambda loading: None)
        self._positions.update(batch.reached)
        self._log.ends(list(batch.reached))  # something that takes a while
        original(self, batch, prepared)

    with replaced(ProjectionRunner, "work", work) as original:
        yield


@bug("Who stands elsewhere than the store does changes nothing in it.", projects=True, pauses=1.0, restarts=0.5)
def a_stale_runner_is_let_in() -> Iterator[None]:
    def apply(self: SqliteStore, runner: str, start: Positions, to: Positions, work: Callable[[Any], None]) -> None:
        original(self, runner, {**start, **self.positions(runner)}, to, work)

    with replaced(SqliteStore, "apply", apply) as original:
        yield


@bug("A read model goes on where its store stands, wherever the group does.", projects=True, restarts=0.5)
def a_read_model_goes_on_where_its_group_stands() -> Iterator[None]:
    def assigned(self: ProjectionRunner, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        original(self, partitions)
        return {**dict.fromkeys(partitions, 0), **self._log.committed(self.model.runner, partitions)}

    with replaced(ProjectionRunner, "assigned", assigned) as original:
        yield


BUGS = [
    restore_reads_what_is_not_committed,
    a_client_reads_replies_that_are_not_committed,
    positions_are_counted_from_records,
    what_was_read_ahead_outlives_its_partition,
    positions_before_rows,
    a_stale_runner_is_let_in,
    a_read_model_goes_on_where_its_group_stands,
]
