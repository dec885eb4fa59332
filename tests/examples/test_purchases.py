"""The purchases of the real file become orders; what is no purchase is named by file and line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from examples.shop.contract import PlaceOrder, RegisterCustomer
from examples.shop.purchases import (
    DATA,
    BadLine,
    Purchase,
    as_registration,
    as_sending,
    first_days,
    items_of,
    read_purchases,
)
from hypothesis import given
from hypothesis import strategies as st


def test_the_real_file_holds_what_its_note_says() -> None:
    purchases = [found for found in read_purchases(DATA) if isinstance(found, Purchase)]
    assert len(purchases) == 69_659
    assert len({purchase.customer_id for purchase in purchases}) == 23_570
    assert sum(purchase.cds for purchase in purchases) == 167_881
    assert sum(purchase.cents for purchase in purchases) == 2_500_315_63
    assert sum(purchase.cents == 0 for purchase in purchases) == 80
    assert not [found for found in read_purchases(DATA) if isinstance(found, BadLine)]


@given(cds=st.integers(1, 200), cents=st.integers(0, 200_000))
def test_the_items_of_a_purchase_add_up_to_the_cent(cds: int, cents: int) -> None:
    items = items_of(Purchase(2, "00001", date(1997, 1, 1), cds, cents))
    assert len(items) == cds
    assert sum(item.item_price for item in items) == Decimal(cents) / 100
    prices = {item.item_price for item in items}
    assert max(prices) - min(prices) <= Decimal("0.01")


def test_a_purchase_is_an_order_of_its_day_and_the_same_command_each_time() -> None:
    purchase = Purchase(7, "00002", date(1997, 1, 12), 3, 1000)
    sending = as_sending(purchase)
    assert isinstance(sending.command, PlaceOrder)
    assert sending.command.order_id == "cdnow-00007"
    assert [item.item_price for item in sending.command.items] == [Decimal("3.34"), Decimal("3.33"), Decimal("3.33")]
    assert sending.time == datetime(1997, 1, 12, tzinfo=UTC)
    assert sending == as_sending(purchase)
    assert sending.command_id != as_sending(purchase._replace(line=8)).command_id


def test_a_customer_is_registered_as_of_the_first_purchase_in_whatever_order_they_stand() -> None:
    later, first = (Purchase(line, "00002", date(1997, 1, day), 1, 100) for line, day in ((2, 12), (3, 5)))
    days = first_days([later, first, Purchase(4, "00003", date(1997, 2, 1), 1, 100)])
    assert days == {"00002": date(1997, 1, 5), "00003": date(1997, 2, 1)}
    sending = as_registration("00002", date(1997, 1, 5))
    assert sending.command == RegisterCustomer("00002", date(1997, 1, 5))
    assert sending.time == datetime(1997, 1, 5, tzinfo=UTC)
    assert sending == as_registration("00002", date(1997, 1, 5))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("00001 19970101 1", "expected customer, date, number of CDs and dollars"),
        ("00001 19970101 1 11.77 more", "expected customer"),
        ("ann 19970101 1 11.77", "expected customer"),
        ("00001 1997-01-01 1 11.77", "the date '1997-01-01' is not written as YYYYMMDD"),
        ("00001 19970230 1 11.77", "there is no date '19970230'"),
        ("00001 19970101 0 11.77", "the number of CDs is '0'"),
        ("00001 19970101 1.5 11.77", "the number of CDs is '1.5'"),
        ("00001 19970101 1 11,77", "'11,77' is no amount"),
        ("00001 19970101 1 -3.00", "'-3.00' is no amount"),
        ("00001 19970101 1 11.777", "'11.777' is no amount"),
        ("\xff\xfe", "expected customer"),
    ],
)
def test_a_line_that_is_no_purchase_is_named_and_the_next_is_read(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "some.txt"
    file.write_bytes(b" customer_id date number_of_cds dollar_value\n" + line.encode("latin-1") + b"\n")
    file.write_bytes(file.read_bytes() + b"\n 00002 19970112  1   12.00\n")
    bad, good = read_purchases(file)
    assert isinstance(bad, BadLine)
    assert str(bad).startswith(f"{file}, line 2: ")
    assert reason in bad.reason
    assert good == Purchase(4, "00002", date(1997, 1, 12), 1, 1200)


def test_an_archive_that_was_cut_short_says_where(tmp_path: Path) -> None:
    file = tmp_path / "cut.txt.gz"
    file.write_bytes(DATA.read_bytes()[:20_000])
    *before, last = read_purchases(file)
    assert isinstance(last, BadLine)
    assert last.line == len(before) + 2  # after the header and those that could be read
    assert "the archive is damaged" in last.reason
