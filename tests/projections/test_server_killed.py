"""The store's server dies as in a power cut, while a read model is filled: it goes on from what is stored."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from headwater.errors import Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.port import TopicPartition
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import wait_until
from headwater.stores.postgres import PostgresStore
from headwater.testing.postgres import PostgresServer, start_postgres
from tests.conftest import absent
from tests.projections.test_prefix import open_trades, read_prefix
from tests.projections.test_processes import trades
from tests.projections.trade import TOPIC, OpenTrade, append, make_log


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own."""
    try:
        server = start_postgres()
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
def test_a_server_that_is_killed_and_comes_back_loses_and_repeats_nothing(server: PostgresServer) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    log = make_log(1, MemoryLog())
    append(log, trades(6_000))
    [model] = read_models_of("test", [OpenTrade])
    with closing(PostgresStore(server.url)) as store:
        runner = ProjectionRunner(model, log, store)
        loop = runner.loop()
        loop._batch_records = 7  # many commits
        loop.start()
        reached = 0
        for _ in range(3):
            target = reached + chance.randrange(50, 1000)
            eventually(lambda t=target: sum(loop.status.reached.values()) >= t, "it goes on")  # type: ignore[misc]
            server.kill()
            eventually(lambda: loop.status.state == "retrying", "it waits for the server")
            assert "127.0.0.1" in (loop.status.last_failure or "")
            server.start()
            reached = sum(loop.status.reached.values())
        wait_until(store, model.runner, log.ends([TopicPartition(TOPIC, 0)]), 60, log=log)
        loop.stop()
        runner.close()
        assert store.rows(table_of(OpenTrade)) == open_trades(read_prefix(log, store.positions(model.runner)))
        assert loop.status.state == "stopped"
