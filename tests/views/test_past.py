"""What the answer to a question was: made again from the log, it is that of the events up to the moment."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import Misuse
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record, TopicPartition
from headwater.messages.envelope import time_text
from headwater.schemas.topics import PLAIN
from headwater.views.asking import answer
from headwater.views.file import MEMORY, ViewFile
from headwater.views.history import rows_at
from headwater.views.moments import Moment
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.replaying import ends_of, replay
from headwater.views.sources import catalogue_of
from headwater.views.state import compile_view
from headwater.views.texts import Text
from tests.logs import log as log
from tests.logs import open_again as open_again
from tests.views.comparing import same
from tests.views.ending import ending
from tests.views.feeding import Fed, records_of
from tests.views.orders import CODEC, SEED, TOPIC, Order, OrderEvent, PlaceOrder, Summary, make_log
from tests.views.shapes import SHAPES, Shape
from tests.views.test_oracle import Oracle, batches, events, plan_of

START = datetime(2026, 1, 5, tzinfo=UTC)
Taken = Callable[[Record], bool]


def filled(chance: random.Random) -> tuple[Log, dict[tuple[int, int], tuple[datetime, datetime]]]:
    """A log of orders, and of each record when it happened and when it was recorded: in no order, and in order."""
    log, recorded = make_log(2), START
    for event in events(chance):
        recorded += timedelta(minutes=chance.randrange(60))
        time = START + timedelta(minutes=chance.randrange(1000))
        key = event.order_id.encode()
        headers = [("hw_recorded", time_text(recorded).encode())]
        log.append([NewRecord(TOPIC, partition_of(key, 2), key, CODEC.encode(event, time), headers)])
    times = {}
    for one in records_of(log):
        said = CODEC.payload_time(one.value)
        assert isinstance(said, datetime)
        times[one.partition, one.offset] = said, datetime.fromisoformat(dict(one.headers)["hw_recorded"].decode())
    return log, times


def moments(chance: random.Random, log: Log, times: dict[Any, tuple[datetime, datetime]]) -> list[tuple[Moment, Taken]]:
    """One of each kind, with which records come before it."""
    ends = log.ends([TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)])
    positions = {tp: chance.randint(0, end) for tp, end in ends.items()}
    happened, known = chance.choice(list(times.values()))[0], chance.choice(list(times.values()))[1]
    return [
        (Moment(positions={"v": positions}), lambda one: one.offset < positions[TopicPartition(TOPIC, one.partition)]),
        (Moment(as_of=happened), lambda one: times[one.partition, one.offset][0] <= happened),
        (Moment(known_at=known), lambda one: times[one.partition, one.offset][1] <= known),
    ]


def check(shape: Shape, seed: int) -> None:
    """Raises AssertionError with the seed where the answer is another than that of the events before the moment."""
    chance = random.Random(seed)
    log, times = filled(chance)
    view = plan_of(shape)
    for moment, taken in moments(chance, log, times):
        with (
            closing(Oracle({one.name for one in view.relation.types}, shape.oracle)) as oracle,
            closing(ViewFile(MEMORY)) as file,
        ):
            oracle.add([one for one in records_of(log) if taken(one)])
            replay(view, log, file, moment, ends_of(view, log, moment), PLAIN, SYSTEM)
            with file.aside() as connection:
                found = list(answer(connection, "SELECT * FROM v", (), None))
            wanted = oracle.rows()
            assert same(found, wanted), f"seed {seed}, {shape.name}, {moment}: {found} instead of {wanted}"


def with_history(shape: Shape) -> View:
    [view] = plan_views([Text(f"CREATE TABLE v WITH (history = true) AS {shape.view}")], catalogue_of([OrderEvent], []))
    return view


def check_history(shape: Shape, seed: int) -> None:
    """Raises AssertionError with the seed where what is kept says something else than the events before the moment."""
    chance = random.Random(seed)
    log, times = filled(chance)
    view = with_history(shape)
    with closing(Fed(view)) as fed:
        for batch in batches(chance, records_of(log)):
            fed.feed(batch)
        compiled = compile_view(view, fed.model.runner)
        for moment, taken in [*moments(chance, log, times), (None, lambda one: True)]:
            with closing(Oracle({one.name for one in view.relation.types}, shape.oracle)) as oracle:
                oracle.add([one for one in records_of(log) if taken(one)])
                found = fed.rows(None if moment is None else rows_at(view, compiled, moment))
                wanted = oracle.rows()
                assert same(found, wanted), f"seed {seed}, {shape.name}, {moment}: {found} instead of {wanted}"


@pytest.mark.parametrize("shape", SHAPES[3:6], ids=lambda one: one.name)
def test_kept_history_is_that_of_the_events_up_to_there(shape: Shape) -> None:
    check_history(shape, 1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_kept_history_is_that_of_the_events_up_to_there_for_more_seeds(shape: Shape) -> None:
    for seed in range(2, 5):
        check_history(shape, seed)


@pytest.mark.parametrize("shape", SHAPES[:3], ids=lambda one: one.name)
def test_a_view_as_it_was_is_that_of_the_events_up_to_there(shape: Shape) -> None:
    check(shape, 1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_a_view_as_it_was_is_that_of_the_events_up_to_there_for_more_seeds(shape: Shape) -> None:
    for seed in range(2, 5):
        check(shape, seed)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[hw.Shop, hw.Shop]]:
    """A shop in the process that maintains the views, and one that has to ask it."""
    place = tmp_path_factory.mktemp("past")
    (place / "views.sql").write_text(
        SEED
        + "\nCREATE TABLE sizes AS SELECT total > 5 AS big, COUNT(*) AS orders FROM order_summary GROUP BY big;"
        + SEED.replace("order_summary", "kept WITH (history = true)")
        + "CREATE TABLE kept_sizes AS SELECT total > 5 AS big, COUNT(*) AS orders FROM kept GROUP BY big;"
    )
    app = hw.App("shop", aggregates=[Order], views=f"{place}/*.sql", partitions=2)
    url = f"sqlite:///{place / 'shop.db'}"
    with app.run(url) as shop, app.connect(url) as client:
        receipts = [
            shop.send(PlaceOrder("1", [Decimal(price)]), time=START + timedelta(days=day))
            for day, price in ((3, "7"), (1, "1"), (2, "2"))
        ]
        for view in ("order_summary", "kept"):
            shop.query(f"SELECT * FROM {view}", into=Summary, after=receipts)
        yield shop, client


def test_a_question_about_a_time(both: tuple[hw.Shop, hw.Shop]) -> None:
    shop, client = both
    for asked in (shop, client):
        for day, total in ((1, "1"), (2, "3"), (3, "10")):
            time = START + timedelta(days=day)
            found = asked.query("SELECT * FROM order_summary WHERE orderId = ?", "1", into=Summary, as_of=time)
            assert found == [Summary("1", Decimal(total))]
        assert asked.query("SELECT * FROM order_summary", into=Summary, as_of=START) == []
        assert asked.query("SELECT * FROM order_summary", into=Summary, known_at=START) == []
        assert asked.query("SELECT big FROM sizes", into=bool, as_of=START + timedelta(days=2)) == [False]
        cost = asked.estimate("SELECT big FROM sizes", as_of=START)
        assert (cost.views, cost.records >= 3) == (("order_summary",), True)


def test_a_question_about_what_is_kept(both: tuple[hw.Shop, hw.Shop]) -> None:
    shop, client = both
    receipt = shop.send(PlaceOrder("2", [Decimal(1)]), time=START + timedelta(days=9))
    for asked in (shop, client):
        assert len(asked.query("SELECT * FROM kept", into=Summary, after=receipt)) == 2
        for day, total in ((1, "1"), (2, "3"), (3, "10")):
            found = asked.query("SELECT * FROM kept", into=Summary, as_of=START + timedelta(days=day), most_replayed=0)
            assert found == [Summary("1", Decimal(total))]
        bigs = asked.query("SELECT big FROM kept_sizes", into=bool, as_of=START + timedelta(days=2), most_replayed=0)
        assert bigs == [False]
        assert asked.estimate("SELECT big FROM kept_sizes", as_of=START) == hw.Estimate(0, ())
        with ending(asked.follow("SELECT * FROM kept", into=Summary)) as steps:
            position = next(steps).position
        past = asked.query("SELECT * FROM kept", into=Summary, as_of=position, most_replayed=0)
        assert len(past) == 2
        joined = "SELECT k.total FROM kept k JOIN order_summary s ON k.orderId = s.orderId"
        assert asked.query(joined, into=Decimal, as_of=START + timedelta(days=2)) == [Decimal(3)]  # read again, both


def test_a_view_that_cannot_keep_what_it_was_is_refused(tmp_path: Path) -> None:
    (tmp_path / "views.sql").write_text(
        "CREATE TABLE v WITH (history = true) AS SELECT orderId, COUNT(*) AS n FROM order-events "
        "GROUP BY orderId, SESSION(_time, INTERVAL 1 HOUR)"
    )
    app = hw.App("shop", aggregates=[Order], views=f"{tmp_path}/*.sql")
    with pytest.raises(Misuse, match="history = true is kept for the events of one topic"), app.run("memory://"):
        pass


def test_a_question_about_a_position(both: tuple[hw.Shop, hw.Shop]) -> None:
    shop, client = both
    with ending(shop.follow("SELECT * FROM order_summary WHERE orderId = '7'", into=Summary)) as steps:
        before = next(steps).position
        shop.send(PlaceOrder("7", [Decimal(4)]))
        after = next(steps).position
        shop.send(PlaceOrder("7", [Decimal(5)]))
        next(steps)
    for asked in (shop, client):
        found = [
            asked.query("SELECT total FROM order_summary WHERE orderId = '7'", into=Decimal, as_of=position)
            for position in (before, after)
        ]
        assert found == [[], [Decimal(4)]]


def test_what_was_cannot_always_be_told(both: tuple[hw.Shop, hw.Shop]) -> None:
    shop, _ = both
    sql, naive = "SELECT * FROM order_summary", datetime(2026, 1, 1)
    receipt = shop.send(PlaceOrder("1", []))
    refused: list[tuple[str, dict[str, Any]]] = [
        ("must be aware", {"as_of": naive}),
        ("take one of them", {"as_of": START, "known_at": START}),
        ("take one of them", {"as_of": START, "after": receipt}),
        ("a receipt is of one partition", {"as_of": receipt.token}),
        ("is no token", {"as_of": "yesterday"}),
        ("most_replayed=", {"as_of": START, "most_replayed": 2}),
    ]
    for why, more in refused:
        with pytest.raises(Misuse, match=why):
            shop.query(sql, into=Summary, **more)
    with pytest.raises(Misuse, match="no view here"):
        shop.query("SELECT * FROM hw_tables", into=Summary, as_of=START)
    with pytest.raises(Misuse, match="say at which moment"):
        shop.estimate(sql)


@pytest.mark.slow
def test_positions_and_times_on_every_log(log: Log, tmp_path: Path) -> None:
    (tmp_path / "views.sql").write_text(SEED + SEED.replace("order_summary", "kept WITH (history = true)"))
    app = hw.App("shop", aggregates=[Order], views=f"{tmp_path}/*.sql", partitions=2)
    with app.run(log, store=f"sqlite:///{tmp_path / 'models.db'}") as shop:
        for view in ("order_summary", "kept"):
            sql = f"SELECT * FROM {view} WHERE orderId = '{view}'"
            with ending(shop.follow(sql, into=Summary, timeout_s=60)) as steps:
                next(steps)
                shop.send(PlaceOrder(view, [Decimal(1)]))
                first = next(steps).position
                shop.send(PlaceOrder(view, [Decimal(2)]))
                last = next(steps).position
            for moment, total in ((first, 1), (last, 3), (datetime.now(UTC) + timedelta(days=1), 3)):
                found = shop.query(sql, into=Summary, as_of=moment, timeout_s=60)
                assert found == [Summary(view, Decimal(total))]
            with ending(shop.follow(sql, into=Summary, since=first, timeout_s=60)) as steps:
                assert [(one.row.total, one.weight) for one in next(steps).changes] == [
                    (Decimal(1), -1),
                    (Decimal(3), 1),
                ]
