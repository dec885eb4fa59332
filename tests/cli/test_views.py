"""`hw views`: what a view reads, keeps and gives, and what it is in Flink, without a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell

APP = """
from decimal import Decimal

import headwater as hw


class Item(hw.Value):
    item_price: Decimal


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    items: list[Item]


class OrderCancelled(OrderEvent):
    reason: str


app = hw.App("sums", views="*.sql", events=[OrderEvent])
bare = hw.App("bare")
"""

SEED = "CREATE TABLE order_summary AS SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId;"


@pytest.fixture
def sums(directory: Path) -> Path:
    (directory / "sums.py").write_text(APP)
    (directory / "order_summary.sql").write_text(SEED)
    return directory


def test_a_view_is_explained(sums: Path, shell: Shell) -> None:
    rows = shell("views explain order_summary --app sums:app --output ndjson").rows
    told = {(row["part"], row["name"]): (row["type"], row["detail"]) for row in rows}
    assert told["reads", "order-events"] == ("", "events: OrderPlaced")
    assert told["reads", "order-events.items"] == ('STRUCT("itemPrice" DECIMAL(38,9))[]', "")
    assert told["plan", "group by"] == ("VARCHAR", "orderId")
    assert told["state", "p0"] == ("DECIMAL(38,9)", "+ list_sum([v0.itemPrice FOR v0 IN items])")
    assert told["key", "orderId"] == ("", "")
    assert told["gives", "total"][0] == "DECIMAL(38,9)"
    assert [row["detail"].split()[:2] for row in rows if row["part"] == "changes"] == [["INSERT", "INTO"]]


def test_what_is_wrong_is_told_with_its_place(sums: Path, shell: Shell) -> None:
    (sums / "more.sql").write_text("CREATE TABLE more AS\nSELECT orderId, totl FROM order-events;")
    ended = shell("views explain --app sums:app")
    assert ended.code != 0
    assert ended.error.startswith("more.sql:2:17: there is no totl in order-events")
    assert ended.next == "hw views explain --help"


def test_what_an_app_would_not_start_with_is_not_explained(sums: Path, shell: Shell) -> None:
    joined = (
        "CREATE TABLE more AS\nSELECT e.orderId, s.total FROM order-events e\n"
        "  JOIN order_summary FOR SYSTEM_TIME AS OF e._time AS s ON e.orderId = s.orderId;"
    )
    (sums / "more.sql").write_text(joined)
    for verb in ("views explain --app sums:app", "run sums:app --on memory://"):
        ended = shell(verb)
        assert ended.code == 2
        assert ended.error.startswith("more.sql:3:8: order_summary is a view, and of these is not kept what they were")


def test_a_view_and_an_app_that_are_not_there(sums: Path, shell: Shell) -> None:
    assert shell("views explain nothing --app sums:app").error == "there is no view 'nothing'; there are: order_summary"
    assert shell("views explain --app sums:bare").error.startswith("app 'bare' has no views: ")


class TestFlink:
    def test_the_program_is_written(self, sums: Path, shell: Shell) -> None:
        ended = shell("views flink --app sums:app --on kafka://one:9092,two:9092?group_protocol=consumer")
        assert ended.code == 0
        assert "'properties.bootstrap.servers' = 'one:9092,two:9092',\n" in ended.out
        assert ended.out.endswith("INSERT INTO `order_summary_sink` SELECT * FROM `order_summary`;\n")

    def test_what_does_not_translate_is_told(self, sums: Path, shell: Shell) -> None:
        (sums / "order_summary.sql").write_text(SEED.replace("SUM(item_price)", "LATEST(items)"))
        assert shell("views flink --app sums:app").next == "hw views flink --on kafka://localhost:9092"
        error = shell("views flink --app sums:app --on kafka://localhost:9092").error
        assert error.startswith(
            "view order_summary: ARG_MAX, LATEST and the like of a BOOLEAN or a list do not translate"
        )

    def test_flink_reads_kafka_alone(self, sums: Path, shell: Shell) -> None:
        error = shell("views flink --app sums:app --on sqlite:///shop.db").error
        assert error.startswith("Flink reads topics of Kafka")
