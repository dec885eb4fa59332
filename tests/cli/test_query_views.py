"""`hw query` of views: what to type next when a question is too dear or names what there is not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from tests.cli.conftest import Shell
from tests.views.orders import SEED, Order, OrderCancelled, PlaceOrder

URL = "sqlite:///shop.db"
ASK = f"--app shop:app --on {URL}"
APP = """
import headwater as hw
from tests.cli.test_query_views import Cancelled
from tests.views.orders import Order

app = hw.App("shop", aggregates=[Order], views="*.sql", partitions=2, projections={projections})
"""


class Cancelled(hw.Projection):
    order_id: hw.Key[str]

    @hw.on(OrderCancelled)
    def cancelled(self, event: OrderCancelled) -> None: ...


@pytest.fixture
def app(directory: Path) -> hw.App:
    (directory / "order_summary.sql").write_text(SEED)
    (directory / "shop.py").write_text(APP.format(projections="[]"))
    app = hw.App("shop", aggregates=[Order], views="*.sql", partitions=2)
    with app.run(URL) as shop:
        receipts = [shop.send(PlaceOrder(key, [Decimal(3)])) for key in ("1", "2")]
        shop.query("SELECT total FROM order_summary", into=Decimal, after=receipts)
    return app


def test_more_records_than_may_be_read_again_name_the_option(app: hw.App, shell: Shell) -> None:
    question = "query 'SELECT count(*) AS n FROM order_summary' --as-of 2100-01-01T00:00:00Z --output ndjson"
    told = shell(f"{question} {ASK} --most-replayed 1")
    assert told.code == 2
    count = told.error.split()[0]
    assert told.error == (
        f"{count} records would have to be read again to tell what was, which is more than 1: --most-replayed {count} "
        "allows it"
    )
    asked = f"hw query 'SELECT count(*) AS n FROM order_summary' {ASK} --as-of 2100-01-01T00:00:00+00:00"
    assert told.next == f"{asked} --most-replayed {count}"
    assert shell(f"{told.next.removeprefix('hw ')} --output ndjson").one == {"n": 2}


def test_a_wrong_question_to_views_is_told_what_lists_them(app: hw.App, shell: Shell) -> None:
    with app.run(URL):
        assert shell(f"query 'SELECT totl FROM order_summary' {ASK}").next == "hw views explain --app shop:app"
        assert shell(f"query 'SELECT total FROM order_sums' {ASK}").next == "hw views explain --app shop:app"


def test_beside_projections_it_depends_on_what_is_asked(app: hw.App, shell: Shell, directory: Path) -> None:
    (directory / "shop.py").write_text(APP.format(projections="[Cancelled]"))
    with hw.App("shop", aggregates=[Order], views="*.sql", partitions=2, projections=[Cancelled]).run(URL):
        assert shell(f"query 'SELECT totl FROM order_summary' {ASK}").next == "hw views explain --app shop:app"
        tables = f'hw query "SELECT name FROM hw_tables" {ASK}'
        assert shell(f"query 'SELECT nothing FROM cancelled' {ASK}").next == tables
