"""What a view is as a program of Flink SQL, and what is refused. Whether it means the same is for `test_cluster`."""

from __future__ import annotations

import pytest

from headwater.views.flink.expressions import Untranslatable
from headwater.views.flink.script import script
from headwater.views.planning import plan_views
from headwater.views.texts import Text
from tests.views.flink.shop import plans
from tests.views.flink.views import VIEWS
from tests.views.selling import AUCTIONS, catalogue

SEED = "CREATE TABLE order_summary AS SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId;"

GOLDEN = """\
SET 'table.local-time-zone' = 'UTC';

SET 'execution.checkpointing.interval' = '10 s';

CREATE TABLE `order_summary_source` (
  `eventType` STRING,
  `items` ARRAY<ROW<`itemPrice` DECIMAL(38, 2)>>,
  `orderId` STRING
) WITH (
  'connector' = 'kafka',
  'topic' = 'order-events',
  'properties.bootstrap.servers' = 'localhost:9092',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY VIEW `order_summary` AS
SELECT
  `k0` AS `orderId`,
  CASE WHEN `p1` > 0 THEN `p0` END AS `total`
FROM (
  SELECT `r0`.`orderId` AS `k0`, SUM(`e0`.`itemPrice`) AS `p0`, COUNT(`e0`.`itemPrice`) AS `p1`
  FROM `order_summary_source` AS `r0`
  LEFT JOIN UNNEST(`r0`.`items`) AS `e0` (`itemPrice`) ON TRUE
  WHERE `r0`.`eventType` IN ('OrderPlaced')
  GROUP BY `r0`.`orderId`
) AS `g`;

-- the topic is to be compacted: a later row takes the place of an earlier one
CREATE TABLE `order_summary_sink` (
  `orderId` STRING,
  `total` DECIMAL(38, 2),
  PRIMARY KEY (`orderId`) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'order_summary',
  'properties.bootstrap.servers' = 'localhost:9092',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'flink-order_summary',
  'properties.transaction.timeout.ms' = '900000',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'value.json.encode.decimal-as-plain-number' = 'true',
  'key.format' = 'raw'
);

INSERT INTO `order_summary_sink` SELECT * FROM `order_summary`;
"""


def of(sql: str) -> str:
    """The program of the last view."""
    views = plans(sql)
    return script(views, [views[-1].name], "localhost:9092")


def test_the_seeds_view() -> None:
    assert of(SEED) == GOLDEN


def test_several_views_are_filled_by_one_job() -> None:
    views = plans(VIEWS)
    found = script(views, [view.name for view in views], "localhost:9092")
    assert found.endswith("END;\n")
    assert found.count("INSERT INTO") == len(views)
    assert found.count("CREATE TEMPORARY VIEW `per_customer`") == 1


def test_a_view_that_is_read_is_defined_and_not_filled() -> None:
    found = of(
        "CREATE TABLE per AS SELECT orderId, COUNT(*) AS n FROM order-events GROUP BY orderId;"
        "CREATE TABLE v AS SELECT n, COUNT(*) AS orders FROM per GROUP BY n"
    )
    assert "CREATE TEMPORARY VIEW `per`" in found
    assert "FROM `per` AS `r0`" in found
    assert "per_sink" not in found


def test_events_are_counted_once_beside_their_elements() -> None:
    found = of(
        "CREATE TABLE v AS SELECT orderId, COUNT(*) AS n, SUM(item_price) AS s FROM order-events GROUP BY orderId"
    )
    assert "LEFT JOIN UNNEST(`r0`.`items`) WITH ORDINALITY AS `e0` (`itemPrice`, `hw_place`) ON TRUE" in found
    assert "COUNT(*) FILTER (WHERE (`e0`.`hw_place` IS NULL OR `e0`.`hw_place` = 1)) AS `n`" in found
    assert "SUM(`e0`.`itemPrice`) AS `p0`" in found


class TestWindows:
    """Flink's functions for windows; a watermark says what is late."""

    @pytest.mark.parametrize(
        ("window", "name", "spans"),
        [
            ("TUMBLE(_time, INTERVAL 45 MINUTE)", "TUMBLE", ["0 00:45:00.000"]),
            ("HOP(_time, INTERVAL 1 DAY, INTERVAL 90 MINUTE)", "HOP", ["0 01:30:00.000", "1 00:00:00.000"]),
        ],
    )
    def test_without_a_grace_nothing_is_late(self, window: str, name: str, spans: list[str]) -> None:
        found = of(
            "CREATE TABLE v AS SELECT customerId, window_start, window_end, COUNT(*) AS n FROM order-events "
            f"GROUP BY customerId, {window}"
        )
        listed = ", ".join(f"INTERVAL '{span}' DAY(2) TO SECOND(3)" for span in spans)
        assert f"FROM TABLE({name}(TABLE `v_source`, DESCRIPTOR(`_rowtime`), {listed})) AS `r0`" in found
        # grouped by both its start and its end, Flink would close windows
        assert "GROUP BY `r0`.`customerId`, `r0`.`window_start`\n" in found

    def test_with_a_grace_windows_are_closed(self) -> None:
        found = of(
            "CREATE TABLE v AS SELECT customerId, window_start, window_end, COUNT(*) AS n FROM order-events "
            "GROUP BY customerId, TUMBLE(_time, INTERVAL 1 HOUR, grace => INTERVAL 5 MINUTE)"
        )
        assert "WATERMARK FOR `_rowtime` AS `_rowtime` - INTERVAL '0 00:05:00.000' DAY(2) TO SECOND(3)" in found
        assert "GROUP BY `r0`.`customerId`, `r0`.`window_start`, `r0`.`window_end`\n" in found

    def test_sessions_are_of_the_rows_that_count(self) -> None:
        found = of(
            "CREATE TABLE v AS SELECT customerId, window_start, window_end, COUNT(*) AS n FROM order-events "
            "WHERE total > 1 GROUP BY customerId, SESSION(_time, INTERVAL 10 MINUTE, grace => INTERVAL 5 MINUTE)"
        )
        rows = found[found.index("CREATE TEMPORARY VIEW `v_rows`") : found.index("CREATE TEMPORARY VIEW `v` ")]
        assert "CAST(ROW(`r0`.`customerId`) AS ROW<`k0` STRING>) AS `hw_keys`" in rows
        assert "WHERE `r0`.`eventType` IN ('OrderPlaced') AND (`r0`.`total` > " in rows
        assert (
            "FROM TABLE(SESSION(TABLE `v_rows` PARTITION BY `hw_keys`, DESCRIPTOR(`_rowtime`), "
            "INTERVAL '0 00:10:00.000' DAY(2) TO SECOND(3))) AS `r0`\n"
            "  GROUP BY `r0`.`hw_keys`, `r0`.`window_start`, `r0`.`window_end`"
        ) in found


def test_a_field_with_a_default_is_told() -> None:
    found = of("CREATE TABLE v AS SELECT orderId, COUNT(urgent) AS n FROM order-events GROUP BY orderId")
    assert "-- urgent is NULL where a record of OrderPlaced leaves it out; headwater reads False then\n" in found


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (
            "SELECT orderId, window_start, window_end, LATEST(total) AS t FROM order-events GROUP BY orderId, "
            "TUMBLE(_time, INTERVAL 1 HOUR, grace => INTERVAL 1 HOUR)",
            "LATEST and the like in a window with a grace",
        ),
        (
            "SELECT o.orderId, p.price FROM order-events o JOIN prices FOR SYSTEM_TIME AS OF o._time AS p "
            "ON o.customerId = p.sku",
            "what comes later corrects nothing",
        ),
        (
            "SELECT o.orderId, p.price FROM order-events o JOIN prices p ON o.customerId = p.sku",
            "have no key in a topic",
        ),
        (
            "SELECT o.orderId, p.amount FROM order-events o LEFT JOIN payment-events p WITHIN INTERVAL 1 HOUR "
            "ON o.orderId = p.orderId",
            "have no key in a topic",
        ),
        (
            "SELECT o.orderId, p.amount FROM order-events o JOIN payment-events p "
            "WITHIN (INTERVAL 1 HOUR, grace => INTERVAL 1 HOUR) ON o.orderId = p.orderId",
            "WITHIN with a grace",
        ),
        (
            "SELECT o.orderId, window_start, COUNT(*) AS n FROM order-events o JOIN prices p ON o.customerId = p.sku "
            "GROUP BY o.orderId, TUMBLE(o._time, INTERVAL 1 HOUR)",
            "windows over joins",
        ),
        (
            "SELECT i.sku, window_start, COUNT(*) AS n FROM order-events o, UNNEST(items) AS i "
            "GROUP BY i.sku, SESSION(_time, INTERVAL 1 HOUR, grace => INTERVAL 1 HOUR)",
            "SESSION beside UNNEST",
        ),
        ("SELECT d.day, COUNT(*) AS n FROM days d GROUP BY d.day", "a text or a whole number does"),
        ("SELECT COUNT(*) AS n FROM order-events", "one row without a key"),
        ("SELECT COUNT(*) AS n FROM order-events GROUP BY orderId", "SELECT all that it is grouped by"),
        ("SELECT orderId, exact * 2 AS e FROM order-events", "round it to 6 digits"),
        ("SELECT orderId, exact + 1 AS e FROM order-events", "round it to 8 digits"),
        ("SELECT orderId, items[1].sku AS e FROM order-events", "items[1].sku does not translate"),
        ("SELECT orderId, items FROM order-events WHERE md5(orderId) = 'x'", "does not translate"),
        ("SELECT orderId, exact::BIGINT AS e FROM order-events", "same in both for these types"),
        ("SELECT orderId, total || 'x' AS e FROM order-events", "a text is expected"),
        (
            "SELECT orderId, window_start, window_end, COUNT(*) AS n FROM order-events GROUP BY orderId, "
            "SESSION(_time, INTERVAL 1 HOUR)",
            "SESSION without a grace",
        ),
        (
            "SELECT orderId, window_start, window_end, COUNT(*) AS n FROM order-events GROUP BY orderId, "
            "TUMBLE(since, INTERVAL 1 HOUR)",
            "only windows by _time",
        ),
    ],
)
def test_what_does_not_mean_the_same_is_refused(sql: str, why: str) -> None:
    with pytest.raises(Untranslatable, match=r"^view v: ") as refused:
        of(f"{OTHERS} CREATE TABLE v AS {sql}")
    assert why in str(refused.value)


def test_a_stream_is_refused_and_what_reads_it_is_not() -> None:
    sql = "CREATE STREAM s AS SELECT orderId, total FROM order-events;"
    with pytest.raises(Untranslatable, match="CREATE STREAM does not translate"):
        of(sql)
    found = of(f"{sql} CREATE TABLE v AS SELECT orderId, SUM(total) AS t FROM s GROUP BY orderId")
    assert "'topic' = 'order-events'" in found


OTHERS = """
CREATE TABLE prices (sku VARCHAR PRIMARY KEY, price DECIMAL(12,2)) WITH (topic = 'sap-prices');
CREATE TABLE rates (id BIGINT PRIMARY KEY, rate DOUBLE) WITH (topic = 'sap-rates');
CREATE TABLE days (day DATE PRIMARY KEY) WITH (topic = 'sap-days');
"""


def test_a_stream_of_others_is_a_table_of_rows_that_are_only_added() -> None:
    views = plan_views([Text(f"{AUCTIONS} CREATE TABLE v AS SELECT auction, price FROM bids")], catalogue())
    found = script(views, ["v"], "localhost:9092")
    assert "'topic' = 'nexmark-bids'" in found
    assert "eventType" not in found


@pytest.mark.parametrize(("table", "key", "form"), [("prices", "sku", "raw"), ("rates", "id", "csv")])
def test_a_table_of_others_has_a_row_for_each_key(table: str, key: str, form: str) -> None:
    found = of(f"{OTHERS} CREATE TABLE v AS SELECT {key}, COUNT(*) AS n FROM {table} GROUP BY {key}")
    assert f"  PRIMARY KEY (`{key}`) NOT ENFORCED\n) WITH (\n  'connector' = 'upsert-kafka',\n" in found
    assert f"  'key.format' = '{form}'\n" in found
    assert "scan.startup.mode" not in found


def test_the_states_of_an_aggregate_are_refused() -> None:
    sql = "CREATE TABLE v AS SELECT status, COUNT(*) AS n FROM order-state GROUP BY status"
    views = plan_views([Text(sql)], catalogue())
    with pytest.raises(Untranslatable, match="methods in Python fold"):
        script(views, ["v"], "localhost:9092")


class TestJoins:
    """Regular joins, which keep both sides; a side has the events that are meant, and no others."""

    def test_a_stream_with_a_table(self) -> None:
        found = of(
            f"{OTHERS} CREATE TABLE v AS SELECT o.customerId, SUM(p.price * i.quantity) AS s FROM order-events o, "
            "UNNEST(o.items) AS i LEFT JOIN prices p ON i.sku = p.sku AND p.price > 1 GROUP BY o.customerId"
        )
        assert (
            "  FROM (SELECT * FROM `v_source` AS `r0` WHERE `r0`.`eventType` IN ('OrderPlaced')) AS `r0`\n"
            "  CROSS JOIN UNNEST(`r0`.`items`) AS `u0` (`sku`, `quantity`)\n"
            "  LEFT JOIN `v_source_r1` AS `r1` ON `u0`.`sku` = `r1`.`sku` AND ("
        ) in found

    def test_with_a_view(self) -> None:
        found = of(
            "CREATE TABLE per AS SELECT customerId, SUM(total) AS s FROM order-events GROUP BY customerId;"
            "CREATE TABLE v AS SELECT o.orderId, MAX(c.s) AS s FROM order-events o JOIN per c "
            "ON o.customerId = c.customerId GROUP BY o.orderId"
        )
        assert "\n  JOIN `per` AS `r1` ON `r0`.`customerId` = `r1`.`customerId`\n" in found

    def test_two_streams_within_a_time(self) -> None:
        found = of(
            "CREATE TABLE v AS SELECT o.orderId, p.amount FROM order-events o JOIN payment-events p "
            "WITHIN (INTERVAL 30 MINUTE, INTERVAL 1 HOUR) ON o.orderId = p.orderId"
        )
        assert (
            "`r1`.`_time` BETWEEN `r0`.`_time` - INTERVAL '0 00:30:00.000' DAY(2) TO SECOND(3) AND "
            "`r0`.`_time` + INTERVAL '0 01:00:00.000' DAY(2) TO SECOND(3)"
        ) in found
        assert "WATERMARK" not in found  # an interval join would drop what is late
        assert "'connector' = 'upsert-kafka'" not in found

    def test_a_key_that_is_null_until_the_other_side_has_come_does_not_end_the_job(self) -> None:
        found = of(
            "CREATE TABLE v AS SELECT p.paymentId, COUNT(*) AS n FROM order-events o LEFT JOIN payment-events p "
            "WITHIN INTERVAL 1 HOUR ON o.orderId = p.orderId GROUP BY p.paymentId"
        )
        assert found.endswith("INSERT INTO `v_sink` SELECT * FROM `v` WHERE `paymentId` IS NOT NULL;\n")


def test_the_greatest_row_is_the_first_in_that_order() -> None:
    found = of(
        "CREATE TABLE v AS SELECT customerId, ARG_MIN(orderId, exact) FILTER (WHERE total > 1) AS o, COUNT(*) AS n "
        "FROM order-events GROUP BY customerId"
    )
    assert (
        "ROW_NUMBER() OVER (PARTITION BY `r0`.`customerId` ORDER BY `r0`.`exact`, `r0`.`_partition`, `r0`.`_offset`, "
        "`r0`.`orderId`) AS `hw_rank`"
    ) in found
    assert "SELECT `p0_k0`, MAX(`p0`) FILTER (WHERE `hw_rank` = 1) AS `p0`\n  FROM (" in found
    assert "  ) WHERE `hw_rank` <= 2\n  ) GROUP BY `p0_k0`\n) AS `b_p0` ON `g`.`k0` = `p0_k0`;" in found
    latest = of("CREATE TABLE v AS SELECT customerId, LATEST(total) AS t FROM order-events GROUP BY customerId")
    assert "ORDER BY `r0`.`_time` DESC, `r0`.`_partition` DESC, `r0`.`_offset` DESC, `r0`.`total` DESC" in latest


def test_a_store_is_not_fed_and_that_is_said() -> None:
    found = of(
        "CREATE TABLE v WITH (sink = 'redis://localhost:6379/0') AS SELECT orderId, COUNT(*) AS n FROM order-events "
        "GROUP BY orderId"
    )
    assert "-- its store, WITH (sink = …), is not fed: read the topic from there\nCREATE TABLE `v_sink`" in found
    assert "redis" not in found
