"""Explanations name every step that a plan can have."""

from __future__ import annotations

import pytest

from headwater.views.errors import BadStatement
from headwater.views.explaining import explained
from headwater.views.planning import plan_views
from headwater.views.texts import Text
from tests.views.selling import catalogue

HOMES = "CREATE TABLE homes AS SELECT customerId, LATEST(region) AS region FROM customer-events GROUP BY customerId; "


@pytest.mark.parametrize(
    ("query", "part", "name", "words"),
    [
        ("SELECT orderId FROM order-events WHERE total > 1", "plan", "where", "total > 1"),
        ("SELECT i.sku FROM order-events, UNNEST(items) AS i", "plan", "unnest", "items as u0"),
        ("SELECT COUNT(*) AS n FROM order-events HAVING n > 1", "plan", "having", "(n) > 1"),
        ("SELECT COUNT(DISTINCT total) AS n FROM order-events", "state", "p0", "kept with how often it is there"),
        ("SELECT SUM(total) FILTER (WHERE due IS NULL) AS n FROM order-events", "state", "p0", "where due IS NULL"),
        ("SELECT orderId FROM order-events", "state", "rows", "every row"),
        (
            "SELECT orderId, COALESCE(reason, '') AS r FROM order-events",
            "reads",
            "order-events.reason",
            "NULL otherwise",
        ),
        ("SELECT id FROM order-state", "reads", "order-state.id", "takes the place of the earlier one"),
        (
            "SELECT COUNT(*) AS n FROM order-events GROUP BY TUMBLE(_time, INTERVAL 1 HOUR, grace => INTERVAL 9 HOUR)",
            "plan",
            "tumble",
            "_time, 1 h; late after 9 h, which becomes a dead letter",
        ),
        (
            "SELECT COUNT(*) AS n FROM order-events GROUP BY SESSION(_time, INTERVAL 1 HOUR, grace => INTERVAL 9 HOUR)",
            "state",
            "closed",
            "nothing can come for any more",
        ),
        (
            "SELECT o.orderId FROM order-events o LEFT JOIN homes h ON o.customerId = h.customerId AND h.region <> 'N'",
            "plan",
            "left join",
            "homes on order-events.customerId = homes.customerId and (homes.region <> 'N')",
        ),
        (
            "SELECT o.orderId FROM order-events o JOIN homes h ON o.customerId = h.customerId",
            "reads",
            "customer-events",
            "events, inside of homes",
        ),
        (
            "SELECT o.orderId FROM order-events o JOIN customer-events c WITHIN (INTERVAL 1 DAY, INTERVAL 2 HOUR) "
            "ON o.customerId = c.customerId",
            "plan",
            "inner join",
            "from 1 d before to 2 h after",
        ),
    ],
)
def test_a_step(query: str, part: str, name: str, words: str) -> None:
    view = plan_views([Text(f"{HOMES if 'homes' in query else ''}CREATE TABLE v AS {query}")], catalogue())[-1]
    told = [line for line in explained(view) if (line.part, line.name) == (part, name)]
    assert any(words in line.detail for line in told), told


def test_a_stream_is_told() -> None:
    sql = "CREATE STREAM s WITH (topic = 't', key = 'sku') AS SELECT i.sku FROM order-events, UNNEST(items) AS i"
    (view,) = plan_views([Text(sql)], catalogue())
    told = {line.part: (line.name, line.detail) for line in explained(view)}
    assert told["key"] == ("sku", "")
    assert told["changes"][0] == "t"
    assert told["state"] == ("rows", "none: rows go to the topic")


def test_what_an_app_would_not_start_with_is_refused() -> None:
    sql = (
        "CREATE TABLE v AS SELECT COUNT(*) AS n FROM order-events o JOIN homes h ON o.customerId = h.customerId "
        "GROUP BY SESSION(o._time, INTERVAL 1 HOUR, grace => INTERVAL 1 MINUTE)"
    )
    with pytest.raises(BadStatement, match="write it in the join: WITHIN"):
        explained(plan_views([Text(HOMES + sql)], catalogue())[-1])
