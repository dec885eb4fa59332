"""A view over a view that makes rows of elements: what an order has once is not added once per item."""

from __future__ import annotations

import pytest

from headwater.views.errors import BadStatement
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.orders import OrderEvent

LINES = (
    "CREATE VIEW lines AS SELECT orderId, customerId, total, i.sku, i.item_price * i.quantity AS amount, "
    "total / i.quantity AS share FROM order-events, UNNEST(items) AS i"
)
AGAIN = "CREATE VIEW again AS SELECT sku, total * 2 AS twice, amount * 2 AS more FROM lines"
TOTALS = "CREATE TABLE totals AS SELECT orderId, MAX(total) AS total FROM lines GROUP BY orderId"
JOINED = (
    "CREATE VIEW joined AS SELECT l.sku, l.total, l.amount, t.total AS largest FROM lines l JOIN totals t "
    "ON l.orderId = t.orderId"
)


def plan(query: str) -> View:
    """Of a view over these."""
    texts = [LINES, AGAIN, TOTALS, JOINED, f"CREATE TABLE v AS {query}"]
    plans = plan_views([Text(one) for one in texts], catalogue_of([OrderEvent], []))
    return next(one for one in plans if one.name == "v")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("SELECT SUM(total) AS x FROM lines", "lines.total"),
        ("SELECT AVG(total + 1) AS x FROM lines", "lines.total"),
        ("SELECT sku, COUNT(orderId) AS x FROM lines GROUP BY sku", "lines.orderId"),
        ("SELECT COUNT_IF(total > 1) AS x FROM lines", "lines.total"),
        ("SELECT SUM(amount + total) AS x FROM lines AS o", "o.total"),
        ("SELECT SUM(twice) AS x FROM again", "again.twice"),
        ("SELECT SUM(total) AS x FROM joined", "joined.total"),
    ],
)
def test_it_is_refused(query: str, name: str) -> None:
    with pytest.raises(BadStatement, match=f"{name} is in .* once per element of a list"):
        plan(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT sku, SUM(amount) AS x, AVG(share) AS y, COUNT(*) AS n FROM lines GROUP BY sku",
        "SELECT sku, COUNT(DISTINCT orderId) AS n, MAX(total) AS m, BOOL_OR(total > 1) AS b FROM lines GROUP BY sku",
        "SELECT SUM(amount * total) AS x FROM lines",
        "SELECT SUM(more) AS x FROM again",
        "SELECT SUM(total) AS x FROM totals",
        "SELECT SUM(amount) AS x FROM joined",
    ],
)
def test_what_is_of_the_elements_is_added(query: str) -> None:
    assert plan(query).name == "v"
