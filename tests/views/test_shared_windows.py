"""Processes that share a window: partitions change hands, and what is late in them is left out and told once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.client.receipts import Receipt
from headwater.client.shop import Shop
from headwater.environment import SYSTEM, KeptTelemetry, System
from headwater.log.partitioning import partition_of
from headwater.log.port import Log
from headwater.operations.deadletters import DeadLetters, Selection
from headwater.operations.deadletters_places import places_of_views
from headwater.testing.waiting import eventually
from headwater.views.late import LATE
from tests.logs import OpenAgain
from tests.logs import open_again as open_again
from tests.views.comparing import same
from tests.views.ending import ending
from tests.views.feeding import records_of
from tests.views.orders import Order, PlaceOrder
from tests.views.test_shared_views import STORE, WAIT_S, owned
from tests.views.timed import Shape, Timed

NINE, PARTITIONS = datetime(2026, 3, 2, 9, tzinfo=UTC), 4
HOURLY = Shape(
    *("hourly", "TUMBLE(_time, INTERVAL 1 HOUR, grace => INTERVAL 5 MINUTE)", "hop", 60, 60, 5, ()),
    "COUNT(*) AS n, COUNT(DISTINCT orderId) AS orders",
)
ORDERS = {partition_of(key.encode(), PARTITIONS): key for key in map(str, range(50))}
"""One in each partition."""


class Hour(hw.Value):
    window_start: datetime
    window_end: datetime
    n: int
    orders: int


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.sql").write_text(HOURLY.view.replace("TABLE v", "TABLE hourly WITH (shared = true)"))
    return hw.App("shop", aggregates=[Order], views="*.sql", partitions=PARTITIONS)


def send(shop: Shop, *minutes: int) -> list[Receipt]:
    """Places orders at minutes after nine, of each time one in each partition."""
    return [
        shop.send(PlaceOrder(order, [Decimal(1)]), time=NINE + timedelta(minutes=at))
        for at in minutes
        for order in ORDERS.values()
    ]


def hours(shop: Shop, **asked: Any) -> list[tuple[object, ...]]:
    found = shop.query("SELECT * FROM hourly", into=Hour, timeout_s=WAIT_S, **asked)
    return [(one.window_start, one.window_end, one.n, one.orders) for one in found]


def told(*processes: KeptTelemetry) -> dict[int, list[float]]:
    """By partition what processes say of late records."""
    found: dict[int, list[float]] = {}
    for process in processes:
        for (name, labels), value in process.gauges.items():
            if name == LATE:
                found.setdefault(int(dict(labels)["partition"]), []).append(value)
    return found


def once(count: int) -> dict[int, list[float]]:
    return {partition: [float(count)] for partition in range(PARTITIONS)}


def refuse_difference(shop: Shop, log: Log, after: list[Receipt]) -> None:
    """Raises AssertionError where the view, or its dead letters, are others than those of all events."""
    with closing(Timed(HOURLY)) as oracle:
        oracle.add(records_of(log))
        found, wanted = hours(shop, after=after), oracle.rows()
        assert same(found, wanted), f"{found} instead of {wanted}"
        views = shop._models.views
        assert views is not None
        letters = DeadLetters(dict(places_of_views(views, SYSTEM)), SYSTEM).letters(Selection())
        assert sorted((one.row.partition, one.row.record_offset) for one in letters) == sorted(oracle.late)


@contextmanager
def sharing(app: hw.App, log: Log, first: Shop) -> Iterator[tuple[Shop, KeptTelemetry]]:
    """Another process, which has half of the partitions of the first one."""
    telemetry = KeptTelemetry()
    with app.run(log, store=STORE, environment=System(telemetry)) as second:
        eventually(lambda: owned(first) == owned(second) == [PARTITIONS // 2], WAIT_S)
        yield second, telemetry


@pytest.mark.parametrize(
    "open_again", ["sqlite", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
def test_what_is_late_is_left_out_once_whoever_reads_its_partition(app: hw.App, open_again: OpenAgain) -> None:
    log, one = open_again(), KeptTelemetry()
    with app.run(log, store=STORE, environment=System(one)) as first:
        receipts = send(first, 10, 70, 20, 71)  # twenty past nine comes after ten past ten, and the grace
        refuse_difference(first, log, receipts)
        eventually(lambda: told(one) == once(1), WAIT_S)
        with sharing(app, open_again(), first) as (second, other):
            receipts = send(second, 62, 30, 64)
            refuse_difference(first, log, receipts)
            refuse_difference(second, log, receipts)
            eventually(lambda: told(one, other) == once(2), WAIT_S)
        receipts = send(first, 40, 130)
        refuse_difference(first, log, receipts)
        eventually(lambda: told(one) == once(3), WAIT_S)
        with sharing(app, open_again(), first) as (second, other):
            refuse_difference(second, log, receipts)
            eventually(lambda: told(one, other) == once(3), WAIT_S)
        refuse_difference(first, log, receipts)  # nothing has come, and what the other had is told here again
        eventually(lambda: told(one) == once(3), WAIT_S)
        with ending(first.follow("SELECT * FROM hourly", into=Hour, timeout_s=WAIT_S)) as steps:
            position = next(steps).position
        for moment in (position, datetime.now(UTC)):
            assert same(hours(first, as_of=moment), hours(first))
        assert same(hours(first, known_at=datetime.now(UTC)), hours(first))
