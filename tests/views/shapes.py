"""Queries by shape: what a view says, and the same question to all events at once, in DuckDB's own SQL.

The table `events` has a row per event of the types that the view reads; fields that a type has not are NULL. A repeated
field is written out: `SUM(item_price)` of a view is the sum of the sums of each event's items.
"""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """Arguments: name; view: its query; oracle: the same over `events`; uses: the operators that are in it."""

    name: str
    view: str
    oracle: str
    uses: frozenset[str]


def shape(name: str, view: str, oracle: str = "", *, uses: str) -> Shape:
    return Shape(name, view, oracle or view.replace("order-events", "events"), frozenset(uses.split()))


PRICES = "list_sum([one.itemPrice for one in items])"

SHAPES = [
    shape(
        "seed",
        "SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId",
        f"SELECT orderId, SUM({PRICES}) AS total FROM events GROUP BY orderId",
        uses="sum repeated",
    ),
    shape(
        "every fold",
        "SELECT customerId, COUNT(*) AS n, COUNT(discount) AS d, SUM(discount) AS s, MIN(discount) AS lo, "
        "MAX(discount) AS hi, SUM(total) / COUNT(total) AS mean FROM order-events "
        "WHERE discount > 2 OR discount IS NULL GROUP BY customerId",
        uses="count count(x) sum min max where null-key arithmetic",
    ),
    shape(
        "having",
        "SELECT customerId, SUM(total) AS s FROM order-events GROUP BY customerId "
        "HAVING COUNT(*) > 2 AND MIN(total) < 5",
        uses="sum count min having null-key",
    ),
    shape(
        "no key",
        "SELECT COUNT(*) AS n, SUM(total) AS s, MAX(total) AS hi FROM order-events WHERE total > 7",
        uses="no-key count sum max where",
    ),
    shape(
        "distinct",
        "SELECT customerId, COUNT(DISTINCT orderId) AS o, COUNT(DISTINCT total) FILTER (WHERE total > 3) AS t, "
        "COUNT(DISTINCT discount) AS d "
        "FROM order-events GROUP BY customerId",
        uses="distinct filter null-key",
    ),
    shape(
        "expressions",
        "SELECT upper(customerId) AS who, CASE WHEN total > 4 THEN 'much' ELSE 'little' END AS size, "
        "COUNT(*) FILTER (WHERE total > 3) AS n, SUM(total * 2 - 1) AS s FROM order-events "
        "GROUP BY upper(customerId), CASE WHEN total > 4 THEN 'much' ELSE 'little' END",
        uses="expression-key case filter count sum arithmetic null-key",
    ),
    shape(
        "latest",
        "SELECT orderId, ARG_MAX(discount, _offset) AS last, ARG_MIN(customerId, _offset) AS first FROM order-events "
        "GROUP BY orderId",
        uses="arg_max metadata",
    ),
    shape(
        "average",
        "SELECT discount, AVG(total) AS mean, AVG(discount) AS d FROM order-events GROUP BY discount",
        "SELECT discount, SUM(total) / COUNT(total) AS mean, SUM(discount) / COUNT(discount) AS d FROM events "
        "GROUP BY discount",
        uses="avg null-key",
    ),
    shape(
        "rows",
        "SELECT orderId, total + 1 AS more FROM order-events WHERE customerId <> 'ann'",
        uses="rows where arithmetic",
    ),
    shape(
        "unnested",
        "SELECT i.sku, SUM(i.item_price) AS s, COUNT(*) AS n FROM order-events, UNNEST(items) AS i "
        "WHERE i.item_price > 1 GROUP BY i.sku",
        "SELECT i.sku, SUM(i.itemPrice) AS s, COUNT(*) AS n FROM (SELECT unnest(items) AS i FROM events) "
        "WHERE i.itemPrice > 1 GROUP BY i.sku",
        uses="unnest where sum count",
    ),
]

OPERATORS = frozenset().union(*(one.uses for one in SHAPES))
