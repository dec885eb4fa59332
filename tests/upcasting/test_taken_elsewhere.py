"""Old events that are taken somewhere else, and dead letters that are tried again: each is read as what it is today."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import headwater as hw
from headwater.client.receipts import Receipt
from headwater.log.memory import MemoryLog
from headwater.log.port import Record, TopicPartition
from headwater.log.topology import Topology
from headwater.operations.importing_lines import Line, LineReader
from headwater.operations.replaying import ORIGIN, copy_to, lines_of, records_of
from headwater.operations.scenario_text import scenario_text
from headwater.operations.vocabulary import Vocabulary
from tests.upcasting import before, today
from tests.upcasting.today import InvoiceFiled, InvoicePaid, InvoiceSent

HAPPENED = [
    before.InvoiceSent("a", "ann", 1250),
    before.InvoiceTouched("a", "bob"),
    before.InvoiceSettled("a", 250, "s1"),
]


class Due(hw.Aggregate[today.InvoiceEvent]):
    """Nothing in it depends on how many records there were."""

    due: Decimal = Decimal(0)
    shelf: str = ""

    @hw.evolves
    def sent(self, event: InvoiceSent) -> None:
        self.due += event.amount

    @hw.evolves
    def paid(self, event: InvoicePaid) -> None:
        self.due -= event.amount

    @hw.evolves
    def filed(self, event: InvoiceFiled) -> None:
        self.shelf = event.shelf


APP = hw.App("dues", aggregates=[Due], partitions=2)


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    """With what older code wrote."""
    log = MemoryLog()
    with before.app.run(log, store="memory://") as old:
        old.append(before.Invoice, "a", HAPPENED)
    return log


@pytest.fixture(scope="module")
def shop(log: MemoryLog) -> Iterator[hw.Shop]:
    with APP.run(log, store="memory://") as shop:
        yield shop


def test_lines_of_a_file_are_todays_events_and_are_imported_once_each(shop: hw.Shop) -> None:
    lines = [line.strip() for line in lines_of(APP.behaviours[Due], shop.history(Due, "a"))]
    assert [line.partition(b',"invoiceId"')[0] for line in lines] == [
        b'{"eventType":"InvoiceSent","eventVersion":3',
        b'{"eventType":"InvoicePaid","eventVersion":2',
        b'{"eventType":"InvoiceFiled","eventVersion":1',
    ]
    with APP.run(MemoryLog(), store="memory://") as other:
        for repeated in (False, True):
            reader = LineReader(Vocabulary(APP.behaviours.values()), "a file")
            done = list(other.send_many(reader.read(Line(number, raw)) for number, raw in enumerate(lines, 1)))
            assert all(isinstance(one, Receipt) and one.duplicate is repeated for one in done), done
        copied, first = other.get(Due, "a"), shop.get(Due, "a")
        assert (copied.due, copied.shelf, copied.version) == (first.due, first.shelf, 3) == (Decimal(10), "s1", 3)


def test_a_test_is_made_of_todays_events_and_passes(shop: hw.Shop) -> None:
    text = scenario_text(APP.behaviours[Due], "a", shop.history(Due, "a"))
    assert "InvoiceSettled" not in text
    made: dict[str, Any] = {}
    exec(text, made)
    made["test_invoice_a"]()


def test_a_copy_is_as_it_was_written_and_is_read_as_what_it_is_today(log: MemoryLog, shop: hw.Shop) -> None:
    topology = Topology.read(log)
    records = records_of(log, topology, APP.behaviours[Due], "a")
    assert copy_to(log, topology, records, "copies") == 3
    copies = [one for p in (0, 1) for one in log.keyed(TopicPartition("copies", p), b"a")]
    assert [as_written(one) for one in copies] == [as_written(one) for one in records]
    read = [recorded.event for recorded in shop.history(Due, "a")]
    assert [recorded.event for recorded in APP.behaviours[Due].read(copies)] == read


def as_written(record: Record) -> tuple[Any, ...]:
    headers = [(name, value) for name, value in record.headers if name != ORIGIN]
    return record.key, record.value, headers, record.timestamp_ms
