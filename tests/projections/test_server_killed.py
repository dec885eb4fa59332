"""The store's server dies as in a power cut, while a read model is filled: it goes on from what is stored."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from headwater.errors import Unavailable
from headwater.failures.held import Audit, tables_of
from headwater.log.memory import MemoryLog
from headwater.log.port import Positions, TopicPartition
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.stores.opening import open_store
from headwater.stores.port import Store, TableSchema
from headwater.testing.postgres import PostgresServer, start_postgres
from headwater.testing.redis import NOTHING_KEPT, RedisServer, start_redis
from tests.conftest import absent
from tests.projections.test_prefix import open_trades, read_prefix
from tests.projections.test_processes import trades
from tests.projections.trade import TOPIC, OpenTrade, append, make_log

STARTS: dict[str, Callable[[], PostgresServer | RedisServer]] = {
    "postgres": start_postgres,
    "redis": start_redis,
    "redis that keeps nothing": lambda: start_redis(settings=NOTHING_KEPT),
}


@pytest.fixture(params=STARTS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer | RedisServer]:
    """A server of this test's own."""
    try:
        server = STARTS[request.param]()
    except Unavailable as error:
        absent(str(error))
    yield server
    server.delete()


def eventually(found: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    pause, deadline_s = threading.Event(), time.monotonic() + timeout_s
    while not found():
        assert time.monotonic() < deadline_s, what
        pause.wait(0.005)


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_loses_and_repeats_nothing(
    server: PostgresServer | RedisServer,
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    log = make_log(1, MemoryLog())
    [model] = read_models_of("test", [OpenTrade])
    with closing(open_store(server.url)) as store:
        runner = ProjectionRunner(model, log, store)
        loop = runner.loop()
        loop._batch_records = 7  # many commits
        loop.start()
        reached = 0
        for _ in range(3):
            append(log, trades(2_000))  # however far it has come, there is more
            target = reached + chance.randrange(50, 1000)
            eventually(lambda t=target: sum(loop.status.reached.values()) >= t, "it goes on")  # type: ignore[misc] # mypy infers no lambda with a default
            server.kill()
            eventually(lambda: loop.status.state == "retrying", "it waits for the server")
            assert "127.0.0.1" in (loop.status.last_failure or "")
            server.start()
            reached = sum(loop.status.reached.values())
        ends = log.ends([TopicPartition(TOPIC, 0)])
        eventually(lambda: positions_in(store, model.runner) == ends, "it comes to the end")
        loop.stop()
        runner.close()
        assert store.rows(table_of(OpenTrade)) == open_trades(read_prefix(log, store.positions(model.runner)))
        assert loop.status.state == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_what_moves_no_position_is_on_the_disk_when_it_is_committed(server: PostgresServer) -> None:
    """Who has it in memory would not notice that it is gone."""
    runner = "test-open_trade-v1"
    tables, now = tables_of(runner), datetime(2026, 1, 1, tzinfo=UTC)
    tp = TopicPartition(TOPIC, 0)
    with closing(open_store(server.url)) as store:
        store.open_tables(runner, [*tables])
        store.apply(runner, {}, {tp: 5}, lambda loading: None)
        for number in range(3):
            line = Audit(str(number), now, TOPIC, 0, 1, "retried", "user:ann", "", "", "", "")
            store.apply(runner, {tp: 5}, {tp: 5}, lambda loading, line=line: loading.save(tables.audit, [line]))  # type: ignore[misc] # mypy infers no lambda with a default
            server.kill()
            server.start()
            eventually(lambda n=number: found_in(store, tables.audit) == n + 1, f"line {number} is there")  # type: ignore[misc] # mypy infers no lambda with a default


def positions_in(store: Store, runner: str) -> Positions:
    """Where a runner stands; nowhere: the store cannot be asked now."""
    try:
        return store.positions(runner)
    except Unavailable:
        return {}


def found_in(store: Store, table: TableSchema[Any]) -> int:
    """How many rows a table has; -1: the store cannot be asked now."""
    try:
        return len(store.rows(table))
    except Unavailable:
        return -1
