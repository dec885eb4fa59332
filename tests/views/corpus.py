"""Statements that must be understood: each with the event types that it reads, and the same in DuckDB's SQL.

`equal` is what DuckDB is to say over all rows at once; where it is empty, it is the statement itself.
"""

from __future__ import annotations

from dataclasses import dataclass

PLACED = ("OrderPlaced",)
ALL = ("OrderPlaced", "OrderCancelled")


@dataclass(frozen=True)
class Case:
    """Arguments: sql: all after CREATE TABLE v AS; types: the event types of orders that it reads; equal; before: other
    statements."""

    sql: str
    types: tuple[str, ...] = PLACED
    equal: str = ""
    before: str = ""


ELEMENTS = "(SELECT *, unnest(items) AS i FROM order-events)"


def every(step: str) -> str:
    """Times that windows begin at."""
    return f"(SELECT unnest(generate_series(TIMESTAMPTZ '2026-01-05 06:00:00+00', TIMESTAMPTZ '2026-01-05 20:00:00+00', INTERVAL {step})) AS w)"


def sessions(source: str, by: str, gap: str) -> str:
    """How many rows each session has: those that are not more than the gap after another one are with it."""
    after = f"OVER (PARTITION BY {by} ORDER BY _time)"
    begins = f"CASE WHEN _time - lag(_time) {after} <= INTERVAL {gap} THEN 0 ELSE 1 END AS begins"
    numbered = f"SELECT *, sum(begins) {after} AS session FROM (SELECT *, {begins} FROM {source})"
    times = f"min(_time) AS window_start, max(_time) + INTERVAL {gap} AS window_end"
    return f"SELECT {by}, {times}, COUNT(*) AS n FROM ({numbered}) GROUP BY {by}, session"


CORPUS: dict[str, Case] = {
    "the seed's": Case(
        "SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId",
        equal="SELECT orderId, SUM(list_sum([x.itemPrice FOR x IN items])) AS total FROM order-events GROUP BY orderId",
    ),
    "rows as they are": Case("SELECT orderId, total FROM order-events"),
    "a filter": Case("SELECT orderId, total FROM order-events WHERE total > 10 AND customerId IS NOT NULL"),
    "scalar functions": Case(
        "SELECT upper(orderId) AS o, round(total * 1.19, 2) AS gross, total::VARCHAR AS t FROM order-events"
    ),
    "a topic in quotes": Case('SELECT orderId FROM "order-events" WHERE "order-events".total > 1', types=ALL),
    "a topic before a dot": Case(
        "SELECT order-events.orderId, order-events.total-order-events.shipping AS net FROM order-events",
        equal="SELECT orderId, total - shipping AS net FROM order-events",
    ),
    "python names": Case(
        "SELECT order_id, customer_id FROM order-events",
        equal="SELECT orderId AS order_id, customerId AS customer_id FROM order-events",
    ),
    "letters in another case": Case(
        "SELECT ORDERID AS o FROM ORDER-EVENTS", equal="SELECT orderId AS o FROM order-events", types=ALL
    ),
    "a value inside": Case(
        "SELECT orderId, address.city, zip_code AS zip FROM order-events",
        equal="SELECT orderId, address.city, address.zipCode AS zip FROM order-events",
    ),
    "a number of elements": Case("SELECT orderId, len(items) AS n FROM order-events"),
    "the first element": Case(
        "SELECT orderId, items[1].item_price AS first FROM order-events",
        equal="SELECT orderId, items[1].itemPrice AS first FROM order-events",
    ),
    "a lambda": Case("SELECT orderId, list_sum(list_transform(tags, lambda t: len(t))) AS n FROM order-events"),
    "a date": Case(
        "SELECT orderId, due + INTERVAL 3 DAY AS late, EXTRACT(year FROM due-interval 1 day) AS y FROM order-events"
    ),
    "case": Case(
        "SELECT orderId, CASE WHEN total > 100 THEN 'big' WHEN total > 10 THEN 'middle' ELSE 'small' END AS size FROM order-events",
        types=ALL,
    ),
    "another type's field": Case("SELECT orderId, COALESCE(reason, 'none') AS why FROM order-events", types=ALL),
    "one type by its name": Case(
        "SELECT orderId, reason FROM order-events WHERE _type = 'OrderCancelled'", types=("OrderCancelled",)
    ),
    "a type as it is on the wire": Case(
        "SELECT orderId FROM order-events WHERE eventType IN ('OrderCancelled')",
        types=("OrderCancelled",),
        equal="SELECT orderId FROM order-events",
    ),
    "metadata": Case("SELECT _partition, _offset, _type, _time, _entity_version AS v FROM order-events", types=ALL),
    "count of all": Case("SELECT COUNT(*) AS n FROM order-events", types=ALL),
    "nothing to count": Case(
        "SELECT COUNT(*) AS n, SUM(total) AS s, MAX(total) AS m FROM order-events WHERE total > 1e9", types=ALL
    ),
    "per customer": Case(
        "SELECT customerId, COUNT(*) AS n, SUM(total) AS s, AVG(total) AS a FROM order-events GROUP BY customerId"
    ),
    "least and greatest": Case(
        "SELECT customerId, MIN(total) AS lo, MAX(total) AS hi, MIN(due) AS first FROM order-events GROUP BY ALL"
    ),
    "distinct": Case("SELECT customerId, COUNT(DISTINCT shipping) AS n FROM order-events GROUP BY 1"),
    "distinct pairs": Case("SELECT COUNT(DISTINCT (customerId, shipping)) AS n FROM order-events"),
    "distinct rows": Case("SELECT DISTINCT customerId, shipping FROM order-events"),
    "filtered aggregates": Case(
        "SELECT customerId, COUNT(*) FILTER (WHERE total > 10) AS n, SUM(total) FILTER (WHERE shipping IS NULL) AS s FROM order-events GROUP BY customerId"
    ),
    "having": Case(
        "SELECT customerId, SUM(total) AS s FROM order-events GROUP BY customerId HAVING COUNT(*) > 2 AND s > 10",
        equal="SELECT customerId, SUM(total) AS s FROM order-events GROUP BY customerId HAVING COUNT(*) > 2 AND SUM(total) > 10",
    ),
    "groups by an expression": Case("SELECT total > 50 AS big, COUNT(*) AS n FROM order-events GROUP BY total > 50"),
    "groups by an output's name": Case(
        "SELECT date_trunc('day', _time) AS day, SUM(total) AS revenue FROM order-events GROUP BY day"
    ),
    "expressions of aggregates": Case(
        "SELECT customerId, SUM(total) - SUM(COALESCE(shipping, 0)) AS net, round(AVG(total), 2) AS a FROM order-events GROUP BY customerId"
    ),
    "names of outputs": Case(
        "SELECT total * 2 AS twice, twice + 1 AS more FROM order-events WHERE more > 50",
        types=PLACED,
    ),
    "count of a constant": Case("SELECT COUNT(1) AS n, SUM(total) AS s FROM order-events", types=ALL),
    "expressions of keys": Case(
        "SELECT upper(customerId) || '!' AS c, COUNT(*) AS n FROM order-events GROUP BY customerId"
    ),
    "aggregates of case": Case("SELECT SUM(CASE WHEN customerId = 'a' THEN total ELSE 0 END) AS a FROM order-events"),
    "truth": Case(
        "SELECT customerId, BOOL_OR(total > 50) AS some, BOOL_AND(total > 1) AS every, COUNT_IF(shipping > 1) AS n FROM order-events GROUP BY customerId",
        equal="SELECT customerId, BOOL_OR(total > 50) AS some, BOOL_AND(total > 1) AS every, COUNT(*) FILTER (WHERE shipping > 1) AS n FROM order-events GROUP BY customerId",  # a count is 0 where DuckDB's COUNT_IF is NULL
    ),
    "the greatest one's": Case(
        "SELECT customerId, ARG_MAX(orderId, total) AS best FROM order-events GROUP BY customerId",
        equal="SELECT customerId, ARG_MAX(orderId, (total, _partition, _offset)) FILTER (WHERE total IS NOT NULL) AS best FROM order-events GROUP BY customerId",
    ),
    "the latest": Case(
        "SELECT orderId, LATEST(total) AS t, EARLIEST(shipping) AS s FROM order-events GROUP BY orderId",
        equal="SELECT orderId, ARG_MAX(total, (_time, _partition, _offset)) AS t, ARG_MIN(shipping, (_time, _partition, _offset)) AS s FROM order-events GROUP BY orderId",
    ),
    "two types in one row": Case(
        "SELECT orderId, SUM(total) AS t, LATEST(reason) AS why FROM order-events GROUP BY orderId",
        types=ALL,
        equal="SELECT orderId, SUM(total) AS t, ARG_MAX(reason, (_time, _partition, _offset)) AS why FROM order-events GROUP BY orderId",
    ),
    "count of a field": Case(
        "SELECT orderId, COUNT(reason) AS n FROM order-events GROUP BY orderId", types=("OrderCancelled",)
    ),
    "elements folded": Case(
        "SELECT customerId, COUNT(*) AS n, SUM(item_price * quantity) AS s, COUNT(sku) AS skus, MIN(item_price) AS lo, MAX(quantity) AS hi FROM order-events GROUP BY customerId",
        equal="SELECT customerId, COUNT(*) AS n, SUM(list_sum([x.itemPrice * x.quantity FOR x IN items])) AS s, "
        "COALESCE(SUM(list_count([x.sku FOR x IN items])), 0)::BIGINT AS skus, MIN(list_min([x.itemPrice FOR x IN items])) AS lo, "
        "MAX(list_max([x.quantity FOR x IN items])) AS hi FROM order-events GROUP BY customerId",
    ),
    "elements' average": Case(
        "SELECT AVG(item_price) AS a FROM order-events", equal=f"SELECT AVG(i.itemPrice) AS a FROM {ELEMENTS}"
    ),
    "elements by a condition": Case(
        "SELECT SUM(item_price) FILTER (WHERE sku = 'x') AS x, COUNT(DISTINCT sku) AS n FROM order-events",
        equal=f"SELECT SUM(i.itemPrice) FILTER (WHERE i.sku = 'x') AS x, COUNT(DISTINCT i.sku) AS n FROM {ELEMENTS}",
    ),
    "elements with a factor": Case(
        "SELECT SUM(item_price * (1 - shipping / 100)) AS s FROM order-events",
        equal=f"SELECT SUM(i.itemPrice * (1 - shipping / 100)) AS s FROM {ELEMENTS}",
    ),
    "elements of elements": Case(
        "SELECT SUM(weight) AS w, SUM(weight * quantity) AS all FROM order-events".replace("AS all", "AS every"),
        equal=f"SELECT SUM(p.weight) AS w, SUM(p.weight * i.quantity) AS every FROM (SELECT i, unnest(i.parts) AS p FROM {ELEMENTS})",
    ),
    "unnest": Case(
        "SELECT sku, SUM(item_price) AS s, COUNT(*) AS n FROM order-events, UNNEST(items) AS item GROUP BY sku",
        equal=f"SELECT i.sku AS sku, SUM(i.itemPrice) AS s, COUNT(*) AS n FROM {ELEMENTS} GROUP BY ALL",
    ),
    "unnest with conditions": Case(
        "SELECT o.orderId, i.sku FROM order-events AS o CROSS JOIN UNNEST(o.items) AS i WHERE i.quantity > 1",
        equal=f"SELECT orderId, i.sku AS sku FROM {ELEMENTS} WHERE i.quantity > 1",
    ),
    "unnest without losing rows": Case(
        "SELECT orderId, i.sku AS sku FROM order-events LEFT JOIN UNNEST(items) AS i ON true",
        equal="SELECT orderId, unnest(CASE WHEN len(items) > 0 THEN items ELSE [NULL] END).sku AS sku FROM order-events",
    ),
    "unnest of texts": Case(
        "SELECT tag, COUNT(*) AS n FROM order-events, UNNEST(tags) AS t(tag) GROUP BY tag",
        equal="SELECT tag, COUNT(*) AS n FROM (SELECT unnest(tags) AS tag FROM order-events) GROUP BY tag",
    ),
    "unnest twice": Case(
        "SELECT i.sku, SUM(p.weight) AS w FROM order-events, UNNEST(items) AS i, UNNEST(i.parts) AS p GROUP BY i.sku",
        equal=f"SELECT i.sku AS sku, SUM(p.weight) AS w FROM (SELECT i, unnest(i.parts) AS p FROM {ELEMENTS}) GROUP BY ALL",
    ),
    "a view over a view": Case(
        "SELECT n, COUNT(*) AS customers, MAX(s) AS best FROM per_customer GROUP BY n",
        before="CREATE VIEW per_customer AS SELECT customerId, COUNT(*) AS n, SUM(total) AS s FROM order-events GROUP BY customerId",
    ),
    "a view over a filter": Case(
        "SELECT c, COUNT(*) AS n, SUM(net) AS s FROM dear WHERE net > 50 GROUP BY c",
        before="CREATE VIEW dear AS SELECT customerId AS c, total - COALESCE(shipping, 0) AS net FROM order-events WHERE total > 20",
        equal="SELECT customerId AS c, COUNT(*) AS n, SUM(total - COALESCE(shipping, 0)) AS s FROM order-events WHERE total > 20 AND total - COALESCE(shipping, 0) > 50 GROUP BY c",
    ),
    "a view over a stream of elements": Case(
        "SELECT sku, SUM(price * 2) AS s, ARG_MAX(price, since) AS p FROM lines GROUP BY ALL",
        before="CREATE STREAM sold AS SELECT i.sku, i.item_price AS price, i.parts, _time AS since FROM order-events, UNNEST(items) AS i; CREATE VIEW lines AS SELECT sku, price, since FROM sold WHERE price > 5",
        equal=f"SELECT i.sku AS sku, SUM(i.itemPrice * 2) AS s, ARG_MAX(i.itemPrice, (_time, _partition, _offset, i.itemPrice)) AS p FROM {ELEMENTS} WHERE i.itemPrice > 5 GROUP BY ALL",
    ),
    "a list in a view": Case(
        "SELECT SUM(weight) AS w, COUNT(*) AS n FROM lists",
        before="CREATE VIEW lists AS SELECT i.sku, i.parts FROM order-events, UNNEST(items) AS i",
        equal=f"SELECT SUM(list_sum([p.weight FOR p IN i.parts])) AS w, COUNT(*) AS n FROM {ELEMENTS}",
    ),
    "states as a table": Case("SELECT status, COUNT(*) AS n, SUM(total) AS s FROM order-state GROUP BY status"),
    "tumbling windows": Case(
        "SELECT window_start, COUNT(*) AS n FROM order-events GROUP BY TUMBLE(_time, INTERVAL 1 HOUR, grace => INTERVAL 5 MINUTE)",
        types=ALL,
        equal="SELECT time_bucket(INTERVAL 1 HOUR, _time) AS window_start, COUNT(*) AS n FROM order-events GROUP BY ALL",
    ),
    "tumbling windows without a grace": Case(
        "SELECT customerId, window_start, window_end, MAX(total) AS m FROM order-events GROUP BY customerId, TUMBLE(_time, INTERVAL 45 MINUTE) HAVING m > 10",
        equal=f"SELECT customerId, w AS window_start, w + INTERVAL 45 MINUTE AS window_end, MAX(total) AS m FROM order-events JOIN {every('45 MINUTE')} ON _time >= w AND _time < w + INTERVAL 45 MINUTE GROUP BY ALL HAVING m > 10",
    ),
    "hopping windows": Case(
        "SELECT customerId, window_start, window_end, SUM(total) AS s FROM order-events GROUP BY customerId, HOP(_time, INTERVAL 1 HOUR, INTERVAL 20 MINUTE)",
        equal=f"SELECT customerId, w AS window_start, w + INTERVAL 1 HOUR AS window_end, SUM(total) AS s FROM order-events JOIN {every('20 MINUTE')} ON _time >= w AND _time < w + INTERVAL 1 HOUR GROUP BY ALL",
    ),
    "sessions": Case(
        "SELECT customerId, window_start, window_end, COUNT(*) AS n FROM order-events GROUP BY customerId, SESSION(_time, INTERVAL 30 MINUTE)",
        equal=sessions("order-events", "customerId", "30 MINUTE"),
    ),
    "a stream with a table": Case(
        "SELECT c.region, SUM(o.total) AS s, COUNT(*) AS n FROM order-events o JOIN homes c ON o.customerId = c.customerId WHERE o.total > 5 GROUP BY c.region",
        types=ALL,
        before="CREATE TABLE homes AS SELECT customerId, LATEST(region) AS region FROM customer-events GROUP BY customerId",
    ),
    "a stream with a view of windows": Case(
        "SELECT o.orderId, h.window_start, h.n FROM order-events o JOIN hours h ON o.customerId = h.customerId",
        before="CREATE VIEW hours AS SELECT customerId, window_start, COUNT(*) AS n FROM order-events GROUP BY customerId, TUMBLE(_time, INTERVAL 5 HOUR)",
        types=ALL,
    ),
    "a stream with a table as it was": Case(
        "SELECT c.customerId, c.region, o.status, o.total FROM customer-events c LEFT JOIN order-state FOR SYSTEM_TIME AS OF c._time AS o ON c.customerId = o.id",
        equal='SELECT customerId, region, o.status, o.total FROM (SELECT *, (SELECT arg_max(s, (s.since, s.place)) FROM state_versions s WHERE s.id = c.customerId AND s.since <= c._time) AS o FROM "customer-events" c)',
    ),
    "two tables": Case(
        "SELECT a.customerId, a.s, b.region FROM spent a LEFT JOIN homes b ON a.customerId = b.customerId AND a.s > 10",
        before="CREATE TABLE homes AS SELECT customerId, LATEST(region) AS region FROM customer-events GROUP BY customerId; CREATE TABLE spent AS SELECT customerId, SUM(total) AS s FROM order-events GROUP BY customerId",
    ),
    "two streams": Case(
        "SELECT o.orderId, c.region FROM order-events o JOIN customer-events c WITHIN INTERVAL 1 HOUR ON o.customerId = c.customerId",
        types=ALL,
        equal="SELECT o.orderId, c.region FROM order-events o JOIN customer-events c ON o.customerId = c.customerId AND c._time BETWEEN o._time - INTERVAL 1 HOUR AND o._time + INTERVAL 1 HOUR",
    ),
    "nexmark 1": Case("SELECT auction, bidder, 0.908 * price AS price FROM bids"),
    "nexmark 2": Case("SELECT auction, price FROM bids WHERE auction % 123 = 0"),
    "nexmark 3": Case(
        "SELECT p.name, p.city, p.state, a.id FROM auctions a JOIN persons p ON a.seller = p.id WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')"
    ),
    "nexmark 4": Case(
        "SELECT category, AVG(final) AS price FROM winning GROUP BY category",
        before="CREATE VIEW winning AS SELECT a.id, a.category, MAX(b.price) AS final FROM bids b JOIN auctions a ON b.auction = a.id GROUP BY a.id, a.category",
    ),
    "nexmark 5's counts": Case(
        "SELECT auction, window_start, COUNT(*) AS n FROM bids GROUP BY auction, HOP(_time, INTERVAL 10 SECOND, INTERVAL 2 SECOND)",
        equal=f"SELECT auction, w AS window_start, COUNT(*) AS n FROM bids JOIN {every('2 SECOND')} ON _time >= w AND _time < w + INTERVAL 10 SECOND GROUP BY ALL",
    ),
    "nexmark 7": Case(
        "SELECT window_start, MAX(price) AS price, ARG_MAX(bidder, price) AS bidder FROM bids GROUP BY TUMBLE(_time, INTERVAL 10 SECOND)",
        equal="SELECT time_bucket(INTERVAL 10 SECOND, _time) AS window_start, MAX(price) AS price, ARG_MAX(bidder, (price, _partition, _offset)) FILTER (WHERE price IS NOT NULL) AS bidder FROM bids GROUP BY ALL",
    ),
    "nexmark 11": Case(
        "SELECT bidder, window_start, window_end, COUNT(*) AS n FROM bids GROUP BY bidder, SESSION(_time, INTERVAL 10 SECOND)",
        equal=sessions("bids", "bidder", "10 SECOND"),
    ),
    "nexmark 14": Case(
        "SELECT auction, CASE WHEN hour(_time) >= 8 AND hour(_time) <= 18 THEN 'day' ELSE 'night' END AS time, len(extra) - len(replace(extra, 'c', '')) AS cs FROM bids WHERE 0.908 * price > 10"
    ),
    "nexmark 15": Case(
        "SELECT strftime(_time, '%Y-%m-%d') AS day, COUNT(*) AS total, COUNT(*) FILTER (WHERE price < 10) AS cheap, COUNT(DISTINCT bidder) AS bidders, COUNT(DISTINCT auction) FILTER (WHERE price >= 10) AS dear FROM bids GROUP BY ALL"
    ),
    "nexmark 17": Case(
        "SELECT auction, COUNT(*) AS n, MIN(price) AS lo, MAX(price) AS hi, AVG(price) AS mean, SUM(price) AS sum FROM bids GROUP BY auction"
    ),
    "nexmark 18": Case(
        "SELECT bidder, auction, LATEST(price) AS price FROM bids GROUP BY bidder, auction",
        equal="SELECT bidder, auction, ARG_MAX(price, (_time, _partition, _offset)) AS price FROM bids GROUP BY ALL",
    ),
    "nexmark 20": Case(
        "SELECT b.auction, b.bidder, b.price, a.itemName, a.category FROM bids b JOIN auctions a ON b.auction = a.id WHERE a.category = 10"
    ),
    "nexmark 21": Case(
        "SELECT auction, CASE WHEN lower(channel) = 'apple' THEN '0' ELSE regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id FROM bids"
    ),
    "nexmark 22": Case("SELECT auction, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2 FROM bids"),
}
