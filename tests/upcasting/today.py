"""Invoices as they are today: the same contract three versions later."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import headwater as hw


class InvoiceEvent(hw.Event, entity="invoice"):
    invoice_id: hw.Key[str]


class InvoiceSent(InvoiceEvent, version=3):
    customer: str
    amount: Decimal
    currency: str


class InvoiceCancelled(InvoiceEvent):
    reason: str


class InvoicePaid(InvoiceEvent, version=2):
    amount: Decimal


class InvoiceFiled(InvoiceEvent):
    shelf: str


@hw.upcasts(InvoiceSent, from_version=1)
def cents_to_euros(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"amount": Decimal(fields["amount"]) / 100}


@hw.upcasts(InvoiceSent, from_version=2)
def all_were_in_euros(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"currency": "EUR"}


@hw.upcasts(InvoicePaid, from_version=1)
def paid_cents_to_euros(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"amount": Decimal(fields["amount"]) / 100}


@hw.upcasts(InvoiceEvent, "InvoiceVoided", from_version=1)
def voided(fields: dict[str, Any]) -> hw.Upcast:
    return hw.Upcast(InvoiceCancelled, 1, fields | {"reason": fields.get("why") or "not said"})


@hw.upcasts(InvoiceEvent, "InvoiceSettled", from_version=1)
def settled(fields: dict[str, Any]) -> list[hw.Upcast]:
    return [hw.Upcast(InvoicePaid, 1, fields), hw.Upcast("InvoiceFiled", 1, fields)]


@hw.upcasts(InvoiceEvent, "InvoiceTouched", from_version=1)
def touched(fields: dict[str, Any]) -> list[hw.Upcast]:
    return []


class InvoiceCommand(hw.Command, entity="invoice"):
    invoice_id: hw.Key[str]


class CancelInvoice(InvoiceCommand):
    reason: str


class Invoice(hw.Aggregate[InvoiceEvent], version=2):
    due: Decimal = Decimal(0)
    shelf: str = ""
    seen: list[str] = []

    @hw.decides
    def cancel(self, command: CancelInvoice) -> InvoiceCancelled:
        return InvoiceCancelled(command.invoice_id, command.reason)

    @hw.evolves
    def sent(self, event: InvoiceSent) -> None:
        self.due += event.amount

    @hw.evolves
    def cancelled(self, event: InvoiceCancelled) -> None:
        self.due = Decimal(0)

    @hw.evolves
    def paid(self, event: InvoicePaid, meta: hw.Meta) -> None:
        self.due -= event.amount
        self.seen.append(f"{meta.type} {meta.version}.{meta.part}")

    @hw.evolves
    def filed(self, event: InvoiceFiled, meta: hw.Meta) -> None:
        self.shelf = event.shelf
        self.seen.append(f"{meta.type} {meta.version}.{meta.part}")


class Paid(hw.Projection):
    """Listens to a type that only comes out of an old one."""

    invoice_id: hw.Key[str]
    amount: Decimal = Decimal(0)

    @hw.on(InvoicePaid)
    def paid(self, event: InvoicePaid) -> None:
        self.amount += event.amount


class Sums(hw.Projection):
    """All invoices of a currency, and what happened to them in order."""

    currency: hw.Key[str]
    sent: Decimal = Decimal(0)
    words: list[str] = []

    @hw.on(InvoiceSent, key=lambda event, meta: event.currency)
    def add(self, event: InvoiceSent) -> None:
        self.sent += event.amount

    @hw.on(InvoicePaid, key=lambda event, meta: "EUR")
    @hw.on(InvoiceFiled, key=lambda event, meta: "EUR")
    def note(self, event: InvoiceEvent, meta: hw.Meta) -> None:
        self.words.append(f"{meta.type} {meta.version}.{meta.part}")


class ShelfEvent(hw.Event, entity="shelf"):
    shelf: hw.Key[str]


class Filled(ShelfEvent):
    what: str


class ShelfCommand(hw.Command, entity="shelf"):
    shelf: hw.Key[str]


class Fill(ShelfCommand):
    what: str


class Shelf(hw.Aggregate[ShelfEvent]):
    content: list[str] = []

    @hw.decides
    def fill(self, command: Fill) -> Filled:
        return Filled(command.shelf, command.what)

    @hw.evolves
    def filled(self, event: Filled) -> None:
        self.content.append(event.what)


class Filing(hw.Process):
    """The parts of one old event go to different runs of it: paid ones by invoice, filed ones by shelf."""

    id: hw.Key[str]

    @hw.on(InvoicePaid)
    def paid(self, event: InvoicePaid) -> Fill:
        return Fill("all", f"paid {event.invoice_id}")

    @hw.on(InvoiceFiled, key=lambda event, meta: event.shelf)
    def filed(self, event: InvoiceFiled) -> list[hw.Command]:
        return [Fill("all", f"filed {event.invoice_id}"), Fill(event.shelf, event.invoice_id)]


app = hw.App("invoices", aggregates=[Invoice, Shelf], projections=[Paid, Sums], processes=[Filing], partitions=2)
