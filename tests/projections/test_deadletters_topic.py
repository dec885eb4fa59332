"""Dead letters are in the topic of their group exactly once, on every log, whoever dies between store and topic."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import headwater as hw
from headwater.errors import Unavailable
from headwater.failures.held import HeldRecord, tables_of
from headwater.failures.letters import DeadLetter, deadletters_topic, read_letter
from headwater.log.port import Log, Positions, TopicPartition
from headwater.projections.read_model import ReadModel, read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import wait_until
from headwater.readers.loop import ReadingLoop
from headwater.stores.memory import MemoryStore
from headwater.stores.port import Loading, Store, TableSchema
from headwater.testing.waiting import eventually
from tests.logs import OpenAgain, owned_by
from tests.logs import log as log
from tests.logs import open_again as open_again
from tests.projections.trade import TOPIC, Placed, append, make_log, placed

PARTITIONS = 2
P0 = TopicPartition(TOPIC, 0)


class Bugged(hw.Projection):
    trade_id: hw.Key[str]
    orders: int = 0

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        if event.customer == "bug":
            raise ValueError("a bug")
        self.orders += 1


@contextmanager
def reading(log: Log, store: Store, worker: str = "1") -> Iterator[tuple[ReadModel, ReadingLoop]]:
    [model] = read_models_of("test", [Bugged])
    runner = ProjectionRunner(model, log, store, worker=worker)
    loop = runner.loop()
    loop.start()
    try:
        yield model, loop
    finally:
        loop.stop(120)
        runner.close()


def write(log: Log) -> dict[TopicPartition, int]:
    for partition in range(PARTITIONS):
        events = [placed(f"t{partition}"), placed(f"b{partition}", "bug"), placed(f"b{partition}"), placed("t")]
        append(log, events, partition)
    return log.ends([TopicPartition(TOPIC, p) for p in range(PARTITIONS)], committed=False)


def published(log: Log, group: str) -> list[DeadLetter]:
    topic = deadletters_topic(group)
    if topic not in log.topics([topic]):
        return []
    partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    begins, ends = log.begins(partitions), log.ends(partitions, committed=False)
    found, reader = [], log.reader()
    reader.assign(begins)
    while any(begins[tp] < ends[tp] for tp in partitions):
        batch = reader.read(100, 1.0)
        begins.update(batch.reached)
        found += [letter for record in batch.records if (letter := read_letter(record)) is not None]
    reader.close()
    return found


def two(letters: list[DeadLetter]) -> list[DeadLetter] | None:
    """They, or None while some are not visible yet."""
    return letters if len(letters) >= PARTITIONS else None


def marked(store: Store, held: TableSchema[HeldRecord]) -> int:
    return sum(row.published for row in store.rows(held) if row.failed)


def test_each_dead_letter_is_published_as_it_came(log: Log) -> None:
    make_log(PARTITIONS, log)
    store = MemoryStore()
    with reading(log, store) as (model, _):
        ends = write(log)
        wait_until(store, model.runner, ends, 60, log=log)
        held = tables_of(model.runner).held
        eventually(lambda: marked(store, held) == PARTITIONS, saying="all are published")
        letters = eventually(lambda: two(published(log, model.runner)), saying="they can be seen")
    assert sorted((letter.partition, letter.offset) for letter in letters) == [
        (row.partition, row.record_offset) for row in store.rows(held) if row.failed
    ]
    [first, _] = sorted(letters, key=lambda one: one.partition or 0)
    assert (first.key, first.error, first.handler, first.attempts) == (b"b0", "ValueError", "Bugged.placed", 1)
    assert dict(first.headers)["ce_type"] == b"Placed"


class Torn(MemoryStore):
    """Fails where a published letter is to be marked, as often as it is told to."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[Any], None]) -> None:
        def marking(loading: Loading) -> None:
            work(loading)
            if start and start == to and self.left:
                self.left -= 1
                raise Unavailable("it went away")

        super().apply(runner, start, to, marking)


def test_one_that_was_published_and_not_marked_is_not_published_again(log: Log) -> None:
    make_log(PARTITIONS, log)
    store = Torn(3)
    with reading(log, store) as (model, _):
        wait_until(store, model.runner, write(log), 60, log=log)
        held = tables_of(model.runner).held
        eventually(lambda: marked(store, held) == PARTITIONS, saying="all are published")
    assert store.left == 0
    letters = eventually(lambda: two(published(log, model.runner)), saying="they can be seen")
    assert sorted((letter.partition, letter.offset) for letter in letters) == [
        (row.partition, row.record_offset) for row in store.rows(held) if row.failed
    ]


class Forgetful(MemoryStore):
    """May lose what it committed last, as a server that is killed and does not wait for its disk."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = sqlite3.connect(":memory:", check_same_thread=False)

    def keep(self) -> None:
        with self._lock:
            self._writer.backup(self._kept)

    def fall_back(self) -> None:
        with self._lock:
            self._kept.backup(self._writer)


@pytest.mark.parametrize("open_again", ["memory", "sqlite"], indirect=True)
def test_one_whose_row_the_store_has_lost_since_is_not_published_again(open_again: OpenAgain) -> None:
    log, store = open_again(), Forgetful()
    make_log(PARTITIONS, log)
    with reading(log, store) as (model, _):
        held = tables_of(model.runner).held
        append(log, [placed("first")], 0)
        wait_until(store, model.runner, log.ends([P0]), 60, log=log)
        store.keep()
        write(log)
        eventually(lambda: marked(store, held) == PARTITIONS, saying="all are published")
        store.fall_back()
        append(log, [placed("last")], 0, 20)
        append(log, [placed("last")], 1, 20)
        eventually(lambda: marked(store, held) == PARTITIONS, saying="all failed again")
    assert len(published(log, model.runner)) == PARTITIONS


def test_what_is_held_moves_with_its_partition(log: Log) -> None:
    make_log(PARTITIONS, log)
    store = MemoryStore()
    with reading(log, store) as (model, first):
        wait_until(store, model.runner, write(log), 60, log=log)
        with reading(log, store, "2") as (_, second):
            eventually(lambda: owned_by(log, model.runner) == [1, 1], saying="each owns one")
            for partition in range(PARTITIONS):
                append(log, [placed(f"b{partition}"), placed(f"u{partition}")], partition, 10)
            ends = log.ends([TopicPartition(TOPIC, p) for p in range(PARTITIONS)], committed=False)
            wait_until(store, model.runner, ends, 60, log=log)
            rows = store.rows(tables_of(model.runner).held)
            assert [row.failed for row in rows] == [True, False, False] * PARTITIONS
            assert sorted(row.trade_id for row in store.rows(model.tables[0])) == ["t", "t0", "t1", "u0", "u1"]
            # a member that stood still for the session's time has lost its partition for a moment
            eventually(lambda: len(second.status.owned) == 1, saying="the second owns one")
    assert first.status.state == "stopped"
