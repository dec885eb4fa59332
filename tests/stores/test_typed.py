"""Rows of a query come back as what the caller asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from headwater.errors import Misuse
from headwater.stores.memory import MemoryStore
from headwater.stores.port import TableSchema
from headwater.stores.typed import rows_as
from headwater.testing.conformance.store import EVERYTHING, KEY, P0, SAMPLES, Everything, Line


class Summary(msgspec.Struct, rename="camel"):
    order_id: str
    total: Decimal
    at: datetime | None = None
    lines: list[Line] = []
    flag: bool = False


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.open_tables("r", [EVERYTHING])
    store.apply("r", {}, {P0: 1}, lambda loading: loading.save(EVERYTHING, SAMPLES))
    return store


def ask(store: MemoryStore, sql: str, into: Any) -> list[Any]:
    return list(rows_as(store.query(sql), into))


def test_a_whole_row_is_what_was_written(store: MemoryStore) -> None:
    assert ask(store, "SELECT * FROM everything ORDER BY number", Everything) == SAMPLES


@pytest.mark.parametrize("name", ["order_id", "orderId"])
def test_columns_are_called_as_the_field_or_as_its_wire_name(store: MemoryStore, name: str) -> None:
    sql = f"SELECT shop AS {name}, amount AS total, at, lines, flag, tags FROM everything WHERE number > 0"
    at = datetime(2024, 4, 10, 8, 30, 0, 1, UTC)
    assert ask(store, sql, Summary) == [
        Summary("", Decimal("12345678901234567890.1234567890"), at, [Line("CD-1", Decimal("11.70"))], True)
    ]


def test_sums_become_decimals(store: MemoryStore) -> None:
    sql = "SELECT 'x' AS order_id, sum(d) AS total FROM (SELECT '0.10' AS d UNION ALL SELECT '0.20')"
    assert ask(store, sql, Summary) == [Summary("x", Decimal("0.3"))]


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("into", [dict, dict[str, int]])
def test_a_mapping_never_leaves_out_a_column(store: MemoryStore, into: Any, rows: int) -> None:
    asked = f"SELECT 1 AS n, 2 AS m, 3 AS n, 4 AS k FROM everything LIMIT {rows}"
    with pytest.raises(Misuse, match=r"several columns of the query are called n, .* … AS n_1"):
        ask(store, asked, into)
    assert ask(store, asked.replace("3 AS n", "3 AS n_1"), into) == [{"n": 1, "m": 2, "n_1": 3, "k": 4}][:rows]


def test_one_column_may_be_asked_for_by_its_type(store: MemoryStore) -> None:
    assert ask(store, "SELECT count(*) FROM everything", int) == [2]
    assert ask(store, "SELECT day FROM everything WHERE number < 0", type(KEY[0])) == [KEY[0]]
    assert ask(store, "SELECT 1 AS a, 'x' AS b", dict) == [{"a": 1, "b": "x"}]


def test_a_mapping_has_the_columns_names_however_many_they_are(store: MemoryStore) -> None:
    assert ask(store, "SELECT 'x' AS b", dict[str, Any]) == [{"b": "x"}]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT 'x' AS order_id", "missing required field `total`"),
        ("SELECT 'x' AS order_id, 'much' AS total", "Invalid decimal string"),
        ("SELECT 'x' AS order_id, 1 AS total, '{' AS lines", "Expected `array`"),
    ],
)
def test_a_row_that_does_not_fit_is_misuse(store: MemoryStore, sql: str, words: str) -> None:
    with pytest.raises(Misuse, match=f"a row of the query does not fit Summary: .*{words}"):
        ask(store, sql, Summary)


def test_a_table_of_another_row_class_is_read_by_its_columns(store: MemoryStore) -> None:
    other = TableSchema("everything", 1, Everything, ("day", "shop", "number", "id"))
    assert store.row(other, KEY) == SAMPLES[0]
