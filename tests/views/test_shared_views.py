"""Processes that share views: asked in any of them, over all partitions, after a receipt, while they come and go."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.client import shared_views
from headwater.client.receipts import Receipt
from headwater.client.shop import Shop
from headwater.environment import SYSTEM
from headwater.errors import Misuse, NotYet, Unavailable
from headwater.log.opening import open_log
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, Record
from headwater.messages.tokens import encode_token
from headwater.operations.rebuild_views import FileOfViews, ViewRebuilding
from headwater.schemas.topics import PLAIN
from headwater.testing.waiting import eventually
from headwater.views.serving import socket_of
from tests.logs import on_kafka
from tests.logs import open_again as open_again
from tests.views.comparing import same
from tests.views.ending import ending
from tests.views.feeding import records_of
from tests.views.orders import TOPIC, CancelOrder, OrderCancelled, PlaceOrder, append, make_log
from tests.views.shapes import PRICES
from tests.views.share import PARTITIONS, STATEMENTS, app_of
from tests.views.test_oracle import Oracle

PLACED = "SELECT * FROM events WHERE _type = 'OrderPlaced'"
ROOT = Path(__file__).parents[2]
STORE = "sqlite:///shop.models.db"
WAIT_S = 120


class ByOrder(hw.Value):
    order_id: str
    total: Decimal | None
    n: int


class Given(hw.Value):
    """An order that is the reason of others."""

    order_id: str
    prices: int
    n: int


class Gathered(hw.Value):
    customer_id: str
    n: int
    total: Decimal


class ByCustomer(hw.Value):
    customer_id: str
    n: int
    total: Decimal
    orders: int
    most: Decimal


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the statements."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "shared.sql").write_text(STATEMENTS)
    return tmp_path


def send(shop: Shop, chance: random.Random, count: int) -> list[Receipt]:
    """Places orders and cancels some, with another one as the reason."""
    receipts = []
    for _ in range(count):
        order, other = (str(chance.randrange(12)) for _ in range(2))
        if chance.random() < 0.4:
            receipts.append(shop.send(CancelOrder(order, other)))
        else:
            receipts.append(shop.send(PlaceOrder(order, [Decimal(chance.randrange(1000)) / 100 for _ in range(2)])))
    return receipts


def refuse_difference(shop: Shop, log: Log, after: list[Receipt]) -> None:
    """Raises AssertionError where the views are not what DuckDB says of all events."""
    orders = shop.query("SELECT * FROM by_order", into=ByOrder, after=after, timeout_s=WAIT_S)
    customers = shop.query("SELECT * FROM by_customer", into=ByCustomer, after=after, timeout_s=WAIT_S)
    given = shop.query("SELECT * FROM given", into=Given, after=after, timeout_s=WAIT_S)
    records = records_of(log)
    wanted = batch(records, f"SELECT orderId, SUM({PRICES}), COUNT(*) FROM events GROUP BY orderId")
    assert same([(one.order_id, one.total, one.n) for one in orders], wanted)
    wanted = batch(
        records,
        "SELECT customerId, COUNT(*), SUM(total), COUNT(DISTINCT orderId), MAX(total) "
        f"FROM ({PLACED}) GROUP BY customerId",
    )
    assert same([(one.customer_id, one.n, one.total, one.orders, one.most) for one in customers], wanted)
    states = "SELECT orderId, arg_max(if(_type = 'OrderPlaced', 2, 0), _offset) AS p FROM events GROUP BY orderId"
    wanted = batch(
        records, f"SELECT e.reason, s.p, COUNT(*) FROM events e JOIN ({states}) s ON e.reason = s.orderId GROUP BY ALL"
    )
    assert same([(one.order_id, one.prices, one.n) for one in given], wanted)


def batch(records: list[Record], sql: str) -> list[tuple[Any, ...]]:
    """What DuckDB answers over all events."""
    with closing(Oracle({"OrderPlaced", "OrderCancelled"}, sql)) as oracle:
        oracle.add(records)
        return oracle.rows()


def owned(shop: Shop) -> list[int]:
    """How many partitions of each view this process reads."""
    assert shop._models.views is not None
    return [len(runner.loop.status.owned) for runner in shop._models.views._runners]


@pytest.mark.parametrize(
    "open_again", ["sqlite", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
def test_processes_share_the_partitions_of_a_view(here: Path, open_again: object) -> None:
    assert callable(open_again)
    log, chance = open_again(), random.Random(1)
    with app_of().run(log, store=STORE) as first:
        receipts = send(first, chance, 20)
        with app_of().run(open_again(), store=STORE) as second, app_of().connect(open_again(), store=STORE) as client:
            eventually(lambda: owned(first) == owned(second) == [PARTITIONS // 2] * 3, WAIT_S)
            receipts += send(first, chance, 10)
            refuse_difference(second, log, receipts)
            refuse_difference(client, log, receipts)
            eventually(lambda: client.lag()["by_customer"] == client.lag()["given"] == 0, WAIT_S)
            with pytest.raises(Misuse, match="given is shared and joins"):
                next(iter(first.follow("SELECT * FROM given", into=Given)))
            receipts += send(second, chance, 5)
        refuse_difference(first, log, receipts)  # the partitions of the second come back
        now, then = (first.query("FROM given ORDER BY ALL", into=Given, as_of=at) for at in (None, datetime.now(UTC)))
        assert now == then


@pytest.mark.parametrize(
    "open_again", ["sqlite", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
def test_a_question_is_followed_over_all_processes_while_they_come_and_go(here: Path, open_again: object) -> None:
    assert callable(open_again)
    log, chance = open_again(), random.Random(2)
    customers = "SELECT customerId, n, total FROM by_customer"
    with app_of().run(log, store=STORE) as first, app_of().connect(open_again(), store=STORE) as client:
        with (
            ending(client.follow(customers, into=Gathered, timeout_s=WAIT_S)) as steps,
            ending(first.follow("SELECT * FROM by_order WHERE orderId = ?", "3", into=ByOrder)) as one,
        ):
            rows, position = follow(steps, {}, [])
            assert [change.row for change in next(one).changes] == []
            receipts = send(first, chance, 10)
            rows, position = follow(steps, rows, gathered(first, log, receipts))
            with app_of().run(open_again(), store=STORE) as second:
                eventually(lambda: owned(first) == owned(second) == [PARTITIONS // 2] * 3, WAIT_S)
                receipts += send(second, chance, 10)
                rows, position = follow(steps, rows, gathered(first, log, receipts))
            receipts += send(first, chance, 10)
            rows, position = follow(steps, rows, gathered(first, log, receipts))
            receipts.append(first.send(PlaceOrder("3", [Decimal("1.25")])))
            first.query("SELECT n FROM by_order", into=int, after=receipts, timeout_s=WAIT_S)
            total = added(log, "3")
            told = next(step for step in one if step.changes[-1].row.total == total)
            assert [change.weight for change in told.changes if change.weight > 0] == [1]
        receipts += send(first, chance, 5)
        with ending(client.follow(customers, into=Gathered, since=position, timeout_s=WAIT_S)) as steps:
            follow(steps, rows, gathered(first, log, receipts))  # another one, who knows what was told before


def follow(
    steps: Iterator[hw.Changes[Gathered]], rows: dict[Gathered, int], wanted: list[tuple[Any, ...]]
) -> tuple[dict[Gathered, int], str]:
    """Adds steps to rows until these are what is wanted. Returns them, and the position of the last step."""
    found = Counter(rows)
    for step in steps:
        for change in step.changes:
            found[change.row] += change.weight
        assert min(found.values(), default=0) >= 0, "what goes was there"
        if same([(one.customer_id, one.n, one.total) for one in found.elements()], wanted):
            return {row: weight for row, weight in found.items() if weight}, step.position
    raise AssertionError("it ended")


def gathered(shop: Shop, log: Log, after: list[Receipt]) -> list[tuple[Any, ...]]:
    """What DuckDB says of all events, which can be read by now."""
    shop.query("SELECT n FROM by_customer", into=int, after=after, timeout_s=WAIT_S)
    return batch(records_of(log), f"SELECT customerId, COUNT(*), SUM(total) FROM ({PLACED}) GROUP BY customerId")


def added(log: Log, order: str) -> Decimal:
    """The total of an order."""
    [(total,)] = batch(records_of(log), f"SELECT SUM({PRICES}) FROM events WHERE orderId = '{order}'")
    return Decimal(total)


def test_in_memory_one_process_has_it_all(here: Path) -> None:
    with app_of().run("memory://") as shop:
        receipts = send(shop, random.Random(1), 10)
        refuse_difference(shop, shop._models._log, receipts)


def test_a_shared_view_is_not_rebuilt_beside(here: Path) -> None:
    statements = app_of().statements()
    assert statements is not None
    view = statements.find("by_order")
    assert view is not None
    with closing(open_log("sqlite:///shop.db")) as log:
        file = FileOfViews("shop", statements, log, "shop.views.duckdb", SYSTEM, PLAIN)
        with pytest.raises(Misuse, match="by_order is shared"):
            ViewRebuilding("shop", view, statements, file, SYSTEM)


def test_who_has_no_partition_is_told_what_to_run(here: Path) -> None:
    with app_of().run("sqlite:///shop.db", only=["commands"]) as shop:
        send(shop, random.Random(1), 1)
        with pytest.raises(Unavailable, match=r"nobody on this machine tells order-events/0.*hw run"):
            shop.query("SELECT * FROM by_order", into=ByOrder, timeout_s=0.1)


def test_who_stands_still_is_waited_for_as_long_as_is_asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_views, "ANSWER_S", 0.05)
    path = "shop.views.1.duckdb"
    (here / path).touch()
    with closing(open_log("sqlite:///shop.db")) as log, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(socket_of(path)))
        listening.listen()  # connections wait there as at a process that does not get on
        append(make_log(PARTITIONS, log), [OrderCancelled("1", "5")])
        place = (TOPIC, partition_of(b"1", PARTITIONS))
        with app_of().connect(log, store=STORE) as client, pytest.raises(NotYet) as told:
            client.query("SELECT * FROM by_order", into=ByOrder, after=encode_token({place: 1}, log.id), timeout_s=0.5)
        assert told.value.runner == "running"
    socket_of(path).unlink()


@contextmanager
def sharing(url: str, prefix: str, *step: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.views.share", url, prefix, str(Path.cwd()), *step]
    pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n" or step  # it may have died before
            yield child
        finally:
            child.kill()


def kill_one_of_two(url: str, prefix: str, log: Log, step: str) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    with ExitStack() as children, app_of().run(log, only=["commands"], store=STORE) as shop:
        children.enter_context(sharing(url, prefix))
        mortal = children.enter_context(sharing(url, prefix, step, "4"))
        receipts = send(shop, chance, 10)
        while mortal.poll() is None:
            receipts += send(shop, chance, 5)
            shop.query("SELECT * FROM given", into=Given, after=receipts, timeout_s=WAIT_S)
        assert mortal.returncode == -signal.SIGKILL
        receipts += send(shop, chance, 10)
        refuse_difference(shop, log, receipts)
        children.enter_context(sharing(url, prefix))  # it has the file of who died, and goes on from there
        receipts += send(shop, chance, 10)
        refuse_difference(shop, log, receipts)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["positions written", "routing committed"])
def test_one_of_two_is_killed_on_sqlite(here: Path, step: str) -> None:
    url = f"sqlite:///{here / 'log.db'}"
    with closing(open_log(url)) as log:
        kill_one_of_two(url, "", log, step)


@pytest.mark.slow
@pytest.mark.kafka
def test_one_of_two_is_killed_on_kafka(here: Path, kafka_broker: str) -> None:
    with on_kafka(kafka_broker, here) as (log, url, prefix):
        kill_one_of_two(url, prefix, log, "routing filled")


def test_a_record_that_cannot_be_brought_anywhere_is_told(here: Path) -> None:
    """It is a dead letter before it comes into the view's own topic, and who waits for it learns of it."""
    with closing(open_log("sqlite:///shop.db")) as log:
        places = {key: (TOPIC, partition_of(key.encode(), PARTITIONS)) for key in map(str, range(12))}
        good = next(key for key in places if places[key] != places["5"])
        append(make_log(PARTITIONS, log), [("5", b"{bad"), OrderCancelled(good, "5")])
        with app_of().run(log, only=["views"], store=STORE) as shop:
            for key, told in ((good, nullcontext()), ("5", pytest.raises(NotYet, match="dead letter: decode failed"))):
                after = encode_token({places[key]: 1}, log.id)
                with told:
                    shop.query("SELECT * FROM given", into=Given, after=after, timeout_s=WAIT_S)
