"""A process is told of what its code does not listen to: another version has forwarded it, before a deploy was taken
back or while both run. That is a failure of the one record, and the app goes on."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.failures.held import HeldRecord
from headwater.failures.letters import letter_id
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, TopicPartition, TopicSpec
from headwater.log.topology import Topology
from headwater.operations.deadletters import Selection
from headwater.processes.forwarding import Forwarder
from headwater.readers.spans import batches_between
from headwater.testing.waiting import eventually
from tests.logs import OpenAgain
from tests.logs import open_again as open_again
from tests.processes.test_dead_letters import (
    BUGS,
    GROUPS,
    Bill,
    Invoice,
    Order,
    OrderPlaced,
    billed,
    billing,
    desk,
    held,
    place,
    running,
)

PARTITIONS = 2
MEMORY_AND_KAFKA = ["memory", pytest.param("kafka", marks=pytest.mark.kafka)]


class CrateEvent(hw.Event, entity="crate"):
    crate_id: hw.Key[str]


class CrateSent(CrateEvent):
    total: Decimal


class CrateFound(CrateEvent):
    total: Decimal


@hw.upcasts(CrateEvent, "CrateTouched", from_version=1)
def touched(fields: dict[str, Any]) -> list[hw.Upcast]:
    return []


def with_crates(event: type[CrateSent | CrateFound] = CrateSent) -> hw.App:
    """As `APP`, whose process listens to orders only; and to crates here."""

    class Billing(hw.Process):
        order_id: hw.Key[str]
        events: int = 0

        @hw.on(OrderPlaced)
        def placed(self, event: OrderPlaced) -> Bill:
            self.events += 1
            return Bill(event.order_id, event.total)

        @hw.on(event)
        def sent(self, event: CrateSent | CrateFound) -> Bill:
            self.events += 1
            if "reaction" in BUGS:
                raise ZeroDivisionError
            return Bill(event.crate_id, event.total)

    return hw.App("billing", aggregates=[Order, Invoice], processes=[Billing], partitions=PARTITIONS)


def sent(crate: str, total: int, name: str = "CrateSent") -> NewRecord:
    value = f'{{"eventType":"{name}","eventVersion":1,"crateId":"{crate}","total":"{total}"}}'
    return NewRecord("crate-events", partition_of(crate.encode(), PARTITIONS), crate.encode(), value.encode())


def forwarded(log: Log, app: hw.App) -> None:
    """Forwards all crates, as a process of that app does that ends before it reacts to them."""
    partitions = [TopicPartition("crate-events", p) for p in range(PARTITIONS)]
    eventually(lambda: log.ends(partitions) == log.ends(partitions, committed=False), saying="all can be read")
    forwarder = Forwarder(log, Topology.read(log), app.processes[0], name="test")
    for batch in batches_between(log, log.begins(partitions), log.ends(partitions), "reading crates", SYSTEM):
        log.append([one for record in batch.records for one in forwarder.forwarded(record)])
    forwarder.close()


def worked_off(log: Log, action: Any = "retry") -> list[tuple[str, str]]:
    work = desk(log, "reaction")
    done = work.work(work.letters(Selection()), action, who="x", reason="", per_s=10, timeout_s=60)
    return [(line.step, line.message) for _, line in done]


def letters(log: Log) -> list[HeldRecord]:
    return [row for row in held(log, "reaction") if row.failed]


@pytest.fixture(autouse=True)
def no_bug() -> Iterator[None]:
    yield
    BUGS.clear()


def test_a_dead_letter_of_a_topic_that_is_listened_to_no_more_fails_again_until_it_is(open_again: OpenAgain) -> None:
    log = open_again()
    log.create_topics([TopicSpec("crate-events", PARTITIONS)])
    BUGS.add("reaction")
    with running(log, with_crates()) as shop:
        log.append([sent("c", 1)])
        eventually(lambda: len(held(log, "reaction")) == 1)
        place(shop, "c", 2)
        eventually(lambda: len(held(log, "reaction")) == 2, saying="what follows under its key waits")
    BUGS.clear()
    with running(open_again()) as shop:
        [(step, why)] = worked_off(log)
        assert (step, why) == (
            "failed again",
            "process Billing of this version does not listen to crate-events; retry it under a version that does, or "
            "discard it",
        )
        place(shop, "c", 3)
        place(shop, "a", 4)
        eventually(lambda: billed(shop, "a") == [4], saying="the others go on")
        eventually(lambda: len(held(log, "reaction")) == 3, saying="order is kept")
        assert billed(shop, "c") == []
    with running(open_again(), with_crates()) as shop:
        assert worked_off(log) == [("retried", "2 of 2 records behind it were applied")]
        eventually(lambda: billed(shop, "c") == [1, 2, 3])


@pytest.mark.parametrize("open_again", MEMORY_AND_KAFKA, indirect=True)
def test_what_was_forwarded_by_a_version_that_listens_is_set_aside_by_one_that_does_not(open_again: OpenAgain) -> None:
    log = open_again()
    log.create_topics([TopicSpec("crate-events", PARTITIONS)])
    with running(log):
        pass
    log.append([sent("b", 1), sent("c", 2)])
    forwarded(log, with_crates())
    with running(open_again()) as shop:
        eventually(lambda: len(held(log, "reaction")) == 2, saying="each is a dead letter")
        for row in letters(log):
            assert (row.stage, row.handler, row.error) == ("decode", "CrateSent", "BadData")
            assert row.message.startswith("process Billing of this version does not listen to crate-events; ")
        place(shop, "a", 3)
        place(shop, "b", 4)
        eventually(lambda: billed(shop, "a") == [3], saying="the others go on")
        eventually(lambda: len(held(log, "reaction")) == 3, saying="order is kept")
        [one] = desk(log, "reaction").letters(Selection(keys=["b"]))
        assert one.id == letter_id(GROUPS["reaction"], "billing-commands", one.row.partition, one.row.record_offset)
        [(_, line)] = desk(log, "reaction").work([one], "discard", who="x", reason="", per_s=10, timeout_s=60)
        assert line.step == "discarded"
        eventually(lambda: billed(shop, "b") == [4], saying="and what waited behind it follows")
    with running(open_again(), with_crates()) as shop:
        assert [step for step, _ in worked_off(log)] == ["retried"]
        eventually(lambda: billed(shop, "c") == [2])


@pytest.mark.parametrize("open_again", MEMORY_AND_KAFKA, indirect=True)
def test_two_versions_run_beside_each_other(open_again: OpenAgain) -> None:
    log = open_again()
    log.create_topics([TopicSpec("crate-events", PARTITIONS)])
    with running(log), running(open_again(), with_crates()) as shop:
        log.append([sent(name, 1) for name in "abcdefgh"])
        place(shop, "z", 2)
        eventually(lambda: billed(shop, "z") == [2])
        eventually(
            lambda: len(letters(log)) + sum(len(billed(shop, name)) for name in "abcdefgh") == 8,
            saying="who listens reacts, and who does not sets aside",
        )
    with running(open_again(), with_crates()) as shop:
        worked_off(log)
        eventually(lambda: all(billed(shop, name) == [1] for name in "abcdefgh"))


def test_an_event_type_of_a_topic_that_is_listened_to_is_named() -> None:
    log = MemoryLog()
    log.create_topics([TopicSpec("crate-events", PARTITIONS)])
    with running(log, with_crates()):
        log.append([sent("c", 1, "CrateFound")])
        forwarded(log, with_crates(CrateFound))
        [row] = eventually(lambda: letters(log))
    words = "process Billing of this version does not listen to CrateFound in crate-events; "
    assert (row.handler, row.message.startswith(words)) == ("CrateFound", True), row.message


def test_a_process_that_stops_there_stops_before_it() -> None:
    log = MemoryLog()
    log.create_topics([TopicSpec("crate-events", PARTITIONS)])
    app = billing(hw.stop())
    with running(log, app):
        pass
    log.append([sent("c", 1)])
    forwarded(log, with_crates())
    here, away = (
        partition_of(b"c", PARTITIONS),
        next(n for n in "abdef" if partition_of(n.encode(), 2) != partition_of(b"c", 2)),
    )
    opened = app.run(log)
    with opened as shop:
        assert opened.services is not None
        owner = opened.services.owners["billing"]
        stopped = eventually(lambda: dict(owner.failures))
        assert list(stopped) == [here]
        assert "does not listen to crate-events" in stopped[here]
        place(shop, away, 2)
        eventually(lambda: billed(shop, away) == [2], saying="the other partition goes on")
    assert held(log, "reaction") == []


@pytest.mark.parametrize("stream", ["billing", "billing|crate-events", "billing|crate-events|x", "a|b|0|1"])
def test_a_header_that_names_no_place_is_set_aside_as_well(stream: str) -> None:
    log = MemoryLog()
    with running(log) as shop:
        headers = [("ce_id", b"1"), ("hw_source", f"{stream};1;0".encode())]
        log.append([NewRecord("billing-commands", 0, b"c", b"{}", headers)])
        [row] = eventually(lambda: letters(log))
        assert row.message == f"not a forwarded event: its hw_source header names no partition: {stream!r}"
        place(shop, "a", 1)
        eventually(lambda: billed(shop, "a") == [1])


def test_what_is_read_as_nothing_by_now_is_reacted_to_by_nothing() -> None:
    log = MemoryLog()
    log.create_topics([TopicSpec("crate-events", PARTITIONS)])
    with running(log, with_crates()) as shop:
        log.append([sent("c", 1)])
        eventually(lambda: billed(shop, "c") == [1])
        old = sent("c", 2, "CrateTouched")
        headers = [("ce_id", b"2"), ("hw_source", b"billing|crate-events|0;9;0"), ("hw_key", b"c")]
        to = partition_of(b"c", PARTITIONS)
        log.append([NewRecord("billing-commands", to, b"c", old.value, headers)])
        place(shop, "c", 3)
        eventually(lambda: billed(shop, "c") == [1, 3])
    assert held(log, "reaction") == []
