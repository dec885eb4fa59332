"""Integers of more than 64 bits, which SQLite has not, are kept exactly."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.log.port import TopicPartition
from headwater.stores.integers import to_cell, without_mark
from headwater.stores.memory import MemoryStore
from headwater.stores.port import Loading, TableSchema
from headwater.stores.typed import rows_as

P = TopicPartition("t", 0)
LARGE = [5, 2**63 - 1, 2**63, 2**64, 10**20]


class Row(msgspec.Struct):
    id: int
    n: int
    maybe: int | None = None


class Numbers(msgspec.Struct):
    n: int


TABLE = TableSchema("numbers", 1, Row, ("id",))


def store_of(*rows: Row) -> MemoryStore:
    store = MemoryStore()
    store.open_tables("r", [TABLE])
    store.apply("r", {}, {P: 1}, lambda loading: loading.save(TABLE, rows))
    return store


def ask(store: MemoryStore, sql: str, into: Any, *arguments: object) -> list[Any]:
    return list(rows_as(store.query(sql, arguments), into))


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=5), st.none() | st.integers())
def test_they_come_back_equal(numbers: list[int], maybe: int | None) -> None:
    rows = [Row(n, number, maybe) for n, number in enumerate(numbers)]
    store = store_of(*rows)
    assert store.rows(TABLE) == rows
    assert ask(store, "SELECT * FROM numbers", Row) == rows
    assert ask(store, "SELECT n FROM numbers", int) == numbers
    assert ask(store, "SELECT n FROM numbers", Numbers) == [Numbers(n) for n in numbers]
    if numbers:
        assert ask(store, "SELECT sum(n) FROM numbers", int) == [sum(numbers)]
    store.close()


@settings(deadline=None)
@given(st.lists(st.integers(min_value=-(2**63)), min_size=2, max_size=6))
def test_rows_are_sorted_by_value(numbers: list[int]) -> None:
    store = store_of(*(Row(n, number) for n, number in enumerate(numbers)))
    assert [row.n for row in store.rows(TABLE, order=["n"])] == sorted(numbers)
    assert [row.n for row in store.rows(TABLE, order=["-n"])] == sorted(numbers, reverse=True)
    store.close()


def test_they_are_found_and_compared() -> None:
    store = store_of(*(Row(id, n) for id, n in enumerate(LARGE)))
    assert [row.id for row in store.rows(TABLE, {"n": 2**64})] == [3]
    assert ask(store, "SELECT id FROM numbers WHERE n = ?", int, 2**64) == [3]
    assert ask(store, "SELECT id FROM numbers WHERE n > ?", int, 2**63 - 1) == [2, 3, 4]
    assert ask(store, "SELECT max(n COLLATE decimal) FROM numbers", int) == [10**20]
    [half] = ask(store, "SELECT n / 2 FROM numbers WHERE id = 3", float)
    assert half == pytest.approx(2**63)


def test_a_row_may_grow_out_of_64_bits_and_back() -> None:
    store = store_of(Row(1, 2**63 - 1))

    def grow(loading: Loading) -> None:
        [row] = loading.load(TABLE, [(1,)]).values()
        row.n += 1
        loading.save(TABLE, [row])

    store.apply("r", {P: 1}, {P: 2}, grow)
    assert store.rows(TABLE) == [Row(1, 2**63)]
    store.apply("r", {P: 2}, {P: 3}, lambda loading: loading.save(TABLE, [Row(1, 7)]))
    assert list(store.query("SELECT n, typeof(n) FROM numbers")) == [(7, "integer")]


def test_a_key_has_to_fit() -> None:
    with pytest.raises(Misuse, match=f"numbers version 1, column id: {2**63} does not fit in 64 bits: use a str"):
        store_of(Row(2**63, 1))


@given(st.integers())
def test_of_a_cell_the_digits_are_shown(number: int) -> None:
    assert str(without_mark(to_cell(number))) == str(number)


@pytest.mark.parametrize(
    "cell", ["n", "12n", "9223372036854775807n", "18446744073709551616", "0" * 20 + "n", None, 1.5]
)
def test_what_is_no_large_integer_is_shown_as_it_is(cell: object) -> None:
    assert without_mark(cell) is cell
