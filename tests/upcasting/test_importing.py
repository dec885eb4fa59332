"""Lines of old events are imported as today's."""

from __future__ import annotations

from decimal import Decimal

import pytest

import headwater as hw
from headwater.client.receipts import Appending
from headwater.operations.importing_lines import Line, LineReader
from headwater.operations.vocabulary import Vocabulary
from tests.upcasting import today
from tests.upcasting.today import InvoiceCancelled, InvoiceFiled, InvoicePaid, InvoiceSent

READER = LineReader(Vocabulary(today.app.behaviours.values()), "file")
SENT = b'{"eventType":"InvoiceSent","invoiceId":"a","customer":"ann","amount":1250,"actor":"user:bob","id":"one"}'


def test_an_old_version_and_types_that_are_gone() -> None:
    sent = READER.read(Line(7, SENT))
    assert isinstance(sent, Appending)
    assert (sent.entity_id, sent.events) == ("a", [InvoiceSent("a", "ann", Decimal("12.5"), "EUR")])
    assert (sent.actor, sent.command_id) == ("user:bob", "one")
    settled = READER.read(Line(8, b'{"eventType":"InvoiceSettled","invoiceId":"b","amount":100,"shelf":"s"}'))
    assert isinstance(settled, Appending)
    assert settled.events == [InvoicePaid("b", Decimal(1)), InvoiceFiled("b", "s")]
    voided = READER.read(Line(9, b'{"eventType":"InvoiceVoided","eventVersion":1,"invoiceId":"c"}'))
    assert isinstance(voided, Appending)
    assert (voided.entity_id, voided.events) == ("c", [InvoiceCancelled("c", "not said")])


@pytest.mark.parametrize(
    ("raw", "saying"),
    [
        (b'{"eventType":"InvoiceTouched","invoiceId":"a","by":"x"}', "InvoiceTouched means nothing any more"),
        (SENT.replace(b"1250", b"null"), "upcasting InvoiceSent from version 1: cents_to_euros"),
        (SENT.replace(b'"invoiceId"', b'"eventVersion":4,"invoiceId"'), "version 4 of InvoiceSent is newer"),
    ],
)
def test_what_cannot_be_imported_is_told_and_keeps_its_place(raw: bytes, saying: str) -> None:
    with pytest.raises(hw.Misuse) as found:
        READER.read(Line(1, raw))
    assert saying in str(found.value)
    assert READER.place(Line(1, raw)) == ("invoice", "a")
