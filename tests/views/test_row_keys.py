"""Tables of others: the key of a record and the field that says the same."""

from __future__ import annotations

from contextlib import closing

import pytest

from headwater.log.port import StoredRecord
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.feeding import Fed
from tests.views.orders import OrderEvent


def fed(columns: str, select: str, *records: tuple[bytes, bytes | None]) -> tuple[list[tuple[object, ...]], list[str]]:
    """Rows of a view over such a table, and why some records are dead letters."""
    statements = (
        f"CREATE TABLE prices ({columns}) WITH (topic = 'sap-prices'); CREATE VIEW v AS SELECT {select} FROM prices"
    )
    (view,) = plan_views([Text(statements)], catalogue_of([OrderEvent], []))
    with closing(Fed(view)) as fed:
        fed.feed([StoredRecord("sap-prices", 0, i, key, value, (), 0) for i, (key, value) in enumerate(records)])
        return sorted(fed.rows(), key=repr), sorted(fed.dead().values())


@pytest.mark.parametrize("key", [b"a", b'"a"', b'{"sku":"a","more":1}'], ids=["text", "JSON", "an object"])
def test_what_the_value_does_not_say_the_key_says(key: bytes) -> None:
    rows, dead = fed(
        "sku VARCHAR PRIMARY KEY, price BIGINT", "sku, price", (key, b'{"price":1}'), (key, b'{"price":2}')
    )
    assert (rows, dead) == ([("a", 2)], [])


def test_a_value_that_says_another_key_is_a_dead_letter() -> None:
    rows, dead = fed(
        "sku VARCHAR PRIMARY KEY, price BIGINT", "sku, price", (b"a", b'{"sku":"b","price":1}'), (b"c", b'{"sku":"c"}')
    )
    assert rows == [("c", None)]
    assert len(dead) == 1
    assert "sku is b, and the record's key says a" in dead[0]


@pytest.mark.parametrize("key", [b"7", b"\x00\x00\x00\x00\x00\x00\x00\x07"], ids=["text", "eight bytes"])
def test_a_number_may_be_the_key(key: bytes) -> None:
    value = b'{"id":7,"price":1}'
    assert fed("id BIGINT PRIMARY KEY, price BIGINT", "id, price", (key, value)) == ([(7, 1)], [])


def test_a_record_that_says_nowhere_whose_row_it_is_is_a_dead_letter() -> None:
    rows, dead = fed("id BIGINT PRIMARY KEY, price BIGINT", "id, price", (b"\x00\x01", b'{"price":1}'))
    assert rows == []
    assert "it has no id, which tells whose row it is" in dead[0]


def test_a_key_of_several_fields_is_an_object() -> None:
    columns = "shop VARCHAR PRIMARY KEY, sku BIGINT PRIMARY KEY, price BIGINT"
    rows, dead = fed(columns, "shop, sku, price", (b'{"shop":"x","sku":7}', b'{"price":1}'), (b"x-7", b'{"shop":"x"}'))
    assert rows == [("x", 7, 1)]
    assert "it has no sku" in dead[0]


def test_a_tombstone_needs_no_value() -> None:
    assert fed("sku VARCHAR PRIMARY KEY", "sku", (b"a", b"{}"), (b"b", b"{}"), (b"a", None)) == ([("b",)], [])
