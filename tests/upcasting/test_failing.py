"""A function that fails on an old event is the failure policy's business, and says where it failed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.log.topology import owners_group
from headwater.operations.deadletters_places import InLog
from headwater.projections.gathering import Topic
from headwater.projections.read_model import read_models_of
from headwater.testing.waiting import eventually
from tests.projections.test_dead_letters import ask, held, letters
from tests.projections.trade import Reading
from tests.upcasting import today
from tests.upcasting.today import InvoicePaid, Paid

TOPIC = "invoice-events"
SETTLED = b'{"eventType":"InvoiceSettled","eventVersion":1,"invoiceId":"a","amount":%b,"shelf":"s"}'
PAID = b'{"eventType":"InvoicePaid","eventVersion":2,"invoiceId":"a","amount":"1"}'


def log_of(*values: bytes) -> MemoryLog:
    log = MemoryLog()
    log.create_topics([TopicSpec(TOPIC, 1)])
    log.append([NewRecord(TOPIC, 0, b"a", value) for value in values])
    return log


def test_it_is_a_dead_letter_of_the_stage_upcast_and_is_read_again_at_retry() -> None:
    reading = Reading(log_of(PAID, SETTLED % b'"no number"', PAID), Paid)
    reading.read()
    [letter, behind] = held(reading)
    assert (letter.failed, letter.stage, letter.handler, letter.error) == (
        True,
        "upcast",
        "paid_cents_to_euros",
        "InvalidOperation",
    )
    assert "upcasting InvoiceSettled from version 1" in letter.message
    assert (letter.topic, letter.partition, letter.record_offset, behind.record_offset) == (TOPIC, 0, 1, 2)
    ask(reading, letters(reading), "retry", value=SETTLED % b"250")
    assert held(reading) == []
    assert reading.store.rows(reading.model.tables[0]) == [Paid("a", Decimal("4.5"))]


def test_it_is_kept_byte_for_byte_with_fields_that_this_code_does_not_know() -> None:
    value = SETTLED % b'"no number","of a later day":{"x":1}'
    reading = Reading(log_of(value), Paid)
    reading.read()
    assert [row.value for row in held(reading)] == [value]


def test_an_entity_says_where_it_is() -> None:
    behaviour = today.app.behaviours[today.Invoice]
    log = log_of(PAID, SETTLED % b"null")
    with pytest.raises(hw.BadData) as found:
        behaviour.read(log.keyed(TopicPartition(TOPIC, 0), b"a"))
    assert (found.value.topic, found.value.partition, found.value.offset) == (TOPIC, 0, 1)
    assert "paid_cents_to_euros (from version 1): TypeError" in str(found.value)


class Cancelled(hw.Projection):
    invoice_id: hw.Key[str]

    @hw.on(today.InvoiceCancelled)
    def cancelled(self, event: today.InvoiceCancelled) -> None: ...


def test_what_nobody_listens_to_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of types that have old versions, only these may become something else."""
    [model] = read_models_of("test", [Cancelled])
    [topic] = model.topics
    assert isinstance(topic, Topic)
    assert not topic._is_wanted(PAID)
    assert not topic._is_wanted(b'{"eventType":"InvoiceFiled","eventVersion":1,"invoiceId":"a"}')
    assert topic._is_wanted(PAID.replace(b"2", b"1"))
    assert topic._is_wanted(b'{"eventType":"InvoiceVoided","invoiceId":"a"}')
    log = log_of(PAID, b'{"eventType":"InvoiceVoided","invoiceId":"a"}', PAID.replace(b"2", b"1"))
    calls = model.gather(log.keyed(TopicPartition(TOPIC, 0), b"a")).calls
    assert [event for _, event, *_ in calls] == [today.InvoiceCancelled("a", "not said")]


NEWER = PAID.replace(b'"eventVersion":2', b'"eventVersion":3')


def test_a_process_sets_it_aside_as_well() -> None:
    """What it cannot upcast holds later ones of its key back; what newer code wrote is skipped, as was asked."""

    class Counting(hw.Process, on_failure=hw.dead_letter(newer="skip")):
        invoice_id: hw.Key[str]
        paid: Decimal = Decimal(0)

        @hw.on(InvoicePaid)
        def add(self, event: InvoicePaid) -> None:
            self.paid += event.amount

    log = log_of(NEWER, PAID, SETTLED % b'"no number"', PAID)
    with hw.App("counting", processes=[Counting], partitions=1).run(log, store="memory://"):
        letters = InLog(log, "counting", SYSTEM)
        eventually(lambda: len(letters.held()) == 3)
        newer, failed, behind = letters.held()
    assert (newer.record_offset, newer.failed, newer.holds, newer.stage) == (0, True, False, "decode")
    assert (failed.record_offset, failed.stage, failed.handler) == (2, "upcast", "paid_cents_to_euros")
    assert (behind.record_offset, behind.failed) == (3, False)


class MeterEvent(hw.Event, entity="meter"):
    meter_id: hw.Key[str]


class MeterRead(MeterEvent, version=2):
    units: int


READ_BEFORE: list[str] = []


@hw.upcasts(MeterRead, from_version=1)
def whole_units(fields: dict[str, Any]) -> dict[str, Any]:
    """Reads each event once, as a function does that was changed after the event went on its way."""
    if fields["units"] in READ_BEFORE:
        raise ZeroDivisionError(fields["units"])
    READ_BEFORE.append(fields["units"])
    return fields | {"units": int(fields["units"])}


def test_it_has_its_stage_also_where_a_process_decides() -> None:
    """The event can be read on its way to the process, and not any more where its state is kept."""

    class Adding(hw.Process):
        meter_id: hw.Key[str]

        @hw.on(MeterRead)
        def add(self, event: MeterRead) -> None: ...

    log = MemoryLog()
    log.create_topics([TopicSpec("meter-events", 1)])
    log.append([NewRecord("meter-events", 0, b"m", b'{"eventType":"MeterRead","meterId":"m","units":"7"}')])
    with hw.App("adding", processes=[Adding], partitions=1).run(log, store="memory://"):
        letters = InLog(log, owners_group("adding"), SYSTEM)
        eventually(lambda: len(letters.held()) == 1)
        [failed] = letters.held()
    assert (failed.stage, failed.handler, failed.error) == ("upcast", "whole_units", "ZeroDivisionError")
