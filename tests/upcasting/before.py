"""Invoices as they were: the code that wrote the old events."""

from __future__ import annotations

import headwater as hw


class InvoiceEvent(hw.Event, entity="invoice"):
    invoice_id: hw.Key[str]


class InvoiceSent(InvoiceEvent):
    customer: str
    amount: int  # cents, and as a number it fits the euros of today


class InvoiceTouched(InvoiceEvent):
    by: str


class InvoiceVoided(InvoiceEvent):
    why: str | None = None


class InvoiceSettled(InvoiceEvent):
    amount: int
    shelf: str


class InvoiceCommand(hw.Command, entity="invoice"):
    invoice_id: hw.Key[str]


class Invoice(hw.Aggregate[InvoiceEvent]):
    due: int = 0

    @hw.evolves
    def sent(self, event: InvoiceSent) -> None:
        self.due += event.amount


app = hw.App("invoices", aggregates=[Invoice], partitions=2)
