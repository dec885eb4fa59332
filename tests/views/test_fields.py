"""The SQL type of what a class declares, and what of it a view reads."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest

import headwater as hw
from headwater.views.declared import type_of
from headwater.views.planning import plan_views
from headwater.views.texts import Text
from tests.views.selling import catalogue


class Colour(enum.Enum):
    RED = "red"


class Node(hw.Value):
    weight: int
    below: list[Node] = []


@pytest.mark.parametrize(
    ("annotation", "sql"),
    [
        (str, "VARCHAR"),
        (int, "BIGINT"),
        (float, "DOUBLE"),
        (bool, "BOOLEAN"),
        (bytes, "VARCHAR"),
        (Decimal, "DECIMAL(38,9)"),
        (Annotated[Decimal, msgspec.Meta(extra={"scale": 2})], "DECIMAL(38,2)"),
        (Annotated[int, msgspec.Meta(ge=0)], "BIGINT"),
        (datetime, "TIMESTAMPTZ"),
        (date, "DATE"),
        (time, "TIME"),
        (timedelta, "VARCHAR"),
        (UUID, "UUID"),
        (Colour, "VARCHAR"),
        (Literal[1, 2], "BIGINT"),
        (Literal[1, "a"], "JSON"),
        (str | None, "VARCHAR"),
        (str | int, "JSON"),
        (Any, "JSON"),
        (list, "JSON"),
        (list[int], "BIGINT[]"),
        (set[str], "VARCHAR[]"),
        (tuple[int, ...], "BIGINT[]"),
        (tuple[int, str], "JSON"),
        (dict[str, Decimal], "MAP(VARCHAR, DECIMAL(38,9))"),
        (Node, 'STRUCT("weight" BIGINT, "below" JSON[])'),
        (hw.Key[date], "DATE"),
    ],
)
def test_types(annotation: Any, sql: str) -> None:
    assert type_of(annotation).sql == sql


def test_only_what_is_used_is_read_of_a_record() -> None:
    sql = "CREATE TABLE v AS SELECT orderId, SUM(item_price) AS s FROM order-events GROUP BY orderId"
    (view,) = plan_views([Text(sql)], catalogue())
    (kind,) = view.relation.types
    assert {one.wire: one.type.structure for one in kind.fields} == {
        "orderId": "VARCHAR",
        "items": [{"itemPrice": "DECIMAL(38,9)"}],
    }


def test_elements_that_only_are_counted_are_read_whole() -> None:
    sql = "CREATE TABLE v AS SELECT COUNT(*) AS n FROM order-events, UNNEST(tags) AS t"
    (view,) = plan_views([Text(sql)], catalogue())
    assert [(one.name, one.type.sql) for one in view.relation.columns] == [("tags", "VARCHAR[]")]


def test_a_table_of_others_takes_its_types_from_its_statement() -> None:
    sql = (
        "CREATE TABLE prices (sku VARCHAR PRIMARY KEY, price DECIMAL(12,2), since TIMESTAMP, lots STRUCT(n INT)[]) "
        "WITH (topic = 'sap-prices'); CREATE VIEW v AS SELECT price, since, lots FROM prices"
    )
    (view,) = plan_views([Text(sql)], catalogue())
    assert (view.relation.name, view.relation.origin, view.relation.key) == ("sap-prices", "records", ("sku",))
    assert {one.name: one.type.sql for one in view.relation.columns} == {
        "price": "DECIMAL(12,2)",
        "since": "TIMESTAMPTZ",
        "lots": 'STRUCT("n" INT)[]',
        "sku": "VARCHAR",
    }


def test_the_key_of_a_view_is_what_it_is_grouped_by_if_all_of_it_is_shown() -> None:
    def key(sql: str) -> tuple[str, ...]:
        (view,) = plan_views([Text(f"CREATE TABLE v AS {sql}")], catalogue())
        return view.key

    assert key("SELECT customerId AS c, COUNT(*) AS n FROM order-events GROUP BY customerId") == ("c",)
    assert key("SELECT COUNT(*) AS n FROM order-events GROUP BY customerId") == ()
    assert key("SELECT orderId FROM order-events") == ()


def test_a_time_is_in_utc() -> None:
    sql = f"CREATE TABLE v AS SELECT orderId FROM order-events WHERE _time > '{datetime(2026, 1, 1, tzinfo=UTC)}'"
    (view,) = plan_views([Text(sql)], catalogue())
    assert [one.name for one in view.relation.columns] == ["_time", "orderId"]
