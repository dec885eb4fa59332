"""A read model in a server: the next batch is read and gathered while one is worked on, and all comes out as without.

Nothing of a batch reaches the store here before the loop waits for it, so whatever can overlap does.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

import headwater as hw
from headwater.errors import Unavailable
from headwater.failures.held import tables_of
from headwater.log.port import Log, Positions, TopicPartition
from headwater.projections import runner as runners
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.readers import overlapping
from headwater.readers.loop import ReadingLoop
from headwater.readers.overlapping import Overlapping
from headwater.stores.memory import MemoryStore
from headwater.stores.sqlite_loading import SqliteLoading
from headwater.testing.waiting import eventually
from tests.projections.trade import TOPIC, Paid, Placed, append, make_log, placed

P0 = TopicPartition(TOPIC, 0)


class Journal(hw.Projection, on_failure=hw.dead_letter(held_records=4)):
    trade_id: hw.Key[str]
    words: list[str] = []

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        self.words.append(f"{event.customer} {event.total}")
        if event.customer == "bug":
            raise ZeroDivisionError

    @hw.on(Paid)
    def paid(self, event: Paid) -> None:
        self.words.append(f"paid {event.amount}")


class Strict(hw.Projection, on_failure=hw.stop()):
    trade_id: hw.Key[str]
    totals: list[str] = []

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        self.totals.append(str(event.total))
        if event.customer == "bug":
            raise ZeroDivisionError


class Server(MemoryStore):
    """Stands for one. What a thread of its own brings here waits until the loop does: `gate`. `then`: what comes first
    of all, once."""

    is_server = True

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waited = threading.Event(), 0
        self.then: Callable[[], None] = lambda: None

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[SqliteLoading], None]) -> None:
        if threading.current_thread().name.endswith("-works"):
            assert self.gate.wait(60)
            self.waited += 1
            then, self.then = self.then, lambda: None
            then()
        super().apply(runner, start, to, work)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server, settle = Server(), Overlapping._settle

    def opened(self: Overlapping[object]) -> bool:
        server.gate.set()
        try:
            return settle(self)
        finally:
            server.gate.clear()

    monkeypatch.setattr(runners, "BATCH_RECORDS", 5)
    monkeypatch.setattr(overlapping, "FEW", 1)
    monkeypatch.setattr(Overlapping, "_settle", opened)
    yield server
    server.close()


def runner_of(log: Log, store: MemoryStore, projection: type[hw.Projection]) -> ProjectionRunner:
    [model] = read_models_of("test", [projection])
    return ProjectionRunner(model, log, store)


def read_all(runner: ProjectionRunner) -> ReadingLoop:
    """Until nothing comes any more."""
    loop = runner.loop()
    with closing(loop.join()) as member:
        idle = 0
        while idle < 5:  # what a paused partition brings is nothing, too
            idle = 0 if loop.turn(member, 0) else idle + 1
    return loop


def kept(store: MemoryStore, runner: ProjectionRunner) -> tuple[object, object, object]:
    """Rows, what is set aside, positions."""
    rows = store.rows(runner.model.tables[0])
    held = store.rows(tables_of(runner.model.runner).held)
    return rows, [(row.tp, row.record_offset, row.failed) for row in held], store.positions(runner.model.runner)


@pytest.mark.parametrize("seed", range(8))
def test_all_comes_out_as_it_does_without(server: Server, seed: int) -> None:
    """With dead letters, held keys, and partitions that pause at their limit in the middle of a batch."""
    chance, log = random.Random(seed), make_log(2)
    for n in range(120):
        trade, customer = f"t{chance.randrange(6)}", "bug" if chance.random() < 0.01 * seed else "ann"
        append(log, [placed(trade, customer, f"{n}")], partition=chance.randrange(2), first=n)
    runner = runner_of(log, server, Journal)
    loop = read_all(runner)
    assert server.waited > 10
    assert loop.status.records == 120 or runner.failures
    plain = MemoryStore()
    other = runner_of(log, plain, Journal)
    read_all(other)
    assert kept(server, runner) == kept(plain, other)
    assert runner.failures == other.failures
    assert bool(runner.failures) is (seed > 0)


def test_a_batch_of_one_who_is_stale_is_not_written_nor_the_next_one(server: Server) -> None:
    log = make_log()
    append(log, [placed(f"t{n}") for n in range(20)])
    runner, other = runner_of(log, server, Journal), runner_of(log, server, Journal)

    def overtake() -> None:
        reader = log.reader()
        reader.assign(other.assigned([P0]))
        other.handle(reader.read(3, 0), None)

    loop = runner.loop()
    with closing(loop.join()) as member:
        loop.turn(member, 0)
        server.then = overtake
        loop.turn(member, 0)  # hands a batch over
        with pytest.raises(Unavailable, match="the batch before was not committed"):
            loop.turn(member, 0)
        assert server.positions(runner.model.runner) == {P0: 3}
        assert len(server.rows(runner.model.tables[0])) == 3
    loop._forget()
    read_all(runner)
    assert [row.words for row in server.rows(runner.model.tables[0])] == [["ann 10.00"]] * 20


def test_a_partition_is_lost_after_the_batch_under_way(server: Server) -> None:
    log = make_log()
    append(log, [placed(f"t{n}") for n in range(20)])
    runner = runner_of(log, server, Journal)
    loop = runner.loop()
    member = loop.join()
    loop.turn(member, 0)
    loop.turn(member, 0)
    assert server.positions(runner.model.runner) == {}  # of the first five nothing is there yet
    loop._forget()
    member.close()
    assert server.positions(runner.model.runner) == {P0: 5}
    assert (loop.status.records, loop.status.batches) == (5, 1)
    assert len(server.rows(runner.model.tables[0])) == 5


def test_what_must_not_be_skipped_stops_the_loop_though_more_was_read(server: Server) -> None:
    log = make_log()
    append(log, [placed(f"t{n}", "bug" if n == 7 else "ann") for n in range(20)])
    runner = runner_of(log, server, Strict)
    loop = runner.loop()
    loop.start()
    eventually(lambda: not loop.status.alive, 60)
    assert loop.status.state == "failed"
    assert server.positions(runner.model.runner) == {P0: 7}
    assert len(server.rows(runner.model.tables[0])) == 7
    [note] = server.notes(runner.model.runner)
    assert note.state == "failed"
    runner.close()


def test_who_waits_hears_of_a_batch_when_it_is_committed(server: Server) -> None:
    log = make_log()
    append(log, [placed("t1")])
    runner = runner_of(log, server, Journal)
    loop = runner.loop()
    with closing(loop.join()) as member:
        loop.turn(member, 0)
        loop.turn(member, 0)
        rounds = runner.progress.rounds
        server.gate.set()
        runner.progress.wait(rounds, 60)
        eventually(lambda: server.positions(runner.model.runner) == log.ends([P0]), 60)
        assert loop.status.records == 0  # it has not come back yet
        loop.turn(member, 0)
        assert loop.status.records == 1
