"""Queries by shape: what a view says, and the same question to all events at once, in DuckDB's own SQL.

The table `events` has a row per event of the types that the view reads; fields that a type has not are NULL. A repeated
field is written out: `SUM(item_price)` of a view is the sum of the sums of each event's items.
"""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """Arguments: name; view: its query; oracle: the same over `events`."""

    name: str
    view: str
    oracle: str


def shape(name: str, view: str, oracle: str = "") -> Shape:
    return Shape(name, view, oracle or view.replace("order-events", "events"))


PRICES = "list_sum([one.itemPrice for one in items])"
LOG = "_time, _partition, _offset"
COUNT_IF = "COALESCE(COUNT_IF(discount > 1), 0)"
"""A view counts 0 where a condition is never known; DuckDB has NULL for it."""
OR_NONE = "(SELECT *, unnest(CASE WHEN len(items) > 0 THEN items ELSE [NULL] END) AS i FROM events)"

SHAPES = [
    shape(
        "seed",
        "SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId",
        f"SELECT orderId, SUM({PRICES}) AS total FROM events GROUP BY orderId",
    ),
    shape(
        "every fold",
        "SELECT customerId, COUNT(*) AS n, COUNT(discount) AS d, SUM(discount) AS s, MIN(discount) AS lo, "
        "MAX(discount) AS hi, SUM(total) / COUNT(total) AS mean FROM order-events "
        "WHERE discount > 2 OR discount IS NULL GROUP BY customerId",
    ),
    shape(
        "having",
        "SELECT customerId, SUM(total) AS s FROM order-events GROUP BY customerId "
        "HAVING COUNT(*) > 2 AND MIN(total) < 5",
    ),
    shape(
        "no key",
        "SELECT COUNT(*) AS n, SUM(total) AS s, MAX(total) AS hi FROM order-events WHERE total > 7",
    ),
    shape(
        "distinct",
        "SELECT customerId, COUNT(DISTINCT orderId) AS o, COUNT(DISTINCT total) FILTER (WHERE total > 3) AS t, "
        "COUNT(DISTINCT discount) AS d "
        "FROM order-events GROUP BY customerId",
    ),
    shape(
        "expressions",
        "SELECT upper(customerId) AS who, CASE WHEN total > 4 THEN 'much' ELSE 'little' END AS size, "
        "COUNT(*) FILTER (WHERE total > 3) AS n, SUM(total * 2 - 1) AS s FROM order-events "
        "GROUP BY upper(customerId), CASE WHEN total > 4 THEN 'much' ELSE 'little' END",
    ),
    shape(
        "latest",
        "SELECT orderId, ARG_MAX(discount, _offset) AS last, ARG_MIN(customerId, _offset) AS first FROM order-events "
        "GROUP BY orderId",
    ),
    shape(
        "average",
        "SELECT discount, AVG(total) AS mean, AVG(discount) AS d FROM order-events GROUP BY discount",
        "SELECT discount, SUM(total) / COUNT(total) AS mean, SUM(discount) / COUNT(discount) AS d FROM events "
        "GROUP BY discount",
    ),
    shape(
        "rows",
        "SELECT orderId, total + 1 AS more FROM order-events WHERE customerId <> 'ann'",
    ),
    shape(
        "unnested",
        "SELECT i.sku, SUM(i.item_price) AS s, COUNT(*) AS n FROM order-events, UNNEST(items) AS i "
        "WHERE i.item_price > 1 GROUP BY i.sku",
        "SELECT i.sku, SUM(i.itemPrice) AS s, COUNT(*) AS n FROM (SELECT unnest(items) AS i FROM events) "
        "WHERE i.itemPrice > 1 GROUP BY i.sku",
    ),
    shape(
        "last and first",
        "SELECT customerId, LATEST(total) AS last, EARLIEST(orderId) AS first, ARG_MIN(discount, total) AS d, "
        "ARG_MAX(orderId, discount) AS most, BOOL_AND(total > 0) AS paid, BOOL_OR(discount > 2) AS less, "
        "COUNT_IF(total > 5) AS n FROM order-events WHERE _type = 'OrderPlaced' GROUP BY customerId",
        f"SELECT customerId, arg_max(total, ({LOG})) AS last, arg_min(orderId, ({LOG})) AS first, "
        "arg_min(discount, (total, _partition, _offset)) AS d, "
        "arg_max(orderId, (discount, _partition, _offset)) FILTER (discount IS NOT NULL) AS most, "
        "BOOL_AND(total > 0) AS paid, BOOL_OR(discount > 2) AS less, "
        "COUNT_IF(total > 5) AS n FROM events WHERE _type = 'OrderPlaced' GROUP BY customerId",
    ),
    shape(
        "doubles",
        "SELECT total > 4 AS much, SUM(total::DOUBLE) AS s, AVG(total::DOUBLE) AS mean, LATEST(orderId) AS last, "
        "BOOL_AND(customerId <> 'ann') AS others, COUNT_IF(discount > 1) AS n FROM order-events GROUP BY total > 4 "
        "HAVING SUM(total) > 1",
        "SELECT total > 4 AS much, SUM(total::DOUBLE) AS s, AVG(total::DOUBLE) AS mean, "
        f"arg_max(orderId, ({LOG})) AS last, BOOL_AND(customerId <> 'ann') AS others, {COUNT_IF} AS n "
        "FROM events GROUP BY total > 4 HAVING SUM(total) > 1",
    ),
    shape(
        "rows of elements",
        "SELECT _partition AS p, i.sku, i.item_price::DOUBLE / 4 AS quarter FROM order-events, UNNEST(items) AS i "
        "WHERE _type = 'OrderPlaced' AND i.item_price > 2",
        "SELECT _partition AS p, i.sku, i.itemPrice::DOUBLE / 4 AS quarter FROM (SELECT *, unnest(items) AS i "
        "FROM events) WHERE _type = 'OrderPlaced' AND i.itemPrice > 2",
    ),
    shape(
        "elements without a key",
        "SELECT MIN(item_price) AS lo, SUM(item_price) AS s, COUNT(DISTINCT orderId) AS o, "
        "EARLIEST(customerId) AS first, BOOL_OR(total > 8) AS much FROM order-events "
        "WHERE CASE WHEN discount > 3 THEN total > 1 ELSE true END",
        f"SELECT MIN(list_min([one.itemPrice for one in items])) AS lo, SUM({PRICES}) AS s, "
        f"COUNT(DISTINCT orderId) AS o, arg_min(customerId, ({LOG})) AS first, BOOL_OR(total > 8) AS much "
        "FROM events WHERE CASE WHEN discount > 3 THEN total > 1 ELSE true END",
    ),
    shape(
        "elements or none",
        "SELECT orderId, COUNT(i.sku) AS n, MAX(i.item_price) AS hi FROM order-events "
        "LEFT JOIN UNNEST(items) AS i ON true GROUP BY orderId",
        f"SELECT orderId, COUNT(i.sku) AS n, MAX(i.itemPrice) AS hi FROM {OR_NONE} GROUP BY orderId",
    ),
    shape(
        "different elements",
        "SELECT DISTINCT customerId, COALESCE(i.sku, 'none') AS sku FROM order-events "
        "LEFT JOIN UNNEST(items) AS i ON true",
        f"SELECT DISTINCT customerId, COALESCE(i.sku, 'none') AS sku FROM {OR_NONE}",
    ),
    shape(
        "different rows",
        "SELECT DISTINCT lower(customerId) AS who, _partition AS p FROM order-events WHERE total > 2",
    ),
]

OPERATORS = {
    "a sum": r"SUM\(",
    "a count of rows": r"COUNT\(\*",
    "a count of a field": r"COUNT\((?!\*|DISTINCT)",
    "a count of a condition": r"COUNT_IF\(",
    "a count of different ones": r"COUNT\(DISTINCT",
    "an average": r"AVG\(",
    "the least": r"(?<!ARG_)MIN\(",
    "the greatest": r"(?<!ARG_)MAX\(",
    "arg_min": r"ARG_MIN\(",
    "arg_max": r"ARG_MAX\(",
    "the latest": r"LATEST\(",
    "the earliest": r"EARLIEST\(",
    "whether all are": r"BOOL_AND\(",
    "whether one is": r"BOOL_OR\(",
    "filter": r"FILTER \(",
    "where": r"(?<!\()WHERE",
    "having": "HAVING",
    "case": "CASE WHEN",
    "arithmetic": r" [-+*/] ",
    "a function": r"\b(upper|lower|COALESCE)\(",
    "a double": "::DOUBLE",
    "a list in an aggregate": r"(SUM|MIN|MAX|COUNT|AVG)\(item_price",
    "elements": r", UNNEST\(",
    "elements or none": r"LEFT JOIN UNNEST\(",
    "groups of a field that may be NULL": r"GROUP BY (customerId|discount)",
    "groups by an expression": r"GROUP BY (\w+\(|(?:(?!HAVING).)* [<>] )",
    "aggregates without groups": r"^SELECT [A-Z_]+\((?!.*GROUP BY)",
    "rows": r"^SELECT (?!DISTINCT)(?!.*(GROUP BY|(SUM|COUNT|MIN|MAX)\())",
    "different rows": "SELECT DISTINCT",
    "a type of event": "_type",
    "a place in the log": r"_(offset|partition)\b",
}
"""What the language has for one topic of events, and what tells that it is in a query."""
