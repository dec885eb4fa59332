"""What a projection may be is decided when its class is made."""

from __future__ import annotations

import linecache
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

import headwater as hw
from headwater.entities.code import code_of
from headwater.errors import Misuse
from headwater.projections.declare import row_key, snake_case, table_called, table_of
from headwater.projections.read_model import read_models_of, uses_meta
from headwater.stores.port import NAME
from tests.projections.trade import (
    OpenTrade,
    Paid,
    Placed,
    Reading,
    Revenue,
    Sold,
    TradeEvent,
    append,
    make_log,
    placed,
)


class Later(hw.Timeout):
    trade_id: hw.Key[str]


class Note(hw.Value):
    text: str


def test_the_table_is_called_as_the_class_in_snake_case() -> None:
    assert table_of(OpenTrade).name == "open_trade"
    assert table_of(OpenTrade).key == ("trade_id",)
    assert [column.name for column in table_of(Revenue).columns] == ["day", "revenue", "orders"]


@pytest.mark.parametrize(
    ("name", "table"), [("Revenue", "revenue"), ("HTTPCalls", "http_calls"), ("a_b", "a_b"), ("Sku2Name", "sku2_name")]
)
def test_snake_case(name: str, table: str) -> None:
    assert snake_case(name) == table


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("order-v2", "order_v2_"),
        ("Order.V12", "order_v12_"),
        ("order-v2-lines", "order_v2_lines"),
        ("v2", "v2"),
        ("3d-print", "_3d_print"),
        ("hw-host", "_hw_host"),
        ("sqlite_v1", "_sqlite_v1_"),
        ("Größe", "gr__e"),
        ("x" * 62, "x" * 62),
    ],
)
def test_any_name_is_a_table(name: str, table: str) -> None:
    assert table_called(name) == table
    assert NAME.fullmatch(table)


def test_long_names_stay_apart() -> None:
    names = ["x" * 150 + end for end in ("a", "b", "-v1")]
    tables = {table_called(name) for name in names}
    assert len(tables) == 3
    assert all(NAME.fullmatch(table) and table.startswith("x" * 54) for table in tables)


def test_a_projection_may_be_called_like_a_version() -> None:
    class StockV2(hw.Projection):
        sku: hw.Key[str]

        @hw.on(Placed, keys=lambda event, meta: [item.sku for item in event.items])
        def placed(self, event: Placed) -> None: ...

    log = make_log()
    append(log, [placed("t1", skus=["a"])])
    reading = Reading(log, StockV2)
    reading.read()
    assert list(reading.store.query("SELECT sku FROM stock_v2_")) == [("a",)]


def test_a_name_and_a_version_of_its_own() -> None:
    class Turnover(hw.Projection, name="revenue_by_day", version=3):
        day: hw.Key[date]

        @hw.on(Placed, key=lambda event, meta: meta.time.date())
        def placed(self, event: Placed) -> None: ...

    assert (table_of(Turnover).name, table_of(Turnover).version) == ("revenue_by_day", 3)
    [model] = read_models_of("shop", [Turnover])
    assert model.runner == "shop-revenue_by_day-v3"
    assert model.families == {"trade"}


def test_a_key_may_have_several_columns() -> None:
    class Daily(hw.Projection):
        total: Decimal = Decimal(0)
        day: hw.Key[date] = date.min
        shop: hw.Key[str] = ""

        @hw.on(Placed, key=lambda event, meta: (meta.time.date(), event.customer))
        def placed(self, event: Placed) -> None: ...

    assert table_of(Daily).key == ("day", "shop")
    assert row_key(Daily, (date.max, "x")) == (date.max, "x")
    with pytest.raises(Misuse, match=r"names no row of Daily: its key is \(day, shop\)"):
        row_key(Daily, date.max)


def test_an_event_has_one_row_unless_it_says_otherwise() -> None:
    with pytest.raises(Misuse, match=r"ByDay\.placed: the key of Placed \(str\) does not name a row of ByDay \(day\)"):

        class ByDay(hw.Projection):
            day: hw.Key[date]

            @hw.on(Placed)
            def placed(self, event: Placed) -> None: ...


def test_a_projection_needs_a_key() -> None:
    with pytest.raises(Misuse, match="Total has no key"):

        class Total(hw.Projection):
            total: Decimal = Decimal(0)

            @hw.on(Placed)
            def placed(self, event: Placed) -> None: ...


def test_columns_need_defaults() -> None:
    with pytest.raises(Misuse, match="total has no default"):

        class Total(hw.Projection):
            trade_id: hw.Key[str]
            total: Decimal


def test_a_projection_is_made_from_events() -> None:
    with pytest.raises(Misuse, match="Later is no event"):

        class Waiting(hw.Projection):
            trade_id: hw.Key[str]

            @hw.on(Later)
            def later(self, event: Later) -> None: ...


@pytest.mark.parametrize("message", [Note, int, None, hw.Command])
def test_only_events_and_timeouts_can_be_reacted_to(message: Any) -> None:
    with pytest.raises(Misuse, match=r"give it a class of hw\.Event or hw\.Timeout"):
        hw.on(message)


def no_event(self: Any) -> None: ...
def not_meta(self: Any, event: Any, other: int) -> None: ...
def wrong_order(self: Any, event: Any, rows: hw.Rows, meta: hw.Meta) -> None: ...
def any_number(self: Any, *events: Any) -> None: ...
def other_event(self: Any, event: Paid) -> None: ...
async def waits(self: Any, event: Placed) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_event, r"must take \(self, event\)"),
        (not_meta, r"takes \(self, event, other\); it must take"),
        (wrong_order, "it must take"),
        (any_number, "must take"),
        (other_event, "event is a Paid, not a Placed"),
        (waits, "must not be async"),
        (property(no_event), "must be a method"),
    ],
)
def test_a_method_of_another_form_is_refused(function: Any, words: str) -> None:
    with pytest.raises(Misuse, match=words):
        hw.on(Placed)(function)


def test_key_and_keys_exclude_each_other() -> None:
    with pytest.raises(Misuse, match="key= or keys=, not both"):
        hw.on(Placed, key=lambda event, meta: "", keys=lambda event, meta: [])


def test_a_family_stands_for_all_its_events() -> None:
    class Count(hw.Projection):
        trade_id: hw.Key[str]
        events: int = 0

        @hw.on(TradeEvent)
        def any(self, event: TradeEvent) -> None: ...

    [model] = read_models_of("shop", [Count])
    [topic] = model.topics
    assert topic.types == {"Placed", "Paid", "Cancelled", "Audited"}


def test_two_projections_cannot_be_one_table() -> None:
    class Other(hw.Projection, name="sold"):
        sku: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed) -> None: ...

    with pytest.raises(Misuse, match="both the table sold"):
        read_models_of("shop", [Sold, Other])


def test_a_projection_without_a_reaction_is_refused() -> None:
    class Empty(hw.Projection):
        sku: hw.Key[str]

    with pytest.raises(Misuse, match="Empty reacts to nothing"):
        read_models_of("shop", [Empty])


def test_projections_of_a_group_share_a_runner_that_changes_with_each_version() -> None:
    def make(version: int) -> type[hw.Projection]:
        class Stock(hw.Projection, group="goods", version=version):
            sku: hw.Key[str]

            @hw.on(Placed)
            def placed(self, event: Placed) -> None: ...

        return Stock

    class Goods(hw.Projection, group="goods"):
        sku: hw.Key[UUID]

    [model] = read_models_of("shop", [make(1), Goods])
    assert model.runner == "shop-goods-v1.1"
    assert [table.name for table in model.tables] == ["stock", "goods"]
    [changed] = read_models_of("shop", [make(2), Goods])
    assert changed.runner == "shop-goods-v1.2"


def test_headers_are_read_only_for_those_who_look_at_them() -> None:
    assert uses_meta(lambda event, meta: meta.time)
    assert uses_meta(lambda event, meta: [meta for _ in "ab"])
    assert uses_meta(lambda *arguments: arguments[1])
    assert uses_meta(str.partition)
    assert not uses_meta(lambda event, meta: event.customer)


def fingerprint(body: str) -> str:
    """Of a class with this body in a file of its own."""
    linecache.cache["<declared>"] = (len(body), None, body.splitlines(keepends=True), "<declared>")
    names: dict[str, Any] = {"hw": hw, "Placed": Placed, "__name__": "declared"}
    exec(compile(body, "<declared>", "exec", dont_inherit=True), names)
    return read_models_of("shop", [names["Count"]])[0].code


BODY = """
class Count(hw.Projection):
    day: hw.Key[str]
    n: int = 0

    @hw.on(Placed, key=lambda event, meta: "x")
    def placed(self, event):
        self.n += 1
"""


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("self.n += 1", "self.n += 1  # a comment", True),
        ("self.n += 1", "self.n += (\n            1)", True),
        ("self.n += 1", "self.n += 2", False),
        ('"x"', '"y"', False),
    ],
)
def test_code_is_compared_without_its_layout(before: str, after: str, same: bool) -> None:
    assert (fingerprint(BODY) == fingerprint(BODY.replace(before, after))) is same


def test_without_source_the_byte_code_is_compared() -> None:
    assert code_of([eval("lambda a: 1")]) != code_of([eval("lambda a: 2")])
