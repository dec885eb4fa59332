"""`hw rebuild` of a view: its statement is its version; the same words as for projections."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.client.shop import Shop
from headwater.log.port import Batch
from headwater.projections.gathering import Gather
from tests.cli.conftest import Shell, caught_up
from tests.cli.test_mistakes import REFUSED
from tests.views.orders import SEED, Order, PlaceOrder

APP = """
import headwater as hw
from tests.views.orders import Order

app = hw.App("shop", aggregates=[Order], views="{views}/*.sql", partitions=2)
"""
URL = "sqlite:///shop.db"
ASK = f"query 'SELECT * FROM order_summary ORDER BY orderId' --app old:app --on {URL} --output ndjson"
NEW = f"--app new:app --on {URL} --output ndjson"


@pytest.fixture
def files(directory: Path) -> None:
    """Code of today, and other code, with another statement."""
    for name, statement in (("old", SEED), ("new", SEED.replace("SUM", "MAX").replace("total", "most"))):
        (directory / f"{name}.py").write_text(APP.format(views=name))
        (directory / name).mkdir()
        (directory / name / "order_summary.sql").write_text(statement)


@pytest.fixture
def shop(files: None) -> Iterator[Shop]:
    """It runs with the code of today."""
    with running("old") as shop:
        for key in ("1", "2"):
            shop.send(PlaceOrder(key, [Decimal(3), Decimal(4)]))
        caught_up(shop)
        yield shop


@contextmanager
def running(views: str) -> Iterator[Shop]:
    with hw.App("shop", aggregates=[Order], views=f"{views}/*.sql", partitions=2).run(URL) as shop:
        yield shop


def states(rows: list[dict[str, object]]) -> list[object]:
    return list(dict.fromkeys(row["state"] for row in rows if "state" in row))


def test_built_compared_switched_rolled_back_and_dropped_while_it_is_asked(shell: Shell, shop: Shop) -> None:
    old = [{"orderId": "1", "total": "7.000000000"}, {"orderId": "2", "total": "7.000000000"}]
    assert shell(ASK).rows == old
    built = shell(f"rebuild order_summary {NEW}").rows
    assert states(built)[-1] == "built"
    [compared] = (row for row in built if "table" in row)
    assert (compared["oldRows"], compared["newRows"], compared["sameEvents"]) == (2, 2, True)
    assert (compared["columnsGone"], compared["columnsNew"]) == (["total"], ["most"])
    assert shell(ASK).rows == old
    receipt = shop.send(PlaceOrder("1", [Decimal(9)]))
    assert states(shell(f"rebuild order_summary --switch --yes {NEW}").rows) == ["switched"]
    assert shell(f"{ASK} --after {receipt.token}").rows[0] == {"orderId": "1", "most": "9.000000000"}
    receipt = shop.send(PlaceOrder("2", [Decimal(8)]))
    assert shop.query("SELECT most FROM order_summary WHERE orderId = '2'", into=Decimal, after=receipt) == [8]
    assert shell(f"rebuild order_summary --rollback --yes {NEW}").rows[-1]["state"] == "rolled back"
    assert [row["total"] for row in shell(ASK).rows] == ["16.000000000", "15.000000000"]  # it has gone on
    status = shell(f"rebuild order_summary --status {NEW}").one
    assert (status["beside"], status["code"], status["deadLetters"]) == ("built", "other", 0)
    assert states(shell(f"rebuild order_summary --drop --yes {NEW}").rows) == ["dropped"]
    assert shell(f"rebuild order_summary --status {NEW}").one["beside"] is None


def test_rows_that_are_made_may_be_switched_to_while_they_are_a_batch_behind(
    shell: Shell, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(f"rebuild order_summary {NEW}")
    views, goes_on = shop._models.views, threading.Event()
    assert views is not None
    [beside] = views._changing._others.values()
    work = beside.work

    def held_up(batch: Batch, prepared: Gather | None) -> None:
        goes_on.wait(60)
        work(batch, prepared)

    monkeypatch.setattr(beside, "work", held_up)
    try:
        receipt = shop.send(PlaceOrder("1", [Decimal(9)]))
        shop.query("SELECT 1 FROM order_summary", into=int, after=receipt)
        status = shell(f"rebuild order_summary --status {NEW}").one
    finally:
        goes_on.set()
    assert (status["beside"], status["done"] < status["total"]) == ("built", True)
    assert states(shell(f"rebuild order_summary --switch --yes {NEW}").rows) == ["switched"]
    assert shell(f"{ASK} --after {receipt.token}").rows[0] == {"orderId": "1", "most": "9.000000000"}


def test_what_a_changed_statement_would_change_is_told_and_nothing_is_changed(
    shell: Shell, shop: Shop, directory: Path
) -> None:
    (directory / "new" / "order_summary.sql").write_text(SEED.replace("SUM(item_price)", "MAX(item_price)"))
    receipt = shop.send(PlaceOrder("3", [Decimal(5)]))
    ended = shell(f"views diff order_summary {NEW}")
    assert ended.code == REFUSED
    [told] = map(json.loads, ended.out.splitlines())
    assert (told["oldRows"], told["newRows"], told["changed"], told["onlyOld"], told["onlyNew"]) == (3, 3, 2, 0, 0)
    assert told["examples"][0] == {
        "key": {"orderId": "1"},
        "old": {"total": "7.000000000"},
        "new": {"total": "4.000000000"},
    }
    assert next((line["only"], line["name"], line["detail"].split()[0]) for line in told["plan"]) == ("old", "p0", "+")
    assert told["columns"] == []
    (directory / "new" / "order_summary.sql").write_text(SEED.replace("SUM(item_price) AS total", "COUNT(*) AS n"))
    shown = shell(f"views diff --app new:app --on {URL}")
    assert shown.code == REFUSED
    assert "DECIMAL(38,9)" in shown.out
    same = shell(f"views diff --app old:app --on {URL}")
    assert (same.code, same.out) == (0, "")
    assert shell(f"rebuild order_summary --status {NEW}").one["beside"] is None
    assert len(shell(f"{ASK} --after {receipt.token}").rows) == 3


def test_where_no_process_has_the_file_the_command_does_it_itself(shell: Shell, files: None) -> None:
    with running("old") as shop:
        for key in ("1", "2", "3"):
            receipt = shop.send(PlaceOrder(key, [Decimal(3), Decimal(key)]))
        caught_up(shop)
    built = shell(f"rebuild order_summary {NEW}").rows
    assert states(built)[-1] == "built"
    assert [row["newRows"] for row in built if "table" in row] == [3]
    paused = shell(f"rebuild order_summary --status {NEW}").one
    assert (paused["beside"], paused["done"]) == ("paused", paused["total"])  # nobody maintains it now
    assert states(shell(f"rebuild order_summary --switch --yes {NEW}").rows) == ["switched"]
    with running("new") as shop:
        assert shop.query("SELECT most FROM order_summary", into=Decimal, after=receipt) == [3, 3, 3]
        receipt = shop.send(PlaceOrder("3", [Decimal(4)]))
        most = "SELECT most FROM order_summary ORDER BY most"
        assert shop.query(most, into=Decimal, after=receipt) == [3, 3, 4]


def test_what_does_not_fit_is_refused_with_what_to_do_before(shell: Shell, shop: Shop, directory: Path) -> None:
    def refused(flags: str) -> tuple[str, str]:
        ended = shell(f"rebuild order_summary {flags}")
        assert ended.code != 0
        return ended.error, ended.next

    same = f"--app old:app --on {URL}"
    assert refused(same)[0].startswith("queries find the rows of your statement of order_summary already")
    for flag, why in (
        ("--switch --yes", "are not made"),
        ("--rollback --yes", "no way back"),
        ("--drop --yes", "nothing"),
    ):
        assert why in refused(f"{flag} {NEW}")[0]
    assert "--throttle is not for it" in refused(f"--throttle 5 {NEW}")[0]
    shell(f"rebuild order_summary {NEW}")
    (directory / "third").mkdir()
    (directory / "third" / "order_summary.sql").write_text(SEED.replace("SUM", "MIN"))
    (directory / "third.py").write_text(APP.format(views="third"))
    third = f"--app third:app --on {URL}"
    for flag in ("", "--switch --yes"):
        error, following = refused(f"{flag} {third}")
        assert "are of another statement than yours" in error
        assert following == f"hw rebuild order_summary --drop {third}"
    (directory / "classes.py").write_text(OTHER_CLASSES)
    error, _ = refused(f"--app classes:app --on {URL}")
    assert "are of another statement than yours" in error
    shell(f"rebuild order_summary --drop --yes {NEW}")
    error, following = refused(f"--app classes:app --on {URL}")
    assert "with other classes than yours: deploy your code there first" in error
    assert following == f"hw run classes:app --on {URL}"


OTHER_CLASSES = """
from decimal import Decimal

import headwater as hw


class Item(hw.Value):
    item_price: int


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    items: list[Item]


app = hw.App("shop", events=[OrderEvent], views="old/*.sql", partitions=2)
"""


def test_of_a_shared_view_it_is_said_that_nothing_is_compared(shell: Shell, files: None, directory: Path) -> None:
    statement = SEED.replace("TABLE order_summary AS", "TABLE order_summary WITH (shared = true) AS")
    (directory / "old" / "order_summary.sql").write_text(statement)
    with running("old"):
        for names in ("", "order_summary"):
            ended = shell(f"views diff {names} --app old:app --on {URL}")
            assert ended.code == 0
            assert "order_summary is shared: its processes make the rows of a changed statement" in ended.err
            assert "is new" not in ended.err


def test_a_shared_view_keeps_nobody_from_rebuilding_another_one(shell: Shell, files: None, directory: Path) -> None:
    statement = SEED.replace("TABLE order_summary AS", "TABLE together WITH (shared = true) AS")
    for name in ("old", "new"):
        (directory / name / "together.sql").write_text(statement)
    with running("old") as shop:
        receipt = shop.send(PlaceOrder("1", [Decimal(3), Decimal(4)]))
        caught_up(shop)
        assert [row["readModel"] for row in shell(f"rebuild {NEW}").rows] == ["order", "order_summary"]
        assert states(shell(f"rebuild order_summary {NEW}").rows)[-1] == "built"
        refused = shell(f"rebuild together {NEW}")
        assert (refused.code, "together is shared" in refused.err) == (2, True)
        compared = shell(f"views diff together {NEW}")
        assert refused.error == compared.err.strip().removeprefix("note: "), "both say the same of it"
        assert shell(f"{ASK} --after {receipt.token}").one["total"] == "7.000000000"
