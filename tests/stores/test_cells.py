"""Whatever a row may hold comes back equal, or is refused when it is written."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.log.port import TopicPartition
from headwater.stores.memory import MemoryStore
from headwater.stores.port import LONGEST_NAME, TableSchema, bookkeeping_table
from headwater.testing.conformance.store import Colour, Everything, Line

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**63 - 1)
everything = st.builds(
    Everything,
    day=st.dates(),
    shop=texts,
    number=numbers,
    id=st.uuids(),
    flag=st.booleans(),
    ratio=st.floats(allow_nan=False),
    amount=decimals,
    at=moments,
    clock=st.times(),
    span=st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6)),
    raw=st.binary(),
    colour=st.just(Colour.RED),
    status=st.sampled_from(["new", "done"]),
    note=st.none() | texts,
    due=st.none() | moments,
    lines=st.lists(st.builds(Line, sku=texts, price=decimals), max_size=3),
    tags=st.dictionaries(texts, st.integers(-(2**53), 2**53), max_size=3),
    either=st.integers(-(2**53), 2**53) | texts,
)
TABLE = TableSchema("everything", 1, Everything, ("day", "shop", "number", "id"))
P = TopicPartition("t", 0)


@settings(deadline=None, max_examples=40)
@given(st.lists(everything, max_size=5, unique_by=lambda row: (row.day, row.shop, row.number, row.id)))
def test_rows_come_back_equal(rows: list[Everything]) -> None:
    store = MemoryStore()
    store.open_tables("r", [TABLE])
    store.apply("r", {}, {P: 1}, lambda loading: loading.save(TABLE, rows))
    found = {(row.day, row.shop, row.number, row.id): row for row in store.rows(TABLE)}
    assert found == {(row.day, row.shop, row.number, row.id): row for row in rows}
    for key, row in found.items():
        assert store.row(TABLE, key) == row
    store.close()


def write(kind: Any, value: Any) -> Any:
    """What a column of a type gives back for a value."""
    row = msgspec.defstruct("Row", [("id", int), ("value", kind)])
    schema = TableSchema("t", 1, row, ("id",))
    store = MemoryStore()
    store.open_tables("r", [schema])
    store.apply("r", {}, {P: 1}, lambda loading: loading.save(schema, [row(1, value)]))
    return store.rows(schema)[0].value  # type: ignore[attr-defined] # a field made above


@settings(deadline=None)
@given(st.lists(moments, min_size=2, max_size=6))
def test_texts_of_times_sort_as_the_times(times: list[datetime]) -> None:
    row = msgspec.defstruct("Row", [("id", int), ("at", datetime)])
    schema = TableSchema("t", 1, row, ("id",))
    store = MemoryStore()
    store.open_tables("r", [schema])
    store.apply("r", {}, {P: 1}, lambda loading: loading.save(schema, [row(*pair) for pair in enumerate(times)]))
    assert [r.at for r in store.rows(schema, order=["at"])] == sorted(times)  # type: ignore[attr-defined] # as above
    store.close()


def test_a_float_that_is_no_number_comes_back_as_one() -> None:
    assert math.isnan(write(float, math.nan))
    assert write(float, math.inf) == math.inf


class Level(IntEnum):
    LOW = 1


def test_enumerations_and_literals_keep_their_class() -> None:
    assert write(Level, Level.LOW) is Level.LOW
    assert write(Literal[1, 2], 2) == 2


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param(int, 10**5000, id="an integer of 5001 digits"),
        pytest.param(float, 10**400, id="a float of 401 digits"),
        (int, True),
        (int, Decimal(1)),
        (int, None),
        (float, Decimal(1)),
        (str, 1),
        (str, b"x"),
        (str, "\ud800"),
        (date, datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime, date(2024, 1, 1)),
        (datetime, datetime(2024, 1, 1)),
        (time, "10:00"),
        (UUID, "7"),
        (Level, 1),
        (Literal["a", "b"], "c"),
        (list[int], ["x"]),
        (list[int], None),
        (Line, Line("x", "dear")),  # type: ignore[arg-type] # it is the mistake
    ],
)
def test_what_could_not_be_read_back_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(Misuse, match="t version 1, column value"):
        write(kind, value)


@pytest.mark.parametrize("kind", [float, Decimal, list[str], str | None, bytes])
def test_what_cannot_be_a_key_is_refused_when_the_table_is_opened(kind: Any) -> None:
    row = msgspec.defstruct("Row", [("id", kind)])
    with pytest.raises(Misuse, match="id cannot be in the key"):
        MemoryStore().open_tables("r", [TableSchema("t", 1, row, ("id",))])


@pytest.mark.parametrize("name", ["Order", "hw_x", "hw_positions", "a-b", "1a", "", "sqlite_x", "orders_v2"])
def test_what_cannot_be_a_table_is_refused(name: str) -> None:
    with pytest.raises(Misuse, match="cannot be a table"):
        TableSchema(name, 1, Everything, ("id",))


def test_what_runners_remember_has_tables_of_different_names() -> None:
    runners = ["shop-revenue-v1", "shop_revenue-v1", "shop-Revenue-v1", "s" * 80, "s" * 81, "Łódź"]
    tables = [bookkeeping_table(kind, runner, Everything, ("id",)) for kind in ("held", "seen") for runner in runners]
    assert len({table.name for table in tables}) == len(tables)
    assert tables[0].name.startswith("hw_held_shop_revenue_v1_")
    assert max(len(table.name) for table in tables) <= LONGEST_NAME
