"""What cannot be maintained, or has no one meaning, is refused before anything runs, with what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.views.binding import Binder
from headwater.views.errors import BadStatement
from headwater.views.planning import plan_with
from headwater.views.reading import statements_of
from headwater.views.texts import Text
from tests.views.selling import AUCTIONS, OrderPlaced, catalogue

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
        ("SELECT COUNT_IF(total > 1) AS s FROM order-events, UNNEST(items) AS i", "total", "once per element of i"),
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
        ("SELECT orderId, age(_time) AS t FROM order-events", "age", "_time or _recorded"),
        ("SELECT orderId, current_date AS t FROM order-events", "current_date", "_time or _recorded"),
        ("SELECT orderId, version() AS t FROM order-events", "version", "it tells of the database"),
        ("SELECT orderId, current_user AS t FROM order-events", "current_user", "it tells of the database"),
        ("SELECT orderId, random() AS t FROM order-events", "random", "cannot be in a view"),
        ("SELECT orderId FROM order-events ORDER BY orderId", "ORDER BY", "ORDER BY where it is read"),
        ("SELECT orderId FROM order-events LIMIT 3", "LIMIT 3", "has no LIMIT"),
        (
            "SELECT orderId FROM order-events UNION ALL SELECT customerId FROM customer-events",
            "SELECT orderId FROM",
            "UNION",
        ),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x", "WITH x", "CREATE VIEW name AS"),
        ("SELECT a FROM (SELECT orderId AS a FROM order-events) AS q", "(SELECT orderId", "CREATE VIEW name AS"),
        ("SELECT orderId FROM order-events WHERE total = (SELECT 1)", "SELECT 1)", "or JOIN it"),
        ("SELECT orderId, ROW_NUMBER() OVER (ORDER BY total) AS n FROM order-events", "ROW_NUMBER", "ARG_MAX(x, y)"),
        ("SELECT DISTINCT ON (orderId) orderId FROM order-events", "DISTINCT ON", "DISTINCT ON"),
        (
            "SELECT customerId, COUNT(*) AS n FROM order-events GROUP BY CUBE (customerId)",
            "customerId)",
            "several views",
        ),
        ("SELECT orderId FROM order-events WHERE total > ?", "?", "no parameters"),
        ("SELECT 1 AS a FROM read_csv('x.csv')", "read_csv", "the name of a topic or a view"),
        ("SELECT orderId FROM order-events WHERE _type = 'OrderMoved'", "order-events", "it has: OrderPlaced, Order"),
        (
            "SELECT total, reason FROM order-events",
            "order-events",
            "OrderPlaced has no reason; OrderCancelled has no total",
        ),
        ("SELECT orderId, (*) AS n FROM order-events", "*)", "a star stands by itself"),
        ("SELECT ARG_MAX(orderId, ) AS n FROM order-events", "orderId, )", "too few arguments"),
        ("SELECT a FROM order-events AS o(a)", "order-events", "other names in SELECT"),
        ("SELECT a FROM order-events, UNNEST(items) AS i(a, b)", "UNNEST", "an element is one column"),
        ("SELECT orderId FROM order-events TABLESAMPLE 10%", "order-events", "by its name"),
        ("SELECT o.orderId FROM order-events o, customer-events c", "customer", "ON a.x = b.y"),
        (
            "SELECT o.orderId FROM order-events o JOIN customer-events c ON o.total > 1",
            "o.total > 1",
            "at least one equality",
        ),
        (
            "SELECT o.orderId FROM order-events o JOIN customer-events c ON o.customerId = c.customerId",
            "customer-events c ON",
            "WITHIN",
        ),
        (
            "SELECT customerId FROM order-events o JOIN homes h ON o.customerId = h.customerId",
            "customerId",
            "h.customerId or o.customerId",
        ),
        ("SELECT o.orderId FROM order-events o JOIN order-state s ON o.total = s.id", "o.total", "CAST one of them"),
        ("SELECT o.orderId FROM order-events o JOIN order-state s ON foo(o.orderId) = s.id", "foo", "foo does not"),
        (
            "SELECT o.orderId FROM order-events o JOIN order-state s ON o.orderId = s.id AND bar(s.id)",
            "bar(",
            "No function matches",
        ),
        (
            "SELECT o.due FROM order-events o JOIN order-state FOR SYSTEM_TIME AS OF o.total AS s ON o.orderId = s.id",
            "o.total AS",
            "takes a time, and this is DECIMAL",
        ),
        (
            "SELECT orderId, COUNT(*) AS n FROM order-state FOR SYSTEM_TIME AS OF _time AS s GROUP BY orderId",
            "order-state",
            "belongs to a table that is joined",
        ),
        (
            "SELECT orderId, COUNT(*) AS n FROM order-events WITHIN INTERVAL 1 HOUR GROUP BY orderId",
            "order-events",
            "belongs to a stream that is joined",
        ),
        ("SELECT COUNT(*) AS n FROM order-events GROUP BY TUMBLE(_time)", "TUMBLE(", "TUMBLE(time, INTERVAL size)"),
        (
            "SELECT COUNT(*) AS n FROM order-events GROUP BY TUMBLE(_time, INTERVAL 1 MONTH)",
            "INTERVAL 1 MONTH",
            "months are not all",
        ),
        (
            "SELECT COUNT(*) AS n FROM order-events GROUP BY HOP(_time, INTERVAL 1 HOUR, INTERVAL 2 HOUR)",
            "INTERVAL 2 HOUR",
            "leave",
        ),
        ("SELECT LATEST(region) AS r FROM homes", "LATEST", "have no time"),
        ("SELECT LATEST(total) AS r FROM order-state", "LATEST", "views and states have no time: ARG_MAX(total"),
        ("SELECT COUNT(*) AS n FROM order-events GROUP BY TUMBLE(_time, INTERVAL 0 HOUR)", "INTERVAL 0", "above 0"),
        (
            "SELECT COUNT(*) AS n FROM order-events GROUP BY HOP(_time, INTERVAL 3650 DAY, INTERVAL 1 SECOND)",
            "INTERVAL 1 SECOND",
            "each row would be in 315,360,000 windows, and 10,000 are possible",
        ),
        (
            "SELECT COUNT(*) AS n, window_end AS e FROM order-events WHERE window_end > '2026-01-01' "
            "GROUP BY SESSION(_time, INTERVAL 1 HOUR)",
            "window_end > ",
            "known when its rows are gathered",
        ),
        (
            "SELECT o.orderId, h.region FROM order-events o LEFT JOIN homes FOR SYSTEM_TIME AS OF o._time AS h "
            "ON o.customerId = h.customerId",
            "homes FOR",
            "homes is a view, and of these is not kept what they were",
        ),
        (
            "SELECT COUNT(*) AS n FROM order-events o JOIN homes h ON o.customerId = h.customerId "
            "GROUP BY TUMBLE(o._time, INTERVAL 1 HOUR, grace => INTERVAL 1 MINUTE)",
            "TUMBLE(",
            "write it in the join: WITHIN (",
        ),
        (
            "SELECT a.region FROM homes a JOIN homes FOR SYSTEM_TIME AS OF now AS b ON a.customerId = b.customerId",
            "now",
            "there is no now",
        ),
    ],
)
def test_a_query(query: str, at: str, words: str, binder: Binder) -> None:
    sql = f"{HOMES if 'homes' in query else ''}CREATE TABLE v AS {query}"
    told = refusal(binder, sql)
    assert words in str(told)
    assert sql[told.column - 1 :].startswith(at), str(told)


@pytest.mark.parametrize(
    ("sql", "at", "words"),
    [
        (
            "CREATE STREAM s AS SELECT customerId, COUNT(*) AS n FROM order-events GROUP BY 1",
            "GROUP BY",
            "these rows can change",
        ),
        ("CREATE STREAM s AS SELECT DISTINCT orderId FROM order-events", "DISTINCT", "these rows can change"),
        ("CREATE STREAM s AS SELECT COUNT(*) AS n FROM order-events", "COUNT", "these rows can change"),
        (HOMES + "CREATE STREAM s AS SELECT region FROM homes", "homes", "these rows can change"),
        (
            "CREATE TABLE v WITH (topic = 'x') AS SELECT orderId FROM order-events",
            "topic",
            "topic = … is for CREATE STREAM",
        ),
        ("CREATE TABLE v WITH (key = 'orderId') AS SELECT orderId FROM order-events", "key", "is for CREATE STREAM"),
        ("CREATE STREAM s WITH (key = 'id') AS SELECT orderId FROM order-events", "key", "names no column"),
        ("CREATE STREAM s WITH (key = 'total') AS SELECT total FROM order-events", "key", "DECIMAL(38,9) is no key"),
        ("CREATE STREAM s WITH (history = true) AS SELECT total FROM order-events", "history", "is for tables"),
        ("CREATE STREAM s AS SELECT orderId, total AS eventType FROM order-events", "total", "has its own eventType"),
        ("CREATE STREAM s WITH (topic = 'a b/c') AS SELECT orderId FROM order-events", "topic", "cannot name a topic"),
        ("CREATE STREAM s WITH (topic = '') AS SELECT orderId FROM order-events", "topic", "cannot name a topic"),
        ('CREATE STREAM "my stream" AS SELECT orderId FROM order-events', '"my', "or WITH (topic = 'name')"),
        ('CREATE STREAM "my clicks" (price BIGINT)', '"my', "'my clicks' cannot name a topic"),
        ("CREATE STREAM clicks (price BIGINT) WITH (topic = '..')", "topic", "'..' cannot name a topic"),
        (
            'CREATE TABLE "by region" WITH (shared = true) AS SELECT c.region, COUNT(*) AS n FROM order-events o '
            "JOIN customer-events c WITHIN INTERVAL 1 HOUR ON o.customerId = c.customerId GROUP BY c.region",
            '"by',
            "a topic of its own has the view's name",
        ),
        (
            "CREATE TABLE v WITH (late = 'drop') AS SELECT orderId FROM order-events",
            "late",
            "nothing is late in this view",
        ),
        (
            "CREATE TABLE v WITH (history = true) AS SELECT o.orderId FROM order-events o JOIN order-state s "
            "ON o.orderId = s.id",
            "history",
            "without joins, sessions and a grace",
        ),
        (
            HOMES + "CREATE TABLE v WITH (history = true) AS SELECT region FROM homes",
            "history",
            "write history = true in these",
        ),
        (
            HOMES + "CREATE TABLE v AS SELECT a.region FROM homes a "
            "JOIN homes FOR SYSTEM_TIME AS OF '2026-01-01'::TIMESTAMPTZ AS b ON a.customerId = b.customerId",
            "homes FOR",
            "homes is a view",
        ),
        (
            "CREATE VIEW days AS SELECT customerId, COUNT(*) AS n FROM order-events "
            "GROUP BY customerId, SESSION(_time, INTERVAL 1 DAY); "
            "CREATE TABLE v AS SELECT o.orderId, d.n FROM order-events o JOIN days d ON o.customerId = d.customerId",
            "days d",
            "has a session window",
        ),
        (
            "CREATE VIEW sums AS SELECT COUNT(*) AS n FROM order-events; "
            "CREATE VIEW twice AS SELECT n * 2 AS n FROM sums; "
            "CREATE TABLE v AS SELECT o.orderId FROM order-events o JOIN twice t ON len(o.items) = t.n",
            "twice t",
            "sums has no GROUP BY",
        ),
        ("CREATE TABLE order-events AS SELECT orderId FROM order-events", "order-events AS", "the name of a topic"),
        (
            "CREATE TABLE v AS SELECT orderId FROM order-events; CREATE TABLE V AS SELECT 1 AS a FROM v",
            "V",
            "two statements",
        ),
        ("CREATE VIEW a AS SELECT x FROM b; CREATE VIEW b AS SELECT x FROM a", "a AS", "in a circle"),
        ("CREATE TABLE persons (id BIGINT)", "persons", "PRIMARY KEY"),
        ("CREATE STREAM persons (id BIGINT PRIMARY KEY)", "id", "a stream has no key"),
        ("CREATE STREAM persons (id BIGINT NOT NULL)", "id", "PRIMARY KEY only"),
        (
            "CREATE STREAM persons (id INTERVAL)",
            "id",
            "INTERVAL is not read from JSON; there are: DECIMAL(digits, scale), BIGINT",
        ),
        (
            "CREATE TABLE v AS SELECT c.region FROM customer-events c "
            "FULL JOIN order-state FOR SYSTEM_TIME AS OF c._time AS o ON c.customerId = o.id",
            "order-state",
            "JOIN or LEFT JOIN",
        ),
    ],
)
def test_a_statement(sql: str, at: str, words: str, binder: Binder) -> None:
    told = refusal(binder, sql)
    assert words in str(told)
    assert sql[told.column - 1 :].startswith(at), str(told)


@pytest.mark.parametrize(
    ("sql", "at", "words"),
    [
        ("SELECT 'abc FROM order-events\n\nWHERE 1 = 1", "'abc", "never ends: ' is missing"),
        ('SELECT "abc FROM order-events', '"abc', 'never ends: " is missing'),
        ("SELECT orderId /* of all\nFROM order-events", "/* of", "never ends: */ is missing"),
        (f"SELECT {'(' * 300}total{')' * 300} AS x FROM order-events", "(total", "nested too deeply"),
        (f"SELECT {'not ' * 300}total > 1 AS x FROM order-events", "SELECT not", "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(sql: str, at: str, words: str, binder: Binder) -> None:
    before = "-- one\nCREATE TABLE a AS SELECT orderId FROM order-events;\n\nCREATE TABLE v AS\n"
    told = refusal(binder, before + sql)
    assert words in str(told)
    assert (told.line, sql[told.column - 1 :].startswith(at)) == (5, True), str(told)


def test_what_is_too_deep_once_it_is_written_out_is_told(binder: Binder) -> None:
    deep = f"{'(' * 35}{{}}{')' * 35}"
    told = refusal(
        binder, f"CREATE TABLE v AS\nSELECT {deep.format('total')} AS a, {deep.format('a')} AS b FROM order-events"
    )
    assert "nested too deeply" in str(told)
    assert (told.line, told.column) == (2, 1)


def test_a_line_that_is_shown_is_that_of_the_place(binder: Binder) -> None:
    told = refusal(binder, "-- a line\u2028 that is one\nCREATE TABLE v AS SELECT orderId FROM orders")
    assert str(told).splitlines()[-2:] == ["    CREATE TABLE v AS SELECT orderId FROM orders", f"{' ' * 42}^"]


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


def test_a_file_may_begin_with_the_mark_that_some_editors_write(tmp_path: Path) -> None:
    (tmp_path / "views.sql").write_bytes(b"\xef\xbb\xbfCREATE TABLE v AS\r\nSELECT orderId FROM order-events;\r\n")
    [view] = statements_of(f"{tmp_path}/*.sql", [OrderPlaced], []).plans
    assert (view.name, [one.name for one in view.output]) == ("v", ["orderId"])
