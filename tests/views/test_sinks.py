"""The rows of a view in a store: whole rows from an outbox, with a position, on real servers."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import Misuse, Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, Record, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.operations.groups import group_lags
from headwater.stores.opening import open_store
from headwater.stores.port import TableSchema
from headwater.testing.redis import RedisServer, start_redis
from headwater.testing.waiting import eventually
from headwater.views import merging
from headwater.views import outbox as outbox_module
from headwater.views import sending as sending_module
from headwater.views.errors import BadStatement
from headwater.views.file import ViewFile
from headwater.views.outbox import Outbox, Taken
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sending import sink_runner
from headwater.views.sinks import key_text, plan_sink
from headwater.views.sources import Catalogue, catalogue_of
from headwater.views.state import compile_view
from headwater.views.texts import Text
from headwater.views.types import VARCHAR
from tests.views import shopping, test_joins, test_oracle
from tests.views.feeding import Fed, records_of
from tests.views.orders import (
    CODEC,
    SEED,
    TOPIC,
    Order,
    OrderEvent,
    OrderPlaced,
    PlaceOrder,
    Summary,
    append,
    make_log,
    placed,
    seed_plan,
)
from tests.views.send import RUNNER as CHILD
from tests.views.shapes import SHAPES

RUNNER = sink_runner("shop", "order_summary")
PATIENCE_S = 60


def with_sink(url: str, sql: str = SEED) -> str:
    return sql.replace(" AS SELECT", f" WITH (sink = '{url}') AS SELECT", 1)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
    """The shop, with its files in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views").mkdir()
    return hw.App("shop", aggregates=[Order], views="views/*.sql", partitions=2)


def state(folder: Path, sql: str) -> None:
    (folder / "views" / "order_summary.sql").write_text(sql)


def table_of(app: hw.App) -> TableSchema[Any]:
    statements = app.statements()
    assert statements is not None
    [view] = statements.plans
    return plan_sink(view, "r", compile_view(view, "r")).table


def in_sink(url: str, table: TableSchema[Any]) -> dict[str, Any] | None:
    """The rows of a sink, by what identifies them, as another process sees them; None: it is not begun yet."""
    with closing(open_store(url)) as store:
        try:
            return {row.row_key: row.total for row in store.rows(table)}
        except (Unavailable, Misuse):  # with these columns
            return None


def shows(url: str, table: TableSchema[Any], rows: dict[str, Decimal | None]) -> bool:
    return in_sink(url, table) == rows


def test_rows_come_go_and_change_and_a_sink_that_lost_them_is_filled_anew(
    app: hw.App, tmp_path: Path, redis_server: RedisServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINK", redis_url)
    monkeypatch.setattr(sending_module, "LOOK_S", 0.2)
    state(tmp_path, with_sink("${SINK}", SEED.replace(";", " HAVING total > 1;")))
    table = table_of(app)
    log = MemoryLog()
    with app.run(log) as shop:
        shop.send(PlaceOrder("1", [Decimal("1.10"), Decimal(2)]))
        shop.send(PlaceOrder("2", [Decimal(5)]))
        shop.send(PlaceOrder("3", [Decimal("0.5")]))
        eventually(lambda: in_sink(redis_url, table) == {"1": Decimal("3.1"), "2": Decimal(5)}, PATIENCE_S)
        shop.send(PlaceOrder("2", [Decimal(-5)]))
        shop.send(PlaceOrder("3", [Decimal(1)]))
        eventually(lambda: in_sink(redis_url, table) == {"1": Decimal("3.1"), "3": Decimal("1.5")}, PATIENCE_S)
        with closing(open_store(redis_url)) as store:
            store.forget(RUNNER)
            eventually(lambda: in_sink(redis_url, table) == {"1": Decimal("3.1"), "3": Decimal("1.5")}, PATIENCE_S)
            eventually(lambda: lag_of(log) == {0}, PATIENCE_S)
            assert store.positions(RUNNER) == log.ends(list(store.positions(RUNNER)))


def lag_of(log: Log) -> set[int | None]:
    """What `hw lag` says of the sink."""
    return {one.lag for one in group_lags(log) if one.group == RUNNER}


@pytest.mark.slow
def test_a_changed_statement_fills_it_anew_and_a_lost_or_restored_file_does_not_take_it_back(
    app: hw.App, tmp_path: Path, redis_url: str
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    state(tmp_path, with_sink(redis_url))
    table = table_of(app)
    with app.run(url) as shop:
        shop.send(PlaceOrder("1", [Decimal("1.10"), Decimal(2)]))
        shop.send(PlaceOrder("2", [Decimal(5)]))
        eventually(lambda: in_sink(redis_url, table) == {"1": Decimal("3.1"), "2": Decimal(5)}, PATIENCE_S)
    state(
        tmp_path,
        with_sink(redis_url, SEED.replace("SUM(item_price) AS total", "COUNT(*) AS n, MAX(item_price) AS total")),
    )
    table = table_of(app)
    with app.run(url) as shop:
        eventually(lambda: in_sink(redis_url, table) == {"1": Decimal(2), "2": Decimal(5)}, PATIENCE_S)
    copied = shutil.copytree(
        tmp_path, tmp_path.parent / f"{tmp_path.name}-copy", ignore=shutil.ignore_patterns("*.sql")
    )
    with app.run(url) as shop:
        shop.send(PlaceOrder("1", [Decimal(3)]))
        eventually(lambda: in_sink(redis_url, table) == {"1": Decimal(3), "2": Decimal(5)}, PATIENCE_S)
    for file in copied.glob("shop.views.duckdb*"):
        shutil.copy(file, tmp_path / file.name)
    with closing(open_store(redis_url)) as store:  # as what the view's file knew, and has lost
        store.apply(RUNNER, {}, {}, lambda loading: loading.delete(table, [("2",)]))
    with app.run(url) as shop:
        eventually(lambda: in_sink(redis_url, table) == {"1": Decimal(3), "2": Decimal(5)}, PATIENCE_S)
    for file in tmp_path.glob("shop.views.duckdb*"):
        file.unlink()
    with closing(open_store(redis_url)) as store:
        before = store.positions(RUNNER)
    with app.run(url) as shop:
        shop.send(PlaceOrder("1", [Decimal(7)]))
        eventually(lambda: in_sink(redis_url, table) == {"1": Decimal(7), "2": Decimal(5)}, PATIENCE_S)
    with closing(open_store(redis_url)) as store:
        assert all(store.positions(RUNNER)[tp] >= position for tp, position in before.items())


def test_what_has_no_row_of_its_own_key_is_refused(app: hw.App, tmp_path: Path) -> None:
    refused = {
        "SELECT orderId, total FROM order-events": "GROUP BY what identifies a row",
        "SELECT COUNT(*) AS n FROM order-events": "it has one row and no key",
        "SELECT COUNT(*) AS n FROM order-events GROUP BY orderId": "must be among its columns",
        "SELECT orderId AS row_key, COUNT(*) AS n FROM order-events GROUP BY orderId": "cannot be called 'row_key'",
    }
    for query, why in refused.items():
        state(tmp_path, f"CREATE TABLE order_summary\nWITH (sink = 'redis://x') AS {query};")
        with pytest.raises(BadStatement, match=why) as caught:
            app.statements()
        assert (caught.value.line, caught.value.column) == (2, 7)
    state(tmp_path, with_sink("memory://"))
    with pytest.raises(BadStatement, match="its address begins with one of redis://"):
        app.statements()
    state(tmp_path, with_sink("redis://${NOWHERE}"))
    with pytest.raises(Misuse, match="environment has no NOWHERE"), app.run("memory://"):
        pass


@pytest.mark.slow
def test_a_sink_that_is_away_is_waited_for_while_the_view_goes_on(app: hw.App, tmp_path: Path) -> None:
    server = start_redis(tmp_path / "redis")
    try:
        server.kill()
        state(tmp_path, with_sink(server.url))
        table = table_of(app)
        with app.run("memory://") as shop:
            for _ in range(2):
                receipt = shop.send(PlaceOrder("1", [Decimal(2)]))
                found = shop.query("SELECT * FROM order_summary", into=Summary, after=receipt)
                server.start()
                wanted = {one.order_id: one.total for one in found}
                eventually(partial(shows, server.url, table, wanted), PATIENCE_S)
                server.kill()
    finally:
        server.delete()


@contextmanager
def sending(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.views.send", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for_death_or_end(child: subprocess.Popen[str], url: str, ends: Mapping[TopicPartition, int]) -> None:
    with closing(open_store(url)) as store:
        eventually(lambda: child.poll() is not None or store.positions(CHILD) == ends, 120)


def histories(records: list[Record]) -> dict[str, list[tuple[TopicPartition, int, Decimal]]]:
    """Each order's totals, one after the other, and the positions from which on they hold."""
    found: dict[str, list[tuple[TopicPartition, int, Decimal]]] = {}
    for record in records:
        event = CODEC.decode(record.value)
        assert isinstance(event, OrderPlaced)
        so_far = found.setdefault(event.order_id, [])
        total = event.total + (so_far[-1][2] if so_far else 0)
        so_far.append((TopicPartition(record.topic, record.partition), record.offset + 1, total))
    return found


def refuse_older(url: str, records: list[Record]) -> Mapping[TopicPartition, int]:
    """Each row of the sink is one that the view had at the sink's position or later. Returns the position."""
    with closing(open_store(url)) as store:
        positions = store.positions(CHILD)
    found = in_sink(url, TABLE) or {}
    for order, history in histories(records).items():
        then = [total for tp, since, total in history if since <= positions.get(tp, 0)][-1:]
        later = [total for tp, since, total in history if since > positions.get(tp, 0)]
        assert found.get(order) in ([*then, *later] if then else [None, *later]), (order, positions)
    return positions


TABLE = plan_sink(seed_plan(), "r", compile_view(seed_plan(), "r")).table


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "steps"),
    [
        (
            "redis_url",
            [("part", "2"), ("taken", "1"), ("written", "1"), ("part", "3"), ("done", "1"), ("written", "2")],
        ),
        ("opensearch_url", [("part", "2"), ("written", "1")]),
    ],
)
def test_killed_at_each_step(
    tmp_path: Path, store: str, steps: list[tuple[str, str]], request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(store)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance, path = random.Random(seed), str(tmp_path / "views.duckdb")
    before: Mapping[TopicPartition, int] = {}
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        make_log(2, log)

        def write(count: int) -> None:
            append(log, [placed(str(chance.randrange(30)), f"{chance.randrange(999) / 100:.2f}") for _ in range(count)])

        partitions = [TopicPartition(TOPIC, p) for p in range(2)]
        for step in steps:
            with sending(str(tmp_path / "log.db"), path, url, *step) as child:
                while child.poll() is None:  # where it is slow it sends all at once, and has to be given more
                    write(60)
                    wait_for_death_or_end(child, url, log.ends(partitions))
                assert child.returncode == -signal.SIGKILL
            after = refuse_older(url, records_of(log))
            assert all(after[tp] >= position for tp, position in before.items()), step
            before = after
        with sending(str(tmp_path / "log.db"), path, url) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "all sent\n"
            refuse_older(url, records_of(log))
        with closing(ViewFile(path)) as file, file.aside() as connection:
            rows = dict(connection.execute("SELECT orderId, total FROM order_summary").fetchall())
        totals = {order: history[-1][2] for order, history in histories(records_of(log)).items()}
        assert in_sink(url, TABLE) == totals == rows


WINDOWS = [
    "SELECT orderId, window_start, window_end, SUM(total) AS s FROM order-events GROUP BY orderId, "
    "TUMBLE(_time, INTERVAL 1 MINUTE)",
    "SELECT customerId, window_start, window_end, COUNT(DISTINCT orderId) AS n, MAX(total) AS hi FROM order-events "
    "GROUP BY customerId, TUMBLE(_time, INTERVAL 1 MINUTE, grace => INTERVAL 1 MINUTE)",
]


def with_keys(queries: Iterable[str], catalogue: Callable[[], Catalogue], before: str = "") -> Iterator[View]:
    """Those that can have a sink, as views. Arguments: before: views that they read."""
    for query in queries:
        try:
            views = plan_views([Text(f"{before} CREATE TABLE v WITH (sink = 'redis://x') AS {query}")], catalogue())
        except BadStatement as error:
            if "cannot have a sink" not in str(error):
                raise
        else:
            yield next(view for view in views if view.name == "v")


def refuse_forgotten(view: View, batches: Iterable[list[Record]], chance: random.Random) -> None:
    """What is in the outbox after each batch is all that is new in the view."""
    fed = Fed(view)
    assert fed.sink is not None
    sent: dict[Any, Any] = {}
    try:
        outbox = Outbox(fed.sink, fed.model.runner, fed.file)
        outbox.begin("", SYSTEM)
        for batch in batches:
            fed.feed(batch)
            with closing(outbox.take(everything=True)) as all_of_them:
                there = {key: row for key, *row, _ in rows_of(all_of_them)}
            assert len(there) == len(fed.rows()), view.sql
            with closing(outbox.take(everything=False)) as taken:
                for key, *row, is_there in rows_of(taken):
                    sent.pop(key, None)
                    if is_there:
                        sent[key] = row
                assert sent == there, view.sql
                if chance.random() < 0.7:  # or else it was killed before that
                    outbox.done(taken)
    finally:
        fed.close()


def rows_of(taken: Taken) -> Iterator[tuple[Any, ...]]:
    last = False
    while not last:
        last = taken.last
        yield from taken.rows()


def test_whatever_changes_in_a_view_is_in_its_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_forgotten_changes(monkeypatch, 2)


@pytest.mark.slow
def test_the_same_of_every_shape_and_of_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_forgotten_changes(monkeypatch, 100)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance, views = (
        random.Random(seed),
        list(with_keys(test_joins.SHAPES.values(), shopping.catalogue, shopping.DESCRIBED + test_joins.BEFORE)),
    )
    for view in chance.sample(views, 6):
        records = shopping.records_of(shopping.events(chance))
        refuse_forgotten(view, shopping.batches(chance, records), chance)


def refuse_forgotten_changes(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Arguments: most: of how many shapes."""
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    monkeypatch.setattr(merging, "MERGE_ROWS", 20)
    monkeypatch.setattr(outbox_module, "ROWS_AT_ONCE", 3)
    queries = [*WINDOWS, *(shape.view for shape in SHAPES)]
    views = list(with_keys(queries, lambda: catalogue_of([OrderEvent], [])))
    assert len(views) > len(WINDOWS) + 5
    for view in chance.sample(views, min(most, len(views))):
        log = make_log(2)
        append(log, test_oracle.events(chance))
        refuse_forgotten(view, test_oracle.batches(chance, records_of(log)), chance)


def test_each_key_has_a_text_of_its_own() -> None:
    values: list[str | None] = ["", "a", "a:b", ":", "%", "%3A", "\\N", "\\", "\\\\N", "b", None]
    for count in (1, 2):
        text = key_text([(f"k{i}", VARCHAR) for i in range(count)])
        sources = ", ".join(f"(SELECT unnest(?::VARCHAR[]) AS k{i})" for i in range(count))
        relation = duckdb.sql(f"SELECT {text} FROM {sources}", params=[values] * count)
        assert relation is not None
        found = relation.fetchall()
        assert len(set(found)) == len(values) ** count
        assert ("a" if count == 1 else "a:b",) in found
