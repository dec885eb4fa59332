"""What cannot be maintained, or has no one meaning, is refused before anything runs, with what to write instead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.views.binding import Binder
from headwater.views.errors import BadStatement
from headwater.views.planning import plan_with
from headwater.views.texts import Text
from tests.views.selling import AUCTIONS, catalogue

HOMES = "CREATE TABLE homes AS SELECT customerId, LATEST(region) AS region FROM customer-events GROUP BY customerId; "


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    with Binder() as binder:
        yield binder


def refusal(binder: Binder, sql: str) -> BadStatement:
    with pytest.raises(BadStatement) as told:
        plan_with(binder, [Text(sql)], catalogue())
    return told.value


@pytest.mark.parametrize(
    ("query", "at", "words"),
    [
        ("SELECT orderId FROM orders", "orders", "there is no topic or view orders; there are: customer-events"),
        ("SELECT totl FROM order-events", "totl", "there is no totl in order-events (orderId, customerId"),
        ("SELECT foo(total) AS x FROM order-events", "foo", "foo does not exist"),
        ("SELECT total || 1 > 'a' + 1 AS x FROM order-events o WHERE o", "o", "there is no o"),
        ("SELECT SUM(reason) AS x FROM order-events", "SUM", "No function matches"),
        ("SELECT total + 1 FROM order-events", "total", "give it a name: total + 1 AS"),
        ("SELECT total, due AS total FROM order-events", "due", "there are two columns total"),
        ("SELECT sku FROM order-events", "sku", "UNNEST(items) AS item"),
        ("SELECT orderId FROM order-events WHERE quantity > 1", "quantity", "UNNEST(items) AS item"),
        ("SELECT sku, COUNT(*) AS n FROM order-events GROUP BY sku", "sku", "UNNEST(items) AS item"),
        ("SELECT SUM(item_price + shipping) AS s FROM order-events", "shipping", "once per element of items"),
        ("SELECT SUM(CASE WHEN sku = 'x' THEN total END) AS s FROM order-events", "total", "once per element of i"),
        ("SELECT SUM(item_price * pct) AS s FROM order-events", "pct", "two lists"),
        ("SELECT SUM(total) AS s FROM order-events, UNNEST(items) AS i", "total", "once per element of i"),
        ("SELECT AVG(i.item_price) AS s FROM order-events, UNNEST(items) AS i, UNNEST(tags) AS t", "i.", "of t,"),
        ("SELECT COUNT(*) FILTER (WHERE sku = 'x') AS n FROM order-events", "COUNT", "COUNT(sku) FILTER"),
        ("SELECT ARG_MAX(sku, item_price) AS s FROM order-events", "sku", "which element of items?"),
        ("SELECT orderId FROM order-events, UNNEST(total) AS t", "total", "is no list"),
        ("SELECT customerId, total FROM order-events GROUP BY customerId", "total", "LATEST(total)"),
        ("SELECT orderId FROM order-events WHERE SUM(total) > 1", "SUM", "HAVING"),
        ("SELECT SUM(MAX(total)) AS s FROM order-events", "total", "a view of the inner one"),
        ("SELECT median(total) AS m FROM order-events", "median", "there are: SUM, COUNT"),
        ("SELECT string_agg(reason, ',') AS m FROM order-events", "string_agg", "there are: SUM, COUNT"),
        ("SELECT SUM(DISTINCT total) AS m FROM order-events", "SUM", "COUNT(DISTINCT x) only"),
        ("SELECT orderId, now() AS t FROM order-events", "now", "_time or _recorded"),
        ("SELECT orderId, current_date AS t FROM order-events", None, "_time or _recorded"),
        ("SELECT orderId, random() AS t FROM order-events", "random", "cannot be in a view"),
        ("SELECT orderId FROM order-events ORDER BY orderId", None, "ORDER BY where it is read"),
        ("SELECT orderId FROM order-events LIMIT 3", None, "has no LIMIT"),
        ("SELECT orderId FROM order-events UNION ALL SELECT customerId FROM customer-events", None, "UNION"),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x", None, "CREATE VIEW name AS"),
        ("SELECT a FROM (SELECT orderId AS a FROM order-events) AS q", None, "CREATE VIEW name AS"),
        ("SELECT orderId FROM order-events WHERE total = (SELECT 1)", None, "or JOIN it"),
        ("SELECT orderId, ROW_NUMBER() OVER (ORDER BY total) AS n FROM order-events", None, "ARG_MAX(x, y)"),
        ("SELECT DISTINCT ON (orderId) orderId FROM order-events", None, "DISTINCT ON"),
        ("SELECT customerId, COUNT(*) AS n FROM order-events GROUP BY CUBE (customerId)", None, "several views"),
        ("SELECT orderId FROM order-events WHERE total > ?", None, "no parameters"),
        ("SELECT 1 AS a FROM read_csv('x.csv')", None, "the name of a topic or a view"),
        ("SELECT orderId FROM order-events WHERE _type = 'OrderMoved'", "order-events", "it has: OrderPlaced, Order"),
        ("SELECT total, reason FROM order-events", None, "OrderPlaced has no reason; OrderCancelled has no total"),
        ("SELECT orderId, (*) AS n FROM order-events", None, "a star stands by itself"),
        ("SELECT ARG_MAX(orderId, ) AS n FROM order-events", None, "too few arguments"),
        ("SELECT a FROM order-events AS o(a)", "order-events", "other names in SELECT"),
        ("SELECT a FROM order-events, UNNEST(items) AS i(a, b)", "UNNEST", "an element is one column"),
        ("SELECT orderId FROM order-events TABLESAMPLE 10%", "order-events", "by its name"),
        ("SELECT o.orderId FROM order-events o, customer-events c", "customer", "ON a.x = b.y"),
        ("SELECT o.orderId FROM order-events o JOIN customer-events c ON o.total > 1", None, "at least one equality"),
        ("SELECT o.orderId FROM order-events o JOIN customer-events c ON o.customerId = c.customerId", None, "WITHIN"),
        (
            "SELECT customerId FROM order-events o JOIN homes h ON o.customerId = h.customerId",
            "customerId",
            "h.customerId or o.customerId",
        ),
        ("SELECT o.orderId FROM order-events o JOIN order-state s ON o.total = s.id", "o.total", "CAST one of them"),
        ("SELECT o.orderId FROM order-events o JOIN order-state s ON foo(o.orderId) = s.id", "foo", "foo does not"),
        (
            "SELECT o.orderId FROM order-events o JOIN order-state s ON o.orderId = s.id AND bar(s.id)",
            None,
            "No function matches",
        ),
        (
            "SELECT o.due FROM order-events o JOIN order-state FOR SYSTEM_TIME AS OF o.total AS s ON o.orderId = s.id",
            None,
            "takes a time, and this is DECIMAL",
        ),
        ("SELECT COUNT(*) AS n FROM order-events GROUP BY TUMBLE(_time)", None, "TUMBLE(time, INTERVAL size)"),
        ("SELECT COUNT(*) AS n FROM order-events GROUP BY TUMBLE(_time, INTERVAL 1 MONTH)", None, "months are not all"),
        ("SELECT COUNT(*) AS n FROM order-events GROUP BY HOP(_time, INTERVAL 1 HOUR, INTERVAL 2 HOUR)", None, "leave"),
        ("SELECT LATEST(region) AS r FROM homes", "LATEST", "have no time"),
    ],
)  # fmt: skip
def test_a_query(query: str, at: str | None, words: str, binder: Binder) -> None:
    sql = f"{HOMES if 'homes' in query else ''}CREATE TABLE v AS {query}"
    told = refusal(binder, sql)
    assert words in str(told)
    if at is not None:
        assert sql[told.column - 1 :].startswith(at), str(told)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("CREATE STREAM s AS SELECT customerId, COUNT(*) AS n FROM order-events GROUP BY 1", "these rows can change"),
        (HOMES + "CREATE STREAM s AS SELECT region FROM homes", "these rows can change"),
        ("CREATE TABLE v WITH (topic = 'x') AS SELECT orderId FROM order-events", "topic = … is for CREATE STREAM"),
        ("CREATE TABLE order-events AS SELECT orderId FROM order-events", "the name of a topic"),
        (
            "CREATE TABLE v AS SELECT orderId FROM order-events; CREATE TABLE V AS SELECT 1 AS a FROM v",
            "two statements",
        ),
        ("CREATE VIEW a AS SELECT x FROM b; CREATE VIEW b AS SELECT x FROM a", "in a circle"),
        ("CREATE TABLE persons (id BIGINT)", "PRIMARY KEY"),
        ("CREATE STREAM persons (id BIGINT PRIMARY KEY)", "a stream has no key"),
        ("CREATE STREAM persons (id BIGINT NOT NULL)", "PRIMARY KEY only"),
        (
            "CREATE STREAM persons (id INTERVAL)",
            "INTERVAL is not read from JSON; there are: DECIMAL(digits, scale), BIGINT",
        ),
        (
            "CREATE TABLE v AS SELECT c.region FROM customer-events c "
            "FULL JOIN order-state FOR SYSTEM_TIME AS OF c._time AS o ON c.customerId = o.id",
            "JOIN or LEFT JOIN",
        ),
    ],
)
def test_a_statement(sql: str, words: str, binder: Binder) -> None:
    assert words in str(refusal(binder, sql))


GROUPED = "SELECT orderId, {} AS x FROM order-events GROUP BY orderId"
HOURLY = "SELECT window_start AS s, COUNT(*) AS n FROM order-events GROUP BY TUMBLE({}, INTERVAL 1 HOUR)"


@pytest.mark.parametrize(
    ("query", "at", "words"),
    [
        ("SELECT orderId, total || items AS x FROM order-events", "total || items", "Cannot concatenate"),
        (GROUPED.format("COUNT(upper(total))"), "COUNT(upper", "No function matches"),
        (GROUPED.format("COUNT(*) FILTER (WHERE upper(total) = 'A')"), "COUNT(*)", "No function matches"),
        (GROUPED.format("COUNT_IF(upper(total) = 'A')"), "COUNT_IF", "No function matches"),
        (GROUPED.format("BOOL_OR(upper(total))"), "BOOL_OR", "No function matches"),
        (GROUPED.format("COUNT(*) FILTER (WHERE items)"), "COUNT(*)", "Unimplemented type for cast"),
        (HOURLY.format("orderId"), "TUMBLE", "a window takes a time, and this is VARCHAR"),
        (HOURLY.format("upper(total)"), "TUMBLE", "No function matches"),
    ],
)
def test_what_does_not_bind(query: str, at: str, words: str, binder: Binder) -> None:
    sql = f"CREATE TABLE v AS\n{query}"
    told = refusal(binder, sql)
    assert words in str(told)
    assert told.line == 2
    assert query[told.column - 1 :].startswith(at), str(told)


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("SELECT orderId, total + 'abc' AS x FROM order-events", "'abc'"),
        ("SELECT orderId FROM order-events WHERE due = 'soon'", "'soon'"),
        ("SELECT orderId FROM order-events WHERE total BETWEEN 1 AND 'b' AND orderId <> 'b'", "total"),
        ("SELECT orderId FROM order-events WHERE total IN (1, 'b')", "'b'"),
        ("SELECT orderId, CASE WHEN total > 1 THEN 'a' ELSE 1 END AS x FROM order-events", "'a'"),
        ("SELECT orderId, CASE total WHEN 'a' THEN 1 END AS x FROM order-events", "'a'"),
        ("SELECT orderId, coalesce(total, 'x') AS x FROM order-events", "'x'"),
        ("SELECT orderId, date_trunc('centurion', _time) AS x FROM order-events", "date_trunc"),
        ("SELECT orderId, _time AT TIME ZONE 'Atlantis' AS x FROM order-events", "'Atlantis'"),
        ("SELECT orderId, regexp_matches(orderId, '(') AS x FROM order-events", "'('"),
        ("SELECT orderId, make_date(2024, 13, 1) AS x FROM order-events", "make_date"),
        (GROUPED.format("SUM(item_price + 'a')"), "'a'"),
        (GROUPED.format("SUM(total)") + " HAVING SUM(total) > 'a'", "'a'"),
        ("SELECT o.orderId FROM order-events o JOIN order-state s ON o.orderId = s.id AND o.total > 'x'", "'x'"),
    ],
)
def test_what_fails_at_every_record(query: str, at: str, binder: Binder) -> None:
    told = refusal(binder, f"CREATE TABLE v AS\n{query}")
    assert "no record goes with this" in str(told)
    assert (told.line, query[told.column - 1 :].startswith(at)) == (2, True), str(told)


def test_a_choice_of_rows_is_no_constant_to_look_at(binder: Binder) -> None:
    # of type TUPLE(VARCHAR, INTEGER), which only DuckDB reads
    sql = "CREATE TABLE v AS SELECT orderId, CASE WHEN total > 1 THEN '0' ELSE (orderId, 2) END AS x FROM order-events"
    [view] = plan_with(binder, [Text(sql)], catalogue())
    assert view.output[1].type.sql.startswith("TUPLE")


def test_what_fails_at_some_values_only_is_not_refused(binder: Binder) -> None:
    sql = (
        "CREATE TABLE v AS SELECT orderId, orderId::INTEGER + 1 AS a, coalesce(total, 'nan'::DOUBLE) AS b, "
        "_time AT TIME ZONE orderId AS c, CASE WHEN total IS NULL THEN 0 ELSE 1 / total END AS d, "
        "strptime(orderId, '%Y') AS e, list_transform(tags, lambda t: t::INTEGER + 1) AS f, "
        "CASE orderId WHEN 'a' THEN 1 END AS g, INTERVAL 1 DAY + due AS h FROM order-events"
    )
    [view] = plan_with(binder, [Text(sql)], catalogue())
    assert len(view.output) == 9


def test_a_name_in_two_places_lists_them(binder: Binder) -> None:
    two = "CREATE STREAM trips (leaves STRUCT(city VARCHAR), arrives STRUCT(city VARCHAR)); "
    told = refusal(binder, two + "CREATE TABLE v AS SELECT city FROM trips")
    assert "city may be trips.arrives.city or trips.leaves.city" in str(told)


def test_nothing_of_a_text_is_planned_when_a_part_is_wrong(binder: Binder) -> None:
    told = refusal(binder, f"{AUCTIONS}\nCREATE TABLE v AS\n  SELECT auction FROM bids\n  WHERE prize > 3")
    assert (told.line, told.column) == (11, 9)
