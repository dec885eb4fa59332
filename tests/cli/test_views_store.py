"""The state of views in SQLite or PostgreSQL, as an app and its verbs use it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.errors import Misuse
from headwater.settings import views_place_for
from headwater.testing.waiting import eventually
from tests.cli.conftest import Shell, caught_up
from tests.views.orders import SEED, Order, PlaceOrder

URL = "sqlite:///shop.db"
TOTALS = "SELECT total FROM order_summary ORDER BY orderId"
SHOP = 'import headwater as hw\nfrom tests.views.orders import Order\n\napp = hw.App("shop", aggregates=[Order],'


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else "sqlite:///state.db"


@pytest.fixture
def app(directory: Path) -> hw.App:
    (directory / "order_summary.sql").write_text(SEED)
    (directory / "shop.py").write_text(f'{SHOP} views="*.sql", partitions=2)\n')
    return hw.App("shop", aggregates=[Order], views="*.sql", partitions=2)


@pytest.mark.slow
def test_views_are_maintained_asked_changed_and_kept_in_a_store(
    app: hw.App, store: str, shell: Shell, directory: Path
) -> None:
    options = ("--app", "shop:app", "--on", URL, "--views-store", store)
    with app.run(URL, views_store=store) as shop:
        for key in ("1", "2"):
            receipt = shop.send(PlaceOrder(key, [Decimal(3), Decimal(5)]))
        caught_up(shop)
        assert shop.query(TOTALS, into=Decimal, after=receipt) == [8, 8]
        asked = shell("query", TOTALS, *options, "--after", receipt.token, "--output", "ndjson")
        assert [row["total"] for row in asked.rows] == ["8.000000000"] * 2, asked.error
        refused = shell("views snapshot copy.duckdb", *options)
        assert "its own means of backup" in refused.error
        (directory / "order_summary.sql").write_text(SEED.replace("SUM", "MAX"))
        assert shell("rebuild order_summary", *options).code == 0
        assert shell("rebuild order_summary --switch --yes", *options).code == 0
        assert shop.query(TOTALS, into=Decimal, after=receipt) == [5, 5]
    assert "hw run" in shell("query", TOTALS, *options).error  # nobody has them
    with app.run(URL, views_store=store) as shop:
        eventually(lambda: shop.query(TOTALS, into=Decimal) == [5, 5])
        assert shell("rebuild order_summary --rollback --yes", *options).code == 0
        assert shop.query(TOTALS, into=Decimal, after=receipt) == [8, 8]
    assert not list(directory.glob("*.duckdb*"))
    (directory / "headwater.toml").write_text(f'app = "shop:app"\non = "{URL}"\nviews_store = "{store}"\n')
    with app.run(URL, views_store=store):
        asking = ("query", TOTALS, "--output", "ndjson")
        eventually(lambda: shell(*asking).code == 0, saying="the process that has the views answers")
        assert len(shell(*asking).rows) == 2


def test_where_views_are_kept() -> None:
    def place(url: str | None) -> str:
        return views_place_for("sqlite:///data/shop.db", "shop", None, url)

    assert place(None) == "data/shop.views.duckdb"
    assert views_place_for("kafka://localhost:9092", "shop", None, None) == "shop.kafka.views.duckdb"
    assert views_place_for("kafka://localhost:9092", "shop", "redis://localhost", None) == "shop.kafka.views.duckdb"
    assert views_place_for("sqlite:///data/shop.db", "shop", "redis://localhost", None) == "shop.views.duckdb"
    assert place("duckdb:///x/y.duckdb") == "x/y.duckdb"
    assert place("sqlite:////x/y.db") == "sqlite:////x/y.db#shop"
    assert place("postgresql://a:b@c/d") == "postgresql://a:b@c/d#shop"
    for wrong in ("redis://localhost", "duckdb://x", "shop.duckdb"):
        with pytest.raises(Misuse, match="views are kept in duckdb:///"):
            place(wrong)


def test_a_shared_view_is_not_kept_in_a_store(directory: Path) -> None:
    (directory / "order_summary.sql").write_text(SEED.replace(" AS ", " WITH (shared = true) AS ", 1))
    running = hw.App("shop", aggregates=[Order], views="*.sql").run(URL, views_store="sqlite:///state.db")
    with pytest.raises(Misuse, match="leave out shared, or the store of views"):
        running.__enter__()
