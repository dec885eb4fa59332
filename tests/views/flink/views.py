"""The views that a cluster of Flink is asked to keep: one of each kind that translates."""

GROUPS = """
CREATE TABLE order_summary AS SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId;

CREATE TABLE per_customer AS
SELECT customerId, COUNT(*) AS n, SUM(total) AS s, AVG(exact) AS a, MIN(exact) AS lo, MAX(due) AS last, SUM(exact) AS e,
    COUNT(DISTINCT orderId) AS orders, COUNT(shipping) AS shipped, BOOL_OR(urgent) AS some, BOOL_AND(urgent) AS every,
    COUNT_IF(total > 50) AS dear, SUM(total) FILTER (WHERE shipping IS NULL) AS free, SUM(weight_kg) AS kg
FROM order-events GROUP BY customerId;

CREATE TABLE elements AS
SELECT customerId, COUNT(*) AS n, SUM(item_price * quantity) AS s, COUNT(sku) AS skus, COUNT(DISTINCT sku) AS kinds,
    AVG(item_price) AS a, MIN(item_price) AS lo, SUM(quantity) FILTER (WHERE sku <> 'a') AS q, SUM(weight) AS w,
    SUM(weight * quantity) AS wq, SUM(total) AS t, MAX(quantity) AS hi
FROM order-events GROUP BY customerId;

CREATE TABLE having AS
SELECT upper(orderId) || '!' AS o, CASE WHEN total > 50 THEN 'much' WHEN total > 10 THEN 'some' ELSE 'little' END AS size,
    COUNT(*) AS n, SUM(total * 2 - 1) AS s
FROM order-events WHERE total <> 0 AND (shipping IS NOT NULL OR customerId IN ('ann', 'ñandú'))
GROUP BY 1, 2 HAVING COUNT(*) > 1 OR SUM(total) > 60;

CREATE TABLE by_sku AS
SELECT i.sku, COUNT(*) AS n, MAX(i.item_price) AS s, SUM(p.weight) AS w
FROM order-events, UNNEST(items) AS i LEFT JOIN UNNEST(i.parts) AS p ON true WHERE i.quantity > 1 GROUP BY i.sku;

CREATE TABLE by_tag AS SELECT tag, COUNT(*) AS n FROM order-events, UNNEST(tags) AS t(tag) GROUP BY tag;

CREATE TABLE hourly AS
SELECT customerId, window_start, window_end, COUNT(*) AS n, SUM(total) AS s, SUM(item_price) AS items
FROM order-events GROUP BY customerId, TUMBLE(_time, INTERVAL 1 HOUR);

CREATE TABLE hopping AS
SELECT customerId, window_start, window_end, MAX(total) AS m FROM order-events
GROUP BY customerId, HOP(_time, INTERVAL 90 MINUTE, INTERVAL 30 MINUTE);

CREATE TABLE sizes AS SELECT n, COUNT(*) AS customers, MAX(s) AS best, SUM(s) AS s FROM per_customer GROUP BY n;

CREATE TABLE both_types AS
SELECT orderId, COUNT(*) AS n, COUNT(reason) AS cancelled, MAX(reason) AS why FROM order-events GROUP BY orderId;

CREATE TABLE every_row AS
SELECT orderId, _type, _partition, _offset, _id, _key, _entity_version AS v, _time, _recorded, _actor, exact, total, due,
    since, weight_kg, urgent, address.city AS city, len(items) AS n, len(customerId) AS letters,
    round(total * 1.19, 2) AS gross, round(exact, 3) AS rounded, total / 3 AS third, abs(exact) AS positive,
    total BETWEEN 5 AND 50.5 AS middle, customerId LIKE '%n%' AS like_n, coalesce(shipping, 0) AS ship,
    nullif(customerId, 'ann') AS not_ann, substring(customerId, 2, 2) AS part, replace(customerId, 'n', 'mm') AS changed,
    lower(customerId) AS low, trim('  ' || customerId || ' ') AS trimmed, exact::VARCHAR AS said, due::VARCHAR AS day,
    extract(year FROM due) AS y, month(due) AS m, extract(hour FROM _time) AS h, date_trunc('day', _time) AS d,
    date_trunc('month', since) AS mo, len(items) % 2 AS odd, -total AS less, shipping IS DISTINCT FROM total AS differ,
    since > _time AS later, _time::DATE AS on_day, total::DOUBLE AS double, urgent IS NOT TRUE AS calm,
    exact::DECIMAL(38,2) AS cut, total = shipping AS same
FROM order-events;

"""

JOINS = """
CREATE TABLE prices (sku VARCHAR PRIMARY KEY, price DECIMAL(12,2), label VARCHAR) WITH (topic = 'sap-prices');

CREATE TABLE rates (id BIGINT PRIMARY KEY, rate DOUBLE) WITH (topic = 'sap-rates');

CREATE TABLE priced AS
SELECT o.customerId, COUNT(*) AS n, COUNT(p.price) AS known, SUM(p.price * i.quantity) AS s, MAX(p.label) AS label
FROM order-events o, UNNEST(o.items) AS i LEFT JOIN prices p ON i.sku = p.sku AND p.price > 1 GROUP BY o.customerId;

CREATE TABLE rated AS
SELECT r.id, COUNT(*) AS n, MIN(r.rate) AS rate, SUM(o.total) AS s
FROM order-events o JOIN rates r ON len(o.items) = r.id GROUP BY r.id;

CREATE TABLE dearest AS
SELECT p.sku, p.price, COUNT(*) AS n FROM prices p LEFT JOIN rates r ON len(p.sku) = r.id GROUP BY 1, 2;

CREATE TABLE with_totals AS
SELECT o.orderId, COUNT(*) AS n, MAX(c.s) AS best, MIN(c.n) AS orders
FROM order-events o JOIN per_customer c ON o.customerId = c.customerId WHERE o.total > 20 GROUP BY o.orderId;

CREATE TABLE paid AS
SELECT o.orderId, o.total, p.paymentId, p.amount, p._time AS at
FROM order-events o JOIN payment-events p WITHIN (INTERVAL 30 MINUTE, INTERVAL 1 HOUR) ON o.orderId = p.orderId;

CREATE TABLE unpaid AS
SELECT o.orderId, COUNT(*) AS n, COUNT(p.amount) AS paid, SUM(p.amount) AS s
FROM order-events o LEFT JOIN payment-events p WITHIN INTERVAL 1 HOUR ON o.orderId = p.orderId AND p.amount > 10
GROUP BY o.orderId;

CREATE TABLE either AS
SELECT coalesce(o.orderId, p.orderId) AS id, COUNT(o.total) AS n, COUNT(p.amount) AS paid
FROM order-events o FULL JOIN payment-events p WITHIN INTERVAL 5 MINUTE ON o.orderId = p.orderId
GROUP BY 1;

"""

BEST = """
CREATE TABLE latest AS
SELECT customerId, LATEST(total) AS t, EARLIEST(shipping) AS first, ARG_MAX(orderId, exact) AS most,
    ARG_MIN(orderId, due) FILTER (WHERE total > 10) AS least, COUNT(*) AS n, SUM(item_price) AS s
FROM order-events GROUP BY customerId;

CREATE TABLE last_of_each AS SELECT orderId, LATEST(customerId) AS who FROM order-events GROUP BY orderId;

CREATE TABLE by_latest AS SELECT who, COUNT(*) AS n, ARG_MAX(orderId, orderId) AS last FROM last_of_each GROUP BY who;

CREATE TABLE latest_by_hour AS
SELECT customerId, window_start, window_end, LATEST(total) AS t FROM order-events
GROUP BY customerId, TUMBLE(_time, INTERVAL 1 HOUR);

"""

CLOSED = """
CREATE TABLE closed_hours AS
SELECT customerId, window_start, window_end, COUNT(*) AS n, SUM(total) AS s, COUNT(DISTINCT orderId) AS orders,
    SUM(item_price) AS items
FROM order-events GROUP BY customerId, TUMBLE(_time, INTERVAL 1 HOUR, grace => INTERVAL 7 HOUR);

CREATE TABLE closed_hops AS
SELECT customerId, window_start, window_end, MAX(total) AS m FROM order-events
GROUP BY customerId, HOP(_time, INTERVAL 90 MINUTE, INTERVAL 30 MINUTE, grace => INTERVAL 7 HOUR);

CREATE TABLE closed_sessions AS
SELECT customerId, total > 50 AS much, window_start, window_end, COUNT(*) AS n, SUM(total) AS s, SUM(item_price) AS items
FROM order-events WHERE total > 10 GROUP BY customerId, total > 50, SESSION(_time, INTERVAL 10 MINUTE, grace => INTERVAL 7 HOUR);
"""

VIEWS = GROUPS + JOINS + BEST + CLOSED
