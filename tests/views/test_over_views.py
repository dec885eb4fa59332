"""Views over views: computed when they are read, so never behind those that they read, also where rows change."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.errors import Misuse
from tests.views.orders import SEED, CancelOrder, Order, OrderCancelled, PlaceOrder

MORE = """
CREATE TABLE counts AS SELECT orderId, COUNT(*) AS n FROM order-events GROUP BY orderId;
CREATE VIEW sizes AS SELECT total > 5 AS big, COUNT(*) AS n, MAX(total) AS most FROM order_summary GROUP BY total > 5;
CREATE VIEW seen AS SELECT c.orderId, c.n, s.total FROM counts c LEFT JOIN order_summary s ON c.orderId = s.orderId;
CREATE VIEW biggest AS SELECT MAX(most) AS most, SUM(n) AS n FROM sizes;
"""


class Size(hw.Value):
    big: bool
    n: int
    most: Decimal


class Seen(hw.Value):
    order_id: str
    n: int
    total: Decimal | None


class Biggest(hw.Value):
    most: Decimal


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.sql").write_text(f"{MORE}\n{SEED}\n")
    return hw.App("shop", aggregates=[Order], views="*.sql", partitions=2)


def test_a_view_over_views_follows_them(app: hw.App) -> None:
    with app.run("memory://") as shop:
        receipts = [shop.send(PlaceOrder("1", [Decimal(7)])), shop.send(PlaceOrder("2", [Decimal(1)]))]
        sizes = shop.query("SELECT * FROM sizes ORDER BY big", into=Size, after=receipts)
        assert sizes == [Size(False, 1, Decimal(1)), Size(True, 1, Decimal(7))]
        receipt = shop.send(PlaceOrder("1", [Decimal(-4)]))
        sizes = shop.query("SELECT * FROM sizes", into=Size, after=receipt)
        assert sizes == [Size(False, 2, Decimal(3))]  # the greatest has gone
        receipts += [receipt, shop.send(CancelOrder("3", "x"))]
        rows = shop.query("SELECT orderId, n, total FROM seen ORDER BY orderId", into=Seen, after=receipts)
        assert rows == [Seen("1", 2, Decimal(3)), Seen("2", 1, Decimal(1)), Seen("3", 1, None)]
        joined = "SELECT b.most FROM biggest AS b, sizes AS s"
        assert shop.query(joined, into=Biggest, after=receipts) == [Biggest(Decimal(3))]


def test_another_process_asks_for_them_too(app: hw.App, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    with app.run(url) as shop, app.connect(url) as client:
        shop.query("SELECT * FROM sizes", into=Size)  # their file is open: a client waits two seconds only
        receipt = shop.send(PlaceOrder("1", [Decimal(7)]))
        assert client.query("SELECT most FROM biggest", into=Biggest, after=receipt) == [Biggest(Decimal(7))]


def test_what_only_streams_have_is_refused_over_views(app: hw.App, tmp_path: Path) -> None:
    (tmp_path / "late.sql").write_text(
        "CREATE VIEW times AS SELECT orderId, MAX(_time) AS t FROM order-events GROUP BY orderId;"
        "CREATE VIEW late AS SELECT COUNT(*) AS n FROM times GROUP BY SESSION(t, INTERVAL 1 HOUR)"
    )
    with pytest.raises(Misuse, match="view late: sessions"), app.run("memory://"):
        pass


def test_a_view_over_views_is_not_called_as_a_projection(tmp_path: Path) -> None:
    class Sizes(hw.Projection):
        order_id: hw.Key[str]

        @hw.on(OrderCancelled)
        def cancelled(self, event: OrderCancelled, meta: hw.Meta) -> None: ...

    (tmp_path / "views.sql").write_text(f"{MORE}\n{SEED}\n")
    app = hw.App("shop", aggregates=[Order], projections=[Sizes], views=f"{tmp_path}/*.sql")
    with pytest.raises(Misuse, match="view sizes has the name of the table of sizes"), app.run("memory://"):
        pass


def test_ties_are_decided_by_the_place_of_the_record(tmp_path: Path) -> None:
    (tmp_path / "views.sql").write_text(
        "CREATE VIEW plain AS SELECT customerId, orderId, total FROM order-events WHERE total > 0; "
        "CREATE TABLE last AS SELECT customerId, ARG_MAX(orderId, total) AS o FROM plain GROUP BY customerId; "
    )
    app = hw.App("shop", aggregates=[Order], views=f"{tmp_path}/*.sql", partitions=1)
    with app.run("memory://") as shop:
        for order in ("1", "3", "2"):
            receipt = shop.send(PlaceOrder(order, [Decimal(7)]))
        assert shop.query("SELECT o FROM last", into=str, after=receipt) == ["2"]
