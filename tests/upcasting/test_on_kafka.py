"""Old events on Kafka, written by the code of then and read by today's: states, history, read models, a process."""

from __future__ import annotations

from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.log.opening import open_log
from headwater.log.port import TopicPartition
from headwater.messages import Dropped
from headwater.testing import PrefixedLog, eventually
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from tests.upcasting import before, today
from tests.upcasting.today import Invoice, InvoiceCancelled, InvoiceFiled, InvoicePaid, InvoiceSent


@pytest.mark.kafka
def test_todays_code_goes_on_with_what_older_code_left(kafka_broker: str, tmp_path: Path) -> None:
    prefix = fresh("") + "-"
    with ExitStack() as opened:
        opened.callback(forget_on_kafka, kafka_broker, prefix)
        url = f"{kafka_broker}?index_directory={tmp_path / 'index'}"
        log = PrefixedLog(opened.enter_context(closing(open_log(url))), prefix)
        with before.app.run(log, only=["commands"]) as old:
            old.append(
                before.Invoice,
                "a",
                [
                    before.InvoiceSent("a", "ann", 1250),
                    before.InvoiceTouched("a", "bob"),
                    before.InvoiceSettled("a", 250, "s1"),
                ],
            )
        [written] = [p for p in (0, 1) if log.ends([TopicPartition("invoice-events", p)]).popitem()[1]]
        records = list(log.keyed(TopicPartition("invoice-events", written), b"a"))

        with today.app.run(log, store="memory://") as shop:
            state = shop.get(Invoice, "a")
            assert (state.version, state.due, state.shelf) == (3, Decimal("10"), "s1")
            assert shop.send(today.CancelInvoice("a", "late"), expected_version=3).version == 4
            assert [one.event for one in shop.history(Invoice, "a")] == [
                InvoiceSent("a", "ann", Decimal("12.50"), "EUR"),
                Dropped("InvoiceTouched", 1),
                InvoicePaid("a", Decimal("2.50")),
                InvoiceFiled("a", "s1"),
                InvoiceCancelled("a", "late"),
            ]
            eventually(lambda: shop.row(today.Paid, "a") == today.Paid("a", Decimal("2.50")))
            eventually(lambda: len(shelf.content) == 2 if (shelf := shop.find(today.Shelf, "all")) else False)
            assert sorted(shop.get(today.Shelf, "all").content) == ["filed a", "paid a"]
        after = list(log.keyed(TopicPartition("invoice-events", written), b"a"))
        assert [(one.offset, one.value, one.headers) for one in after[:3]] == [
            (one.offset, one.value, one.headers) for one in records
        ]
