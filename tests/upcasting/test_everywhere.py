"""What older code wrote is read by today's wherever events are read: entities, read models, processes, copies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.messages import Dropped
from headwater.testing.waiting import eventually
from tests.upcasting import before, today
from tests.upcasting.today import Invoice, InvoiceCancelled, InvoiceFiled, InvoicePaid, InvoiceSent

HAPPENED = [
    before.InvoiceSent("a", "ann", 1250),
    before.InvoiceTouched("a", "bob"),
    before.InvoiceSettled("a", 250, "s1"),
]


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture(scope="module")
def shop(log: MemoryLog) -> Iterator[hw.Shop]:
    """Today's code on a log of older code."""
    with before.app.run(log, store="memory://") as old:
        for event in HAPPENED:
            old.append(before.Invoice, "a", [event])
        old.append(before.Invoice, "b", [before.InvoiceSent("b", "bob", 4200), before.InvoiceVoided("b")])
    with today.app.run(log, store="memory://") as shop:
        yield shop


def test_states_are_folded_from_old_events(shop: hw.Shop) -> None:
    state = shop.get(Invoice, "a")
    assert (state.due, state.shelf, state.version) == (Decimal("10"), "s1", 3)
    assert shop.get(Invoice, "b").due == 0


def test_a_record_is_one_version_whatever_it_is_read_as(shop: hw.Shop) -> None:
    state = shop.get(Invoice, "a")
    assert state.seen == ["InvoicePaid 3.0", "InvoiceFiled 3.1"]
    versions = [(one.meta.version, one.meta.part, one.meta.type) for one in shop.history(Invoice, "a")]
    assert versions == [
        (1, 0, "InvoiceSent"),
        (2, 0, "InvoiceTouched"),
        (3, 0, "InvoicePaid"),
        (3, 1, "InvoiceFiled"),
    ]
    assert len({(one.meta.id, one.meta.offset) for one in shop.history(Invoice, "a")}) == 3


def test_history_has_the_events_of_today(shop: hw.Shop) -> None:
    sent, dropped, paid, filed = (one.event for one in shop.history(Invoice, "a"))
    assert sent == InvoiceSent("a", "ann", Decimal("12.50"), "EUR")
    assert (paid, filed) == (InvoicePaid("a", Decimal("2.50")), InvoiceFiled("a", "s1"))
    assert dropped == Dropped("InvoiceTouched", 1)  # type: ignore[comparison-overlap] # of no family
    assert shop.history(Invoice, "b")[1].event == InvoiceCancelled("b", "not said")


def test_the_past_is_read_as_well(shop: hw.Shop) -> None:
    assert shop.get(Invoice, "a", at_version=2).due == Decimal("12.50")
    now = datetime.now(UTC)
    assert shop.get(Invoice, "a", as_of=now) == shop.get(Invoice, "a", known_at=now) == shop.get(Invoice, "a")
    assert shop.replay(Invoice)["a"] == shop.get(Invoice, "a")


def test_read_models_hear_of_old_events(shop: hw.Shop) -> None:
    eventually(lambda: not any(shop.lag().values()))
    row = shop.row(today.Paid, "a")
    assert row is not None
    assert row.amount == Decimal("2.5")
    sums = shop.row(today.Sums, "EUR")
    assert sums is not None
    assert (sums.sent, sums.words) == (Decimal("54.5"), ["InvoicePaid 3.0", "InvoiceFiled 3.1"])
    assert {row.id: (row.version, row.due) for row in shop.rows(Invoice)} == {
        "a": (3, Decimal(10)),
        "b": (2, Decimal(0)),
    }


def test_processes_react_to_each_part_under_its_own_key(shop: hw.Shop) -> None:
    def content(shelf: str) -> list[str]:
        found = shop.find(today.Shelf, shelf)
        return [] if found is None else sorted(found.content)

    eventually(lambda: content("all") == ["filed a", "paid a"] and content("s1") == ["a"])


def test_versions_go_on_where_they_were(shop: hw.Shop) -> None:
    shop.append(Invoice, "c", [InvoiceSent("c", "cid", Decimal(1), "EUR")])
    receipt = shop.send(today.CancelInvoice("b", "late"), expected_version=2)
    assert receipt.version == 3
    assert shop.revert(Invoice, "a", to_version=1).version == 4
    assert shop.get(Invoice, "a").due == Decimal("12.50")


def test_what_an_older_process_appends_is_written_as_todays(log: MemoryLog, shop: hw.Shop) -> None:
    with before.app.connect(log, store="memory://") as old:
        old.append(before.Invoice, "d", [before.InvoiceSent("d", "dan", 100), before.InvoiceSettled("d", 100, "s2")])
    records = [one for p in (0, 1) for one in log.keyed(TopicPartition("invoice-events", p), b"d")]
    assert [dict(record.headers)["ce_type"] for record in records] == [b"InvoiceSent", b"InvoicePaid", b"InvoiceFiled"]
    assert (shop.get(Invoice, "d").version, shop.get(Invoice, "d").due) == (3, Decimal(0))


def test_records_of_others_count_as_versions_each(tmp_path: Path) -> None:
    """Without headers, so that versions are counted; read back from the log by an owner who has no state of them."""
    log = MemoryLog()
    log.create_topics([TopicSpec("invoice-events", 2)])
    home = partition_of(b"x", 2)
    values = [
        b'{"eventType":"InvoiceSettled","invoiceId":"x","amount":100,"shelf":"s"}',
        b'{"eventType":"InvoiceTouched","invoiceId":"x","by":"ann"}',
        b'{"eventType":"InvoiceSent","eventVersion":2,"invoiceId":"x","customer":"ann","amount":"5"}',
    ]
    log.append([NewRecord("invoice-events", home, b"x", value) for value in values])
    with today.app.run(log, store=f"sqlite:///{tmp_path}/rows.db") as shop:
        state = shop.get(Invoice, "x")
        assert (state.version, state.due, state.seen) == (3, Decimal(4), ["InvoicePaid 1.0", "InvoiceFiled 1.1"])
        assert shop.replay(Invoice)["x"] == state
        assert shop.send(today.CancelInvoice("x", "late"), expected_version=3).version == 4
        eventually(lambda: not any(shop.lag().values()))
        assert [(row.version, row.seen) for row in shop.rows(Invoice)] == [(4, state.seen)]
        assert [one.meta.version for one in shop.history(Invoice, "x")] == [1, 1, 2, 3, 4]


def test_views_are_of_todays_events(tmp_path: Path) -> None:
    log = MemoryLog()
    with before.app.run(log, store="memory://") as old:
        old.append(before.Invoice, "a", HAPPENED)
        bobs = old.append(before.Invoice, "b", [before.InvoiceSent("b", "bob", 4200), before.InvoiceVoided("b")])
    (tmp_path / "totals.sql").write_text(
        "CREATE TABLE totals AS SELECT invoiceId, SUM(amount) AS total, COUNT(shelf) AS filed\n"
        "FROM invoice-events GROUP BY invoiceId;"
    )
    app = hw.App("invoices", aggregates=[Invoice], views=str(tmp_path / "*.sql"), partitions=2)
    with app.run(log, store=f"sqlite:///{tmp_path}/rows.db") as shop:
        receipt = shop.send(today.CancelInvoice("a", "late"))
        rows = shop.query("SELECT * FROM totals ORDER BY invoiceId", into=Totals, after=[bobs, receipt])
    assert rows == [Totals("a", Decimal("15.00"), 1), Totals("b", Decimal("42.00"), 0)]


class Totals(hw.Value):
    invoice_id: str
    total: Decimal
    filed: int
