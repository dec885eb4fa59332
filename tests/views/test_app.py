"""The seed's statement in a file of an app: maintained, and asked after a receipt, on every log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

import headwater as hw
from headwater.errors import Misuse, NotYet, Unavailable
from headwater.log.port import Log
from headwater.testing.waiting import eventually
from tests.bank import Account, Deposit
from tests.logs import log as log
from tests.logs import open_again as open_again
from tests.views.ending import ending
from tests.views.orders import SEED, CancelOrder, Order, PlaceOrder, Summary

ONE = "SELECT * FROM order_summary WHERE orderId = ?"
PATIENCE_S = 60

OF_MANY_NAMES = """
CREATE TABLE balances AS SELECT accountId, SUM(amount) AS balance FROM account-events GROUP BY accountId;
CREATE TABLE order-n AS SELECT orderId, COUNT(*) AS n FROM order-events GROUP BY orderId;
CREATE TABLE "odd-name é" AS SELECT orderId, COUNT(*) AS n FROM order-events GROUP BY orderId;
CREATE TABLE "x y" AS SELECT orderId, COUNT(*) AS n FROM order-events GROUP BY orderId;
CREATE TABLE prices AS SELECT COUNT(*) AS orders FROM order-events;
CREATE TABLE ordered AS SELECT orderId FROM "order-n" WHERE n > 0;
"""


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


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[hw.Shop, hw.Shop]]:
    """A shop in the process that has the views, and a client beside it."""
    place = tmp_path_factory.mktemp("names")
    (place / "views.sql").write_text(SEED + OF_MANY_NAMES)
    app = hw.App("shop", aggregates=[Order, Account], views=f"{place}/*.sql", partitions=2)
    url = f"sqlite:///{place / 'shop.db'}"
    with app.run(url) as shop, app.connect(url) as client:
        receipts = [shop.send(PlaceOrder("123", [Decimal(1)])), shop.send(Deposit("a", Decimal(5)))]
        for name in ("order_summary", "balances", "prices"):  # the file is open: a client waits two seconds only
            shop.query(f"SELECT * FROM {name}", into=dict, after=receipts, timeout_s=PATIENCE_S)
        yield shop, client


class TestWhatAQuestionReads:
    """Asked in the process that has the views, and in a client beside it."""

    @pytest.fixture(params=["run", "connect"])
    def shop(self, request: pytest.FixtureRequest, running: tuple[hw.Shop, hw.Shop]) -> hw.Shop:
        return running[request.param == "connect"]

    @pytest.mark.parametrize(
        "view", ["/* of all */ order_summary", '"order-n"', '-- of all\n "odd-name é"', "main.prices", "(FROM ordered)"]
    )
    def test_each_view_of_several_is_waited_for(self, shop: hw.Shop, view: str) -> None:
        receipt = shop.send(CancelOrder("123", "x"))
        sql = f"SELECT (SELECT count(*) FROM balances) + (SELECT count(*) FROM {view})"
        assert shop.query(sql, into=int, after=receipt, timeout_s=PATIENCE_S) == [2]
        [(partition, position)] = receipt.positions.items()
        far = msgspec.structs.replace(receipt, positions={partition: position + 1_000_000})
        with pytest.raises(NotYet):
            shop.query(sql, into=int, after=far, timeout_s=0)

    def test_a_value_is_the_same_in_either_process(self, shop: hw.Shop) -> None:
        day = "DATE '2026-01-05' AS d, TIME '09:30:00' AS t, TIMESTAMPTZ '2026-01-05 09:30Z' AS z"
        more = "INTERVAL 90 SECOND AS i, 'x'::BLOB AS b, 100000000000000000000::HUGEINT AS h, NULL AS n"
        id = "'12345678-1234-1234-1234-123456789abc'::UUID AS u"
        sql = f"SELECT 0.10::DECIMAL(9,2) AS a, [0.10] AS l, {{'a': 0.10}} AS s, {id}, {day}, {more} FROM order_summary"
        [row] = shop.query(f"{sql} LIMIT 1", into=dict)
        assert row == {
            "a": Decimal("0.10"),
            "l": [Decimal("0.10")],
            "s": {"a": Decimal("0.10")},
            "u": UUID("12345678-1234-1234-1234-123456789abc"),
            "d": date(2026, 1, 5),
            "t": time(9, 30),
            "i": timedelta(seconds=90),
            "z": datetime(2026, 1, 5, 9, 30, tzinfo=UTC),
            "b": b"x",
            "h": 10**20,
            "n": None,
        }

    def test_a_view_of_the_same_text_is_not_waited_for(self, shop: hw.Shop) -> None:
        receipt = shop.send(CancelOrder("123", "x"))
        [(partition, position)] = receipt.positions.items()
        far = msgspec.structs.replace(receipt, positions={partition: position + 1_000_000})
        sql = "SELECT accountId, 'x' AS prices, 'FROM prices' AS a FROM balances -- JOIN prices"
        [row] = shop.query(sql, into=dict, after=far)
        assert (row["accountId"], row["prices"]) == ("a", "x")

    @pytest.mark.parametrize(
        "name", ['"order-n"', '"Order-N"', '"odd-name é"', '"x y"', "/* one */ ordered", "'ordered'"]
    )
    def test_a_view_of_any_name_is_asked_alone(self, shop: hw.Shop, name: str) -> None:
        receipt = shop.send(CancelOrder("123", "x"))
        sql = f"SELECT orderId FROM {name}"
        assert shop.query(sql, into=str, after=receipt, timeout_s=PATIENCE_S) == ["123"]
        with ending(shop.follow(sql, into=str)) as steps:
            assert [one.row for one in next(steps).changes] == ["123"]
        assert shop.estimate(sql, as_of=datetime(2020, 1, 1, tzinfo=UTC)).records > 0
        assert shop.query(sql, into=str, as_of=datetime(2020, 1, 1, tzinfo=UTC)) == []

    def test_a_column_of_a_read_model_may_be_called_as_a_view_is(self, shop: hw.Shop) -> None:
        receipt = shop.send(CancelOrder("123", "x"))
        for sql in (
            'SELECT id, prices FROM "order"',
            "SELECT id, prices FROM [order]",  # which DuckDB does not read
            'WITH prices AS (SELECT * FROM "order") SELECT id, prices FROM prices',
            'WITH prices AS (SELECT * FROM "order" NOT INDEXED) SELECT id, prices FROM prices',  # nor this one
        ):
            [row] = shop.query(sql, into=dict, after=receipt, timeout_s=PATIENCE_S)
            assert (row["id"], row["prices"]) == ("123", "[]")

    def test_what_a_question_cannot_say_is_told_by_whom_it_is_for(self, shop: hw.Shop) -> None:
        for sql, told in (
            ('SELECT * FROM "order-n" JOIN "order" ON id = orderId', "order is no view here"),
            ("SELECT * FROM order-n", 'syntax error at or near "order"; write "order-n" in quotes$'),
            ("DROP TABLE prices", "a question to views is one SELECT"),
            ('SELECT * FORM "order"', "SQLite does not understand"),
            ("SELECT * FROM elsewhere", "SQLite does not understand"),
        ):
            with pytest.raises(Misuse, match=told):
                shop.query(sql, into=dict)
        for sql, told in (
            ('SELECT id FROM "order"', "order is no view here"),
            ("SELECT 1", "this one cannot change"),
            ("SELECT * FROM order-n", "one SELECT"),
            ("SELEC", "one SELECT"),
        ):
            with ending(shop.follow(sql, into=dict, timeout_s=PATIENCE_S)) as steps, pytest.raises(Misuse, match=told):
                next(steps)


def test_views_are_a_pattern_of_files_and_no_list() -> None:
    with pytest.raises(Misuse, match=r"views=\['orders.sql'\]: give a pattern of files of SQL, such as 'views/\*.sql'"):
        hw.App("shop", views=["orders.sql"])  # type: ignore[arg-type] # on purpose
