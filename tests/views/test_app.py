"""The seed's statement in a file of an app: maintained, and asked after a receipt, on every log."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.errors import Misuse, Unavailable
from headwater.log.port import Log
from headwater.testing.waiting import eventually
from tests.logs import log as log
from tests.logs import open_again as open_again
from tests.views.orders import SEED, CancelOrder, Order, PlaceOrder, Summary

ONE = "SELECT * FROM order_summary WHERE orderId = ?"
PATIENCE_S = 60


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
    """The shop, with its files in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "order_summary.sql").write_text(SEED + "\n")
    return hw.App("shop", aggregates=[Order], views="views/*.sql", partitions=2)


def test_a_view_is_asked_after_a_receipt(app: hw.App, log: Log) -> None:
    with app.run(log) as shop:
        shop.send(PlaceOrder("123", [Decimal("0.1"), Decimal("0.2")]))
        seventh = shop.send(PlaceOrder("7", [Decimal(3)]))
        receipt = shop.send(PlaceOrder("123", [Decimal("11.77")]))
        found = shop.query(ONE, "123", into=Summary, after=receipt, timeout_s=PATIENCE_S)
        assert found == [Summary("123", Decimal("12.07"))]
        receipts = [seventh, receipt, shop.send(CancelOrder("8", "x"))]
        sql = "SELECT * FROM order_summary ORDER BY total"
        found = shop.query(sql, into=Summary, after=receipts, timeout_s=PATIENCE_S)
        assert [one.order_id for one in found] == ["7", "123"]  # what has no items adds no row
        # a log may end its transactions with a marker, which is read later than what is in them
        eventually(lambda: shop.lag()["order_summary"] == 0)

    async def asked() -> list[Summary]:
        async with app.run(log) as shop:
            receipt = await shop.send(PlaceOrder("9", [Decimal(4)]))
            return await shop.query(ONE, "9", into=Summary, after=receipt, timeout_s=PATIENCE_S)

    assert asyncio.run(asked()) == [Summary("9", Decimal(4))]


class TestInOneFile:
    """Of a log in a file; what belongs to the log itself is tested elsewhere."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'shop.db'}"

    def test_state_is_restored_and_a_lost_file_is_made_again(self, app: hw.App, url: str, tmp_path: Path) -> None:
        with app.run(url) as shop:
            receipt = shop.send(PlaceOrder("123", [Decimal("0.1")]))
            assert shop.query(ONE, "123", into=Summary, after=receipt) == [Summary("123", Decimal("0.1"))]
        for lost in (False, True):
            if lost:
                for file in tmp_path.glob("shop.views.duckdb*"):
                    file.unlink()
            with app.run(url) as shop:
                assert shop.query(ONE, "123", into=Summary, after=receipt) == [Summary("123", Decimal("0.1"))]

    def test_another_statement_is_made_from_all_events(self, app: hw.App, url: str, tmp_path: Path) -> None:
        with app.run(url) as shop:
            receipt = shop.send(PlaceOrder("123", [Decimal("0.1"), Decimal("0.2")]))
            shop.query(ONE, "123", into=Summary, after=receipt)
        file = tmp_path / "views" / "order_summary.sql"
        file.write_text(SEED.replace("SUM", "MAX"))
        with app.run(url) as shop:
            found = []

            def is_new() -> bool:
                [row] = shop.query(ONE, "123", into=Summary, after=receipt)
                found.append(row.total)
                return row.total == Decimal("0.2")

            eventually(is_new)
            assert set(found) <= {Decimal("0.3"), Decimal("0.2")}  # of before, until the new ones are as far
            receipt = shop.send(PlaceOrder("123", [Decimal(9)]))
            assert shop.query(ONE, "123", into=Summary, after=receipt) == [Summary("123", Decimal(9))]

    def test_who_does_not_maintain_it_asks_who_does(self, app: hw.App, url: str) -> None:
        with app.connect(url) as client, pytest.raises(Unavailable, match="hw run"):
            client.query(ONE, "123", into=Summary)
        with app.run(url) as shop, app.connect(url) as client:
            shop.query("SELECT * FROM order_summary", into=Summary)  # its file is open: a client waits two seconds only
            receipt = shop.send(PlaceOrder("123", [Decimal("0.1")]))
            assert client.query(ONE, "123", into=Summary, after=receipt) == [Summary("123", Decimal("0.1"))]
            with pytest.raises(Misuse, match="one SELECT"):
                client.query("DROP TABLE order_summary", into=Summary)
            with pytest.raises(Misuse, match="no view here"):
                client.query("SELECT * FROM order_summary, duckdb_tables", into=Summary)
            with app.run(url) as second:  # it waits for the file, and asks meanwhile
                assert second.query(ONE, "123", into=Summary, after=receipt) == [Summary("123", Decimal("0.1"))]


def test_views_are_a_pattern_of_files_and_no_list() -> None:
    with pytest.raises(Misuse, match=r"views=\['orders.sql'\]: give a pattern of files of SQL, such as 'views/\*.sql'"):
        hw.App("shop", views=["orders.sql"])  # type: ignore[arg-type] # on purpose
