"""A lost file of views: made again from the log, or restored from a snapshot, which goes on where it stood."""

from __future__ import annotations

import shutil
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.errors import Unavailable
from headwater.log.sqlite import SqliteLog
from headwater.testing.waiting import eventually
from headwater.views.file import ViewFile
from headwater.views.reading import Statements
from headwater.views.texts import Text
from tests.cli.conftest import Shell, caught_up
from tests.views.orders import SEED, Order, OrderEvent, PlaceOrder, append, make_log, placed

URL = "sqlite:///shop.db"
SNAPSHOT = f"views snapshot copy.duckdb --app shop:app --on {URL}"
TOTALS = "SELECT total FROM order_summary ORDER BY orderId"


@pytest.fixture
def app(directory: Path) -> hw.App:
    (directory / "order_summary.sql").write_text(SEED)
    (directory / "shop.py").write_text(
        'import headwater as hw\nfrom tests.views.orders import Order\n\napp = hw.App("shop", aggregates=[Order],'
        ' views="*.sql", partitions=2)\n'
    )
    return hw.App("shop", aggregates=[Order], views="*.sql", partitions=2)


def positions(path: Path) -> list[dict[object, int]]:
    with closing(ViewFile(str(path))) as file, file.aside() as connection:
        names = connection.execute("SELECT DISTINCT runner FROM hw.positions").fetchall()
        return [dict(file.positions(name)) for (name,) in names]


def restore(directory: Path) -> None:
    for lost in directory.glob("shop.views.duckdb*"):
        lost.unlink()
    shutil.copyfile(directory / "copy.duckdb", directory / "shop.views.duckdb")


def test_a_restored_snapshot_goes_on_from_its_positions_and_a_lost_file_is_made_again(
    app: hw.App, shell: Shell, directory: Path
) -> None:
    with app.run(URL) as shop:
        for key in ("1", "2"):
            shop.send(PlaceOrder(key, [Decimal(3)]))
        caught_up(shop)
        assert shell(SNAPSHOT).code == 0  # while it runs
        assert "overwrites nothing" in shell(SNAPSHOT).error
        receipts = [shop.send(PlaceOrder(key, [Decimal(4)])) for key in ("1", "3") for _ in range(2)]
        assert shop.query(TOTALS, into=Decimal, after=receipts) == [11, 3, 8]
    [of_copy], [of_file] = positions(directory / "copy.duckdb"), positions(directory / "shop.views.duckdb")
    assert sum(of_copy.values()) < sum(of_file.values())
    for way in ("restored", "made again"):
        restore(directory)
        if way == "made again":
            (directory / "shop.views.duckdb").unlink()
        with app.run(URL) as shop:
            assert shop.query(TOTALS, into=Decimal, after=receipts) == [11, 3, 8]
            eventually(lambda: shop.query(TOTALS, into=Decimal) == [11, 3, 8])
    (directory / "copy.duckdb").unlink()
    assert shell(SNAPSHOT).code == 0  # and while nothing runs
    assert sum(positions(directory / "copy.duckdb")[0].values()) >= sum(of_file.values())


@pytest.mark.parametrize("what", ["of another log", "ahead of the log"])
def test_a_snapshot_that_is_not_of_this_log_is_refused(app: hw.App, directory: Path, what: str) -> None:
    listening = hw.App("shop", events=[OrderEvent], views="*.sql")
    with closing(make_log(1, SqliteLog(directory / "shop.db"))) as log:
        append(log, [placed("1", "3")])
    early = (directory / "shop.db").read_bytes()
    with closing(SqliteLog(directory / "shop.db")) as log:
        append(log, [placed("1", "3"), placed("2", "5")])
    with listening.run(URL) as shop:
        eventually(lambda: shop.lag()["order_summary"] == 0)
    with closing(ViewFile(str(directory / "shop.views.duckdb"))) as file:
        file.snapshot(str(directory / "copy.duckdb"))
    for lost in [*directory.glob("shop.db*"), *directory.glob("shop.models.db*")]:
        lost.unlink()
    if what == "of another log":
        make_log(1, SqliteLog(directory / "shop.db")).close()
        why = "were made from the log"
    else:
        (directory / "shop.db").write_bytes(early)
        why = "has read order-events/0 up to 3, but it ends at 1"
    restore(directory)
    with listening.run(URL) as shop, pytest.raises(Unavailable, match=why):
        shop.query(TOTALS, into=Decimal)


def test_streams_and_what_is_computed_keep_nothing_in_the_file() -> None:
    texts = (SEED, "CREATE VIEW best AS SELECT MAX(total) AS most FROM order_summary;")
    statements = Statements(tuple(map(Text, texts)), (OrderEvent,), (("order", Order),))
    assert [view.name for view in statements.kept] == ["order_summary"]
    stream = "CREATE STREAM prices AS SELECT orderId, total FROM order-events;"
    assert statements.of([*texts, stream]).kept == statements.kept
