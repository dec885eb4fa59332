"""While a read model is rebuilt, switched and switched back, the app maintains it and others read it by its name.

They use clients of their own. Every read finds whole rows, of before or of afterwards, and never fewer events than the
read before.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from headwater.environment import SYSTEM
from headwater.log.port import TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.operations.rebuild import Rebuilding
from headwater.operations.rebuild_building import Progress
from headwater.operations.rebuild_state import this_process
from headwater.projections.declare import table_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import wait_until
from headwater.stores.decimals import teach
from headwater.stores.opening import open_store
from headwater.testing.waiting import eventually
from tests.projections.everyone import Everyone
from tests.projections.trade import TOPIC, Reading, append, make_log, placed

PARTITIONS = 2
BEFORE = 40
OFTEN_S = 0.002
SPOILT = Decimal(1000)
ASK = "SELECT orders, total FROM everyone"

Ask = Callable[[], tuple[int, Decimal]]


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Ask]]:
    """The store's address, and a client of its own that asks there."""
    if request.param == "sqlite":
        path = tmp_path / "m.db"

        def ask() -> tuple[int, Decimal]:
            with closing(sqlite3.connect(path, timeout=60)) as connection:
                teach(connection)  # decimals can be compared only then
                [(orders, total)] = connection.execute(ASK).fetchall()
            return orders, Decimal(total)

        yield f"sqlite:///{path}", ask
        return
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        address, _, prefix = url.partition("?prefix=")
        client: Any = redis.Redis.from_url(address, decode_responses=True, socket_timeout=60)

        def ask_redis() -> tuple[int, Decimal]:
            orders, total = client.hmget(f"{prefix}:{client.get(f'{prefix}:everyone')}:all", "orders", "total")
            return int(orders), Decimal(total)

        with closing(client):
            yield url, ask_redis
        return
    url = request.getfixturevalue("postgres_url")
    connections = threading.local()

    def ask_postgres() -> tuple[int, Decimal]:
        if not hasattr(connections, "kept"):
            connections.kept = psycopg.connect(url, autocommit=True)
        [(orders, total)] = connections.kept.execute(ASK, prepare=True).fetchall()
        return orders, total

    yield url, ask_postgres


class Background:
    """Something that is done again and again in a thread, until it is stopped or fails."""

    def __init__(self, turn: Callable[[], None]) -> None:
        self._turn, self._stop = turn, threading.Event()
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._turn()
        except Exception as error:  # noqa: BLE001 -- told to the test
            self.failure = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


def test_readers_see_whole_rows_and_no_error_and_never_an_earlier_state(tmp_path: Path, place: tuple[str, Ask]) -> None:
    url, ask = place
    log = make_log(PARTITIONS, SqliteLog(tmp_path / "log.db"))
    for partition in range(PARTITIONS):
        append(log, [placed("t", total="0.01") for _ in range(BEFORE)], partition)
    store = open_store(url)
    reading = Reading(log, Everyone, store=store)
    reading.read()
    reading.runner.close()
    wrong = [Everyone("all", PARTITIONS * BEFORE, Decimal("0.01") * PARTITIONS * BEFORE + SPOILT)]
    store.apply("an operator", {}, {}, lambda loading: loading.save(table_of(Everyone), wrong))
    runner = ProjectionRunner(reading.model, log, store)
    loop = runner.loop()
    loop.start()
    written = [PARTITIONS * BEFORE]
    reads: list[list[tuple[int, Decimal]]] = [[], []]

    def write() -> None:
        append(log, [placed("t", total="0.01")], written[0] % PARTITIONS)
        written[0] += 1
        pause.wait(between_s[0])

    def fewer(progress: Progress) -> None:
        """What a switch asks for that cannot catch up: on a slow machine it would never do."""
        between_s[0] = min(1.5 * between_s[0], 5.0)

    def look(found: list[tuple[int, Decimal]]) -> None:
        found.append(ask())

    pause, between_s = threading.Event(), [OFTEN_S]
    at_work = [Background(write), *(Background(partial(look, found)) for found in reads)]
    one = Rebuilding(reading.model, store, log, this_process("ann", SYSTEM), SYSTEM)

    def seen(spoilt: bool) -> None:
        """Waits until both readers have seen such rows from now on: then neither asks for those of before any more."""
        begun, between_s[0] = [len(found) for found in reads], OFTEN_S

        def by_all() -> bool:
            new = [found[start:] for found, start in zip(reads, begun, strict=True)]
            return all(any((total > 500) == spoilt for _, total in found) for found in new)

        eventually(
            lambda: by_all() or any(b.failure for b in at_work),
            saying=f"rows that are {'wrong' if spoilt else 'right'} are read",
        )

    try:
        one.build(lambda progress: None, threading.Event(), per_second=2000)
        seen(spoilt=True)
        one.switch(fewer)
        seen(spoilt=False)
        one.roll_back(fewer)
        seen(spoilt=True)
        one.switch(fewer)
        seen(spoilt=False)
        one.drop()
    finally:
        pause.set()
        for background in at_work:
            background.stop()
    assert [background.failure for background in at_work] == [None] * 3
    for found in reads:
        assert {total - orders * Decimal("0.01") for orders, total in found} == {0, SPOILT}
        assert [orders for orders, _ in found] == sorted(orders for orders, _ in found)
    wait_until(
        store, reading.model.runner, log.ends([TopicPartition(TOPIC, p) for p in range(PARTITIONS)]), 60, log=log
    )
    loop.stop()
    runner.close()
    assert loop.status.state == "stopped", loop.status.last_failure
    assert ask() == (written[0], written[0] * Decimal("0.01"))
    store.close()
    log.close()
