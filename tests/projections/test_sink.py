"""Handlers that write with the store's own cursor: what they have written is there exactly when the position is."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import Failed, Misuse, Unavailable
from headwater.log.port import TopicPartition
from headwater.operations.rebuild import Rebuilding
from headwater.projections.declare import table_of
from headwater.stores.memory import MemoryStore
from headwater.stores.opening import open_store
from headwater.stores.port import Store
from headwater.stores.redis import RedisStore
from tests.projections.trade import TOPIC, Paid, Placed, Reading, append, make_log, placed

P0 = TopicPartition(TOPIC, 0)
Ask = Callable[[str], list[tuple[Any, ...]]]


class Copied(hw.Projection):
    """A row, and a line in a table of the user's own."""

    trade_id: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(Placed)
    def placed(self, event: Placed, meta: hw.Meta, sink: hw.Sink[Any]) -> None:
        sink.cursor.execute(f"INSERT INTO copies VALUES ('{event.trade_id}', '{meta.id}')")
        if event.customer == "wrong":
            raise ArithmeticError("of the handler")
        self.total = event.total

    @hw.on(Paid)
    def paid(self, event: Paid, rows: hw.Rows, sink: hw.Sink[Any]) -> None:
        found = rows.get(Copied, "t1")
        sink.cursor.execute(f"INSERT INTO copies VALUES ('{event.trade_id}', '{found and found.total}')")


class Stops(Copied, on_failure=hw.stop()):
    pass


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/views.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def ask(url: str, store: Store) -> Ask:
    """By another client, which has made the table."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
                return file.execute(sql).fetchall()
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    ask("CREATE TABLE copies (id text PRIMARY KEY, said text)")
    return ask


def test_what_a_handler_writes_is_committed_with_rows_and_positions(store: Store, ask: Ask) -> None:
    log = make_log()
    append(log, [placed("t1"), placed("t2"), Paid("t3", Decimal(1))])
    reading = Reading(log, Copied, store=store)
    reading.read()
    assert ask("SELECT * FROM copies ORDER BY id") == [("t1", "event-0"), ("t2", "event-1"), ("t3", "10.00")]
    reading.start()
    reading.read()
    assert len(ask("SELECT * FROM copies")) == 3


def test_a_record_that_fails_leaves_nothing_of_what_it_wrote_and_the_others_all(store: Store, ask: Ask) -> None:
    log = make_log()
    append(log, [placed("t1"), placed("t2", "wrong"), placed("t3"), placed("t4", "wrong"), placed("t5")])
    Reading(log, Copied, store=store).read()
    assert [key for (key,) in ask("SELECT id FROM copies ORDER BY id")] == ["t1", "t3", "t5"]
    assert [row.trade_id for row in store.rows(table_of(Copied))] == ["t1", "t3", "t5"]


def test_a_statement_that_the_store_refuses_is_the_records_own_failure(store: Store, ask: Ask) -> None:
    ask("INSERT INTO copies VALUES ('t2', 'there already')")
    log = make_log()
    append(log, [placed("t1"), placed("t2"), placed("t3")])
    Reading(log, Copied, store=store).read()
    assert [row.trade_id for row in store.rows(table_of(Copied))] == ["t1", "t3"]
    assert ask("SELECT said FROM copies WHERE id = 't2'") == [("there already",)]


def test_where_a_failure_stops_what_came_before_it_is_committed(store: Store, ask: Ask) -> None:
    log = make_log()
    append(log, [placed("t1"), placed("t2", "wrong"), placed("t3")])
    with pytest.raises(Failed, match="of the handler"):
        Reading(log, Stops, store=store).read()
    assert ask("SELECT id FROM copies") == [("t1",)]


def test_a_projection_may_keep_no_rows_of_its_own(store: Store, ask: Ask) -> None:
    class Shipment(hw.Projection):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, sink: hw.Sink[Any]) -> hw.Deleted:
            sink.cursor.execute(f"INSERT INTO copies VALUES ('{event.trade_id}', '')")
            return hw.DELETED

    log = make_log()
    append(log, [placed("t1"), placed("t2")])
    Reading(log, Shipment, store=store).read()
    assert len(ask("SELECT * FROM copies")) == 2
    assert store.rows(table_of(Shipment)) == []


def test_a_handler_must_not_end_the_transaction(store: Store, ask: Ask) -> None:
    class Ends(hw.Projection, on_failure=hw.stop()):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, sink: hw.Sink[Any]) -> None:
            sink.cursor.execute("COMMIT")

    log = make_log()
    append(log, [placed("t1")])
    with pytest.raises(Misuse, match="a handler has ended the transaction"):
        Reading(log, Ends, store=store).read()


def test_a_server_that_goes_away_within_a_handler_is_no_failure_of_its_record(postgres_url: str) -> None:
    class Cut(hw.Projection):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, sink: hw.Sink[psycopg.Cursor[Any]]) -> None:
            sink.cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    log = make_log()
    append(log, [placed("t1")])
    with closing(open_store(postgres_url)) as store:
        reading = Reading(log, Cut, store=store)
        with pytest.raises(Unavailable, match=r"postgresql://.*terminating connection"):
            reading.read()
        assert store.positions(reading.model.runner) == {}


def test_a_store_without_such_transactions_says_so(redis_url: str) -> None:
    log = make_log()
    append(log, [placed("t1")])
    with (
        closing(RedisStore(redis_url)) as store,
        pytest.raises(Failed, match=r"needs a store with transactions of its own"),
    ):
        Reading(log, Stops, store=store).read()


def test_a_rebuild_would_write_again_and_is_refused() -> None:
    log = make_log()
    reading = Reading(log, Copied, store=MemoryStore())
    rebuilding = Rebuilding(reading.model, reading.store, log, "somebody", SYSTEM)  # type: ignore[arg-type] # it asks nobody
    with pytest.raises(Misuse, match=r"write beside its rows \(hw\.Sink\)"):
        rebuilding.build(lambda progress: None, threading.Event())


def test_the_order_of_what_a_handler_asks_for_is_fixed() -> None:
    with pytest.raises(Misuse, match=r"rows: hw\.Rows and sink: hw\.Sink"):

        class Mixed(hw.Projection):
            trade_id: hw.Key[str]

            @hw.on(Placed)
            def placed(self, event: Placed, sink: hw.Sink[Any], meta: hw.Meta) -> None: ...
