"""Indexes that a table declares are made, changed and dropped without a new version, and go with the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import psycopg
import pytest

import headwater as hw
from headwater.errors import Misuse
from headwater.log.port import TopicPartition
from headwater.projections.declare import table_of
from headwater.stores.indexes import Index
from headwater.stores.opening import open_store
from headwater.stores.port import TableSchema
from headwater.stores.switching import Switch, SwitchingStore, beside
from tests.orders import OrderPlaced

P0 = TopicPartition("order-events", 0)

Indexed = Callable[[str], list[str]]
"""From the name of a version's table to the columns of our indexes on it."""


class Sale(msgspec.Struct):
    id: str
    shop: str = ""
    total: Decimal = Decimal(0)


def table(*indexes: Index) -> TableSchema[Sale]:
    return TableSchema("sale", 1, Sale, ("id",), indexes)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/views.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(url: str) -> Iterator[SwitchingStore]:
    with closing(open_store(url)) as store:
        assert isinstance(store, SwitchingStore)
        yield store


@pytest.fixture
def indexed(url: str) -> Indexed:
    def in_sqlite(table: str) -> list[str]:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            sql = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND name LIKE 'hw%'"
            return sorted(text.partition("(")[2].rstrip(")") for (text,) in file.execute(sql, [table]))

    def in_postgres(table: str) -> list[str]:
        with psycopg.connect(url) as connection:
            mine = "schemaname = current_schema() AND tablename = %s"  # the server has tables of other tests
            sql = f"SELECT indexdef FROM pg_indexes WHERE {mine} AND indexname LIKE 'hw_ix%%'"
            rows = connection.execute(sql, [table]).fetchall()
            return sorted(
                ", ".join(f'"{one}"' for one in text.partition("(")[2].rstrip(")").split(", ")) for (text,) in rows
            )

    return in_sqlite if url.startswith("sqlite") else in_postgres


def test_what_is_declared_is_made_and_what_is_not_is_dropped(store: SwitchingStore, indexed: Indexed) -> None:
    store.open_tables("r", [table(("shop",), ("shop", "total"))])
    store.open_tables("r", [table(("shop",), ("shop", "total"))])
    assert indexed("sale_v1") == ['"shop"', '"shop", "total"']
    store.apply("r", {}, {P0: 1}, lambda loading: loading.save(table(), [Sale("a", "x", Decimal(2)), Sale("b", "y")]))
    store.open_tables("r", [table(("total",), ("shop",))])
    assert indexed("sale_v1") == ['"shop"', '"total"']
    assert store.rows(table(), {"shop": "x"}) == [Sale("a", "x", Decimal(2))]
    store.open_tables("r", [table()])
    assert indexed("sale_v1") == []


def test_an_index_goes_with_the_rows_that_are_exchanged(store: SwitchingStore, indexed: Indexed) -> None:
    now = table(("shop",))
    store.open_tables("r", [now])
    store.open_tables("other", [beside(now)])
    store.switch(Switch("r", "other", [(now, beside(now))], {"sale": 1}, frozenset()), lambda loading: None)
    store.open_tables("r", [now])
    assert indexed("sale_v1") == ['"shop"']
    store.forget("other")
    store.open_tables("other", [beside(now)])
    assert indexed("sale_v1") == indexed(f"{beside(now).name}_v1") == ['"shop"']


def test_an_index_that_a_database_made_itself_is_left_alone(store: SwitchingStore, url: str) -> None:
    store.open_tables("r", [table()])
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.execute("CREATE INDEX mine ON sale_v1 (shop)")
    else:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE INDEX mine ON sale_v1 (shop)")
    store.open_tables("r", [table()])
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.execute("DROP INDEX mine")
    else:
        with psycopg.connect(url) as connection:
            connection.execute("DROP INDEX mine")


def test_sqlite_finds_rows_by_a_declared_index(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path}/views.db")) as store:
        store.open_tables("r", [table(("shop",))])
    with closing(sqlite3.connect(tmp_path / "views.db")) as file:
        [plan] = file.execute("EXPLAIN QUERY PLAN SELECT id FROM sale_v1 WHERE shop IS ?", ["x"]).fetchall()
    assert "INDEX hw_ix_" in plan[-1]


@pytest.mark.parametrize(
    ("indexes", "words"),
    [
        ([("colour",)], "no column 'colour' for an index: it has id, shop, total"),
        ([("shop",), ("shop",)], "twice"),
        ([()], "for an index"),
    ],
)
def test_an_index_that_cannot_be_is_refused(indexes: list[Index], words: str) -> None:
    with pytest.raises(Misuse, match=words):
        table(*indexes)


def test_a_projection_declares_indexes() -> None:
    class Sales(hw.Projection, indexes=["shop", ("shop", "total")]):
        id: hw.Key[str]
        shop: str = ""
        total: Decimal = Decimal(0)

        @hw.on(OrderPlaced)
        def placed(self, event: OrderPlaced) -> None:
            self.total = event.total

    assert table_of(Sales).indexes == (("shop",), ("shop", "total"))
