"""Windows in which nothing is late, and views over views that only filter: both are kept as any group is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.environment import KeptTelemetry, System
from headwater.testing.waiting import eventually
from tests.views.orders import Order, PlaceOrder

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)

VIEWS = """
CREATE VIEW lines AS SELECT orderId, i.item_price AS price, _time AS since FROM order-events, UNNEST(items) AS i;
CREATE VIEW hourly AS SELECT window_start, window_end, SUM(price) AS total FROM lines WHERE price > 1
    GROUP BY TUMBLE(since, INTERVAL 1 HOUR);
CREATE VIEW rolling AS SELECT window_start, window_end, COUNT(*) AS total FROM order-events
    GROUP BY window_start, HOP(_time, INTERVAL 1 HOUR, INTERVAL 30 MINUTE);
"""


class Window(hw.Value):
    window_start: datetime
    window_end: datetime
    total: Decimal


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.sql").write_text(VIEWS)
    return hw.App("shop", aggregates=[Order], views="*.sql", partitions=2)


def test_windows_are_kept_and_added_to(app: hw.App) -> None:
    half = timedelta(minutes=30)
    with app.run("memory://") as shop:
        receipts = [
            shop.send(PlaceOrder("1", [Decimal(7), Decimal(1)]), time=NINE + timedelta(minutes=59)),
            shop.send(PlaceOrder("2", [Decimal(2)]), time=NINE + HOUR),
            shop.send(PlaceOrder("3", [Decimal(3)]), time=NINE),  # as late as can be
        ]
        sql = "SELECT window_start, window_end, total FROM {} ORDER BY window_start"
        hourly = shop.query(sql.format("hourly"), into=Window, after=receipts)
        assert hourly == [
            Window(NINE, NINE + HOUR, Decimal(10)),
            Window(NINE + HOUR, NINE + 2 * HOUR, Decimal(2)),
        ]
        rolling = shop.query(sql.format("rolling"), into=Window, after=receipts)
        counts = [Decimal(1), Decimal(2), Decimal(2), Decimal(1)]
        starts = [NINE - half, NINE, NINE + half, NINE + HOUR]
        assert rolling == [Window(at, at + HOUR, n) for at, n in zip(starts, counts, strict=True)]


LATE = """
CREATE TABLE hourly AS SELECT window_start, window_end, COUNT(*) AS total FROM order-events
    GROUP BY TUMBLE(_time, INTERVAL 1 HOUR, grace => INTERVAL 5 MINUTE);
CREATE TABLE visits WITH (late = 'drop') AS SELECT window_start, window_end, COUNT(*) AS total FROM order-events
    GROUP BY SESSION(_time, INTERVAL 20 MINUTE, grace => INTERVAL 0 MINUTE);
"""


def test_what_is_late_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.sql").write_text(LATE)
    app, telemetry = hw.App("shop", aggregates=[Order], views="*.sql", partitions=1), KeptTelemetry()

    def told(metric: str) -> list[float]:
        return [value for (name, _), value in sorted(telemetry.gauges.items()) if name == metric]

    with app.run("memory://", environment=System(telemetry)) as shop:
        for minutes in (0, 65, 30, 90):
            receipt = shop.send(PlaceOrder(str(minutes), [Decimal(1)]), time=NINE + timedelta(minutes=minutes))
        receipt = shop.send(PlaceOrder("30", [Decimal(1)]), time=NINE + timedelta(minutes=75))
        sql = "SELECT window_start, window_end, total FROM {} ORDER BY window_start"
        assert shop.query(sql.format("hourly"), into=Window, after=receipt) == [
            Window(NINE, NINE + HOUR, Decimal(1)),
            Window(NINE + HOUR, NINE + 2 * HOUR, Decimal(3)),
        ]
        visits = shop.query(sql.format("visits"), into=Window, after=receipt)
        assert [(one.window_start - NINE, one.total) for one in visits] == [
            (timedelta(0), Decimal(1)),
            (timedelta(minutes=65), Decimal(3)),
        ]
        eventually(lambda: told("headwater_late_records") == [1, 1])
        assert told("headwater_dead_letters").count(1) == 1
        assert [name for name, _ in telemetry.alerts] == ["headwater_dead_letters_waiting"]
