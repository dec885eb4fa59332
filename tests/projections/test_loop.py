"""A read model in the reading loop, on every log: shared, handed over, shadowed in its group."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import headwater as hw
from headwater.environment import KeptTelemetry, Labels, System
from headwater.errors import Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.opening import open_log
from headwater.log.port import Log, NewRecord, TopicPartition, TopicSpec
from headwater.log.sqlite import SqliteLog
from headwater.messages.json_codec import JsonCodec
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import wait_until
from headwater.readers.loop import FAILURES
from headwater.stores.memory import MemoryStore
from headwater.stores.port import RunnerNote
from tests.projections.trade import TOPIC, OpenTrade, Paid, Placed, Reading, append, make_log, placed, raw

PARTITIONS = 3
LOGS = ["memory", "unkind", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)]


@pytest.fixture(params=LOGS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    log: Log
    match request.param:
        case "memory":
            log = MemoryLog()
        case "unkind":
            unkind = log = MemoryLog(gaps=True, late=True, aborts=0.2)
            print("seed", unkind.seed)
        case "sqlite":
            log = open_log(f"sqlite:///{tmp_path}/log.db")
        case _:
            log = open_log(request.getfixturevalue("kafka_broker"))
    yield log
    log.close()


def eventually(found: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    pause, deadline_s = threading.Event(), time.monotonic() + timeout_s
    while not found():
        assert time.monotonic() < deadline_s, what
        pause.wait(0.01)


def test_workers_share_a_read_model_and_take_over_from_each_other(log: Log) -> None:
    entity = f"count{uuid4().hex[:8]}"
    topic = f"{entity}-events"

    class Family(hw.Event, entity=entity):
        id: hw.Key[str]

    class Counted(Family):
        by: int

    class Count(hw.Projection):
        id: hw.Key[str]
        total: int = 0
        events: int = 0

        @hw.on(Counted)
        @hw.on(Counted, key=lambda event, meta: "all")
        def counted(self, event: Counted) -> None:
            self.total += event.by
            self.events += 1

    codec: JsonCodec[Counted] = JsonCodec([Counted])

    def write(first: int, count: int) -> dict[TopicPartition, int]:
        """Writes events, and returns the positions after them."""
        after: dict[TopicPartition, int] = {}
        for n in range(first, first + count):
            key, partition = f"k{n % 7}", TopicPartition(topic, n % PARTITIONS)
            [offset] = log.append([NewRecord(*partition, key.encode(), codec.encode(Counted(key, n)))])
            after[partition] = offset + 1
        return after

    log.create_topics([TopicSpec(topic, PARTITIONS)])
    store = MemoryStore()
    [model] = read_models_of(entity, [Count])
    runners = [ProjectionRunner(model, log, store, worker=str(n)) for n in range(2)]
    loops = [runner.loop() for runner in runners]
    write(0, 100)
    for loop in loops:
        loop.start()
    try:
        eventually(lambda: all(loop.status.owned for loop in loops), "each owns a part")
        after = write(100, 100)
        wait_until(store, model.runner, after, 60, log=log)
        loops[0].stop(120)
        runners[0].close()
        after = write(200, 50)
        wait_until(store, model.runner, after, 60, log=log)
        everything = store.row(table_of(Count), ("all",))
        assert everything == Count("all", sum(range(250)), 250)
        assert sum(row.events for row in store.rows(table_of(Count))) == 500
        assert [note.state for note in store.notes(model.runner)] == ["running"]
        eventually(
            lambda: log.committed(model.runner, list(after)) == store.positions(model.runner),
            "the group shows where the store stands",
        )
    finally:
        for loop, runner in zip(loops, runners, strict=True):
            loop.stop(120)
            runner.close()
    assert store.notes(model.runner) == []
    assert [loop.status.last_failure for loop in loops if loop.status.state == "failed"] == []


def test_the_loop_tells_why_it_stopped() -> None:
    log = make_log()
    append(log, [placed("t1")])
    log.append([raw(b'{"eventType":"Paid","eventVersion":2,"tradeId":"t","amount":"1"}')])
    reading = Reading(log, OpenTrade, on_failure=hw.stop())
    loop = reading.runner.loop()
    loop.start()
    eventually(lambda: not loop.status.alive, "it stopped")
    assert loop.status.state == "failed"
    assert loop.status.last_failure is not None
    assert "version 2 of Paid is newer" in loop.status.last_failure
    assert [note.state for note in reading.store.notes(reading.model.runner)] == ["failed"]


def test_who_sees_that_a_worker_has_failed_finds_all_that_is_told_of_it() -> None:
    class Watching(KeptTelemetry):
        def count(self, name: str, labels: Labels, by: float = 1) -> None:
            told.append((name, loop.status.alive))
            super().count(name, labels, by)

    told: list[tuple[str, bool]] = []
    log = make_log()
    log.append([raw(b"no JSON")])
    reading = Reading(log, OpenTrade, on_failure=hw.stop())
    watched = System(Watching())
    loop = ProjectionRunner(reading.model, log, reading.store, environment=watched).loop()
    loop.start()
    eventually(lambda: not loop.status.alive, "it stopped")
    assert told == [(FAILURES, True)]


def test_a_worker_that_waits_for_its_log_runs_and_says_what_it_waits_for(tmp_path: Path) -> None:
    log = make_log(log=SqliteLog(tmp_path / "log.db", session_timeout_s=0.5, patience_s=0.02))
    reading = Reading(log, OpenTrade)
    other = sqlite3.connect(tmp_path / "log.db", timeout=60, isolation_level=None)

    def note() -> RunnerNote:
        [note] = reading.store.notes(reading.model.runner)
        return note

    loop = reading.runner.loop()
    loop.start()
    eventually(lambda: bool(loop.status.owned), "it owns a partition")
    other.execute("BEGIN IMMEDIATE")
    eventually(lambda: "lock" in (note().failure or ""), "the note tells why it waits")
    assert (note().state, note().partitions) == ("running", frozenset())
    other.execute("ROLLBACK")
    append(log, [placed("t1")])
    wait_until(reading.store, reading.model.runner, log.ends([TopicPartition(TOPIC, 0)]), 60, log=log)
    eventually(lambda: (note().state, note().failure) == ("running", None), "it waits no more")  # said after the batch
    loop.stop()
    assert note().state == "running", "it may be started again"
    reading.runner.close()
    assert reading.store.notes(reading.model.runner) == []
    other.close()
    log.close()


def test_a_worker_that_cannot_begin_says_so() -> None:
    log = make_log()
    reading = Reading(log, OpenTrade)
    reading.store.apply(reading.model.runner, {}, {TopicPartition(TOPIC, 0): 1000}, lambda loading: None)
    loop = reading.runner.loop()
    loop.start()
    eventually(lambda: not loop.status.alive, "it stopped")
    eventually(lambda: reading.store.notes(reading.model.runner)[0].state == "failed", "the note says so")
    [note] = reading.store.notes(reading.model.runner)
    assert "the topic was made anew" in (note.failure or "")


def test_a_store_that_is_locked_for_a_while_fails_nothing_and_tells_why_it_waits() -> None:
    class Locked(MemoryStore):
        locked = 0
        failures: list[str | None] = []

        def apply(self, runner: str, *arguments: Any) -> None:
            self.failures.append(self.notes(runner)[0].failure)
            if self.locked:
                self.locked -= 1
                raise Unavailable("another process keeps it locked")
            super().apply(runner, *arguments)

    log = make_log()
    append(log, [placed("t1"), Paid("t0", placed("t0").total)])
    store = Locked()
    reading = Reading(log, OpenTrade, store=store)
    store.locked = 3
    store.failures.clear()
    loop = reading.runner.loop()
    loop.start()
    eventually(lambda: reading.positions == log.ends(list(reading.positions)) != {}, "it read to the end")
    eventually(lambda: store.notes(reading.model.runner)[0].failure is None, "it is over")
    loop.stop()
    assert [row.trade_id for row in reading.store.rows(table_of(OpenTrade))] == ["t1"]
    assert store.failures == [None, *["Unavailable: another process keeps it locked"] * 3], "also while it tries again"


def test_what_a_store_has_lost_is_applied_again_also_when_only_a_note_met_its_absence() -> None:
    """A server that dies may lose its last commits, and no batch may come that would notice."""

    class Away(MemoryStore):
        away = False

        def note(self, runner: str, note: RunnerNote) -> None:
            if self.away:
                self.away = False
                raise Unavailable("the server was killed")
            super().note(runner, note)

    log = make_log()
    append(log, [placed("t1"), placed("t2")])
    store = Away()
    reading = Reading(log, OpenTrade, store=store)
    loop = reading.runner.loop()
    loop.start()
    ends = log.ends([TopicPartition(TOPIC, 0)])
    eventually(lambda: store.positions(reading.model.runner) == ends, "it read to the end")
    store.apply(
        reading.model.runner,
        ends,
        dict.fromkeys(ends, 1),
        lambda loading: loading.delete(table_of(OpenTrade), [("t2",)]),
    )
    store.away = True
    reading.runner._noted_s = -1  # the next heartbeat is due
    eventually(lambda: store.positions(reading.model.runner) == ends, "it read the rest again")
    loop.stop()
    assert sorted(row.trade_id for row in store.rows(table_of(OpenTrade))) == ["t1", "t2"]
    assert loop.status.state == "stopped"


def test_words_that_no_store_can_keep_are_told_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "headwater.readers")  # the words would not reach the terminal from a worker

    class Rude(hw.Projection):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed) -> None:
            raise ValueError("half of a character: \ud800")

    log = make_log()
    append(log, [placed("t1")])
    reading = Reading(log, Rude, on_failure=hw.stop())
    loop = reading.runner.loop()
    loop.start()
    eventually(lambda: not loop.status.alive, "it stopped")
    assert "ValueError: half of a character" in (loop.status.last_failure or "")
    [note] = reading.store.notes(reading.model.runner)
    assert note.state == "failed"
    assert "half of a character: \\ud800" in (note.failure or "")
