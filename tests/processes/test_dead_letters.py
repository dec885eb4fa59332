"""What a process cannot react to is set aside with all that follows under its key, on every log; the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TypeVar

import pytest

import headwater as hw
from headwater.client.shop import Shop
from headwater.environment import SYSTEM, KeptTelemetry, System
from headwater.failures import FailurePolicy
from headwater.failures.held import HeldRecord
from headwater.failures.letters import deadletters_topic, read_letter
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, TopicPartition, TopicSpec
from headwater.log.topology import owners_group
from headwater.operations.deadletters import DeadLetters, Selection
from headwater.operations.deadletters_places import InLog
from headwater.readers.held_records import Looking
from headwater.testing.waiting import eventually
from tests.logs import OpenAgain, owned_by
from tests.logs import open_again as open_again

E = TypeVar("E", "OrderPlaced", "ParcelSent")
BUGS: set[str] = set()


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    total: Decimal
    customer: str = "ann"


class Order(hw.Aggregate[OrderEvent]):
    total: Decimal = Decimal(0)

    @hw.evolves
    def placed(self, event: OrderPlaced) -> None:
        self.total += event.total


class InvoiceEvent(hw.Event, entity="invoice"):
    invoice_id: hw.Key[str]


class Billed(InvoiceEvent):
    amount: Decimal


class InvoiceCommand(hw.Command, entity="invoice"):
    invoice_id: hw.Key[str]


class Bill(InvoiceCommand):
    amount: Decimal


class Invoice(hw.Aggregate[InvoiceEvent]):
    amounts: list[Decimal] = []

    @hw.decides
    def bill(self, command: Bill) -> Billed:
        return Billed(command.invoice_id, command.amount)

    @hw.evolves
    def billed(self, event: Billed) -> None:
        self.amounts.append(event.amount)


def billing(policy: FailurePolicy) -> hw.App:
    class Billing(hw.Process, on_failure=policy):
        order_id: hw.Key[str]
        events: int = 0

        @hw.on(OrderPlaced, key=lambda event, meta: unless_wrong(event).order_id)
        def placed(self, event: OrderPlaced) -> Bill:
            self.events += 1
            if event.customer.startswith("bug") and "reaction" in BUGS:
                raise ZeroDivisionError(f"at {event.total}")
            return Bill(event.order_id, event.total)

    return hw.App("billing", aggregates=[Order, Invoice], processes=[Billing], partitions=2)


def unless_wrong(event: E) -> E:
    if event.customer.startswith("bug") and "key" in BUGS:
        raise ZeroDivisionError(f"at {event.total}")
    return event


APP = billing(hw.dead_letter())
GROUPS = {"reaction": owners_group("billing"), "key": "billing"}


@contextmanager
def running(log: Log, app: hw.App = APP) -> Iterator[Shop]:
    with app.run(log) as shop:
        yield shop


def place(shop: Shop, order: str, *totals: int, customer: str = "ann") -> None:
    shop.append(Order, order, [OrderPlaced(order, Decimal(total), customer) for total in totals])


def billed(shop: Shop, order: str) -> list[int]:
    found = shop.find(Invoice, order)
    return [] if found is None else [int(amount) for amount in found.amounts]


def held(log: Log, bug: str) -> list[HeldRecord]:
    return InLog(log, GROUPS[bug], SYSTEM).held()


def desk(log: Log, bug: str) -> DeadLetters:
    return DeadLetters({bug: InLog(log, GROUPS[bug], SYSTEM)}, SYSTEM)


def published(log: Log, group: str) -> list[int | None]:
    topic = deadletters_topic(group)
    found, reader = [], log.reader()
    partitions = [TopicPartition(topic, p) for p in range(2)]
    start, ends = log.begins(partitions), log.ends(partitions, committed=False)
    reader.assign(dict(start))
    while any(start[tp] < ends[tp] for tp in partitions):
        batch = reader.read(100, 1.0)
        start.update(batch.reached)
        found += [letter.offset for record in batch.records if (letter := read_letter(record)) is not None]
    reader.close()
    return sorted(found, key=str)


@pytest.fixture(autouse=True)
def no_bug() -> Iterator[None]:
    yield
    BUGS.clear()


@pytest.fixture(params=["reaction", "key"])
def bug(request: pytest.FixtureRequest) -> str:
    """Where the bug is: in the reaction (its owner meets it), or in the key function (the forwarder)."""
    where: str = request.param
    BUGS.add(where)
    return where


@pytest.mark.parametrize("open_again", ["memory", pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_one_order_is_held_in_order_and_worked_off_over_a_restart(open_again: OpenAgain, bug: str) -> None:
    log = open_again()
    with running(log) as shop:
        place(shop, "a", 1)
        place(shop, "b", 2, customer="bug")
        place(shop, "b", 3)
        place(shop, "a", 4)
        eventually(lambda: billed(shop, "a") == [1, 4], saying="the other order goes on")
        eventually(lambda: len(held(log, bug)) == 2, saying="one failed, one waits")
        assert billed(shop, "b") == []
    letter, waiting = held(log, bug)
    assert (letter.failed, waiting.failed) == (True, False)
    assert (letter.error, letter.message, letter.attempts) == ("ZeroDivisionError", "at 2", 1)
    with running(open_again()) as shop:
        place(shop, "b", 5)
        eventually(lambda: len(held(log, bug)) == 3, saying="it is still held")
        [one] = desk(log, bug).letters(Selection())
        assert one.waiting == 2
        [(_, line)] = desk(log, bug).work([one], "retry", who="user:ann", reason="", per_s=10, timeout_s=60)
        assert (line.step, line.message) == ("failed again", "at 2")
        BUGS.clear()
        results = desk(log, bug).work([one, one], "retry", who="user:ann", reason="", per_s=10, timeout_s=60)
        assert [line.step for _, line in results] == ["retried", "nothing to do"]
        eventually(lambda: billed(shop, "b") == [2, 3, 5], saying="all in order, once")
        assert held(log, bug) == []
        place(shop, "b", 6)
        eventually(lambda: billed(shop, "b") == [2, 3, 5, 6], saying="it flows again")
    assert published(log, GROUPS[bug]) == [letter.record_offset]
    steps = [line.step for _, line in desk(log, bug).audit()]
    assert steps == ["failed again", "retried", "nothing to do"]


@pytest.mark.parametrize("open_again", ["memory"], indirect=True)
def test_one_is_discarded_and_another_is_edited(open_again: OpenAgain, bug: str) -> None:
    log = open_again()
    with running(log) as shop:
        place(shop, "a", 1, customer="bug")
        place(shop, "a", 2)
        place(shop, "b", 3, customer="bug")
        place(shop, "b", 4)
        eventually(lambda: len(held(log, bug)) == 4, saying="all are held")
        letters = {letter.row.key: letter for letter in desk(log, bug).letters(Selection())}
        value = letters[b"b"].row.value
        assert value is not None
        work = desk(log, bug).work
        [(_, discarded)] = work([letters[b"a"]], "discard", who="x", reason="a test", per_s=10, timeout_s=60)
        [(_, edited)] = work(
            [letters[b"b"]], "retry", who="x", reason="", per_s=10, timeout_s=60, value=value.replace(b"bug", b"eve")
        )
        assert (discarded.step, discarded.reason) == ("discarded", "a test")
        assert (edited.step, edited.before) == ("retried after an edit", value)
        eventually(lambda: (billed(shop, "a"), billed(shop, "b")) == ([2], [3, 4]))


@pytest.mark.parametrize("open_again", ["memory"], indirect=True)
def test_at_the_limit_the_partition_pauses_and_goes_on_when_there_is_room(open_again: OpenAgain, bug: str) -> None:
    log, telemetry = open_again(), KeptTelemetry()
    app = billing(hw.dead_letter(held_records=2))
    with app.run(log, environment=System(telemetry)) as shop:
        place(shop, "a", 1, customer="bug")
        place(shop, "a", 2, 3, 4)
        eventually(lambda: [name for name, _ in telemetry.alerts if name == "headwater_partition_paused"])
        eventually(lambda: len(held(log, bug)) == 2, saying="as much as may be")
        BUGS.clear()
        [letter] = desk(log, bug).letters(Selection())
        [(_, line)] = desk(log, bug).work([letter], "retry", who="x", reason="", per_s=10, timeout_s=60)
        assert line.step == "retried"
        eventually(lambda: billed(shop, "a") == [1, 2, 3, 4], saying="nothing is lost")
    assert not [name for name, _ in telemetry.alerts if name == "headwater_partition_paused"]


@pytest.mark.parametrize("open_again", ["memory"], indirect=True)
def test_a_process_that_stops_sets_nothing_aside(open_again: OpenAgain, bug: str) -> None:
    log = open_again()
    running = billing(hw.stop()).run(log)
    with running as shop:
        place(shop, "a", 1, customer="bug")
        assert running.services is not None
        statuses = running.services.statuses
        eventually(lambda: any(status.stopped or not status.alive for status in statuses))
    assert Looking(log, GROUPS[bug], SYSTEM).contents().held == {}


def test_bytes_that_nobody_can_read_are_a_dead_letter(open_again: OpenAgain) -> None:
    log = open_again()
    with running(log) as shop:
        place(shop, "a", 1)
        eventually(lambda: billed(shop, "a") == [1])
    log.append([NewRecord("order-events", 0, b"foreign", b"no JSON")])
    with running(open_again()):
        eventually(lambda: len(held(log, "key")) == 1, saying="it is set aside")
        [row] = held(log, "key")
        assert (row.stage, row.value, row.key) == ("decode", b"no JSON", b"foreign")


def test_each_of_two_that_share_the_partitions_hears_what_is_asked_for(bug: str) -> None:
    log = MemoryLog()
    with running(log) as shop, running(log.again()):
        eventually(lambda: owned_by(log, GROUPS[bug]) == [1, 1], saying="each has its part")
        for order in ("a", "b", "c", "d"):
            place(shop, order, 1, customer="bug")
            eventually(lambda order=order: order.encode() in {row.key for row in held(log, bug)})  # type: ignore[misc] # mypy infers no lambda with a default
        assert {row.partition for row in held(log, bug)} == {0, 1}
        BUGS.clear()
        results = desk(log, bug).work(
            desk(log, bug).letters(Selection()), "retry", who="x", reason="", per_s=10, timeout_s=60
        )
        assert [line.step for _, line in results] == ["retried"] * 4


class ParcelEvent(hw.Event, entity="parcel"):
    parcel_id: hw.Key[str]


class ParcelSent(ParcelEvent):
    total: Decimal
    customer: str


def test_a_topic_that_is_listened_to_later_may_have_more_partitions(bug: str) -> None:
    log = MemoryLog()
    log.create_topics([TopicSpec("parcel-events", 5)])
    with running(log) as shop:
        place(shop, "a", 1, customer="bug")
        eventually(lambda: len(held(log, bug)) == 1)

    class Billing(hw.Process):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced)
        def placed(self, event: OrderPlaced) -> None: ...

        @hw.on(ParcelSent, key=lambda event, meta: unless_wrong(event).parcel_id)
        def sent(self, event: ParcelSent) -> None:
            if "reaction" in BUGS:
                raise ZeroDivisionError

    sent = b'{"eventType":"ParcelSent","eventVersion":1,"parcelId":"p","total":"1","customer":"bug"}'
    log.append([NewRecord("parcel-events", 4, b"p", sent)])
    with running(log, hw.App("billing", aggregates=[Order, Invoice], processes=[Billing], partitions=2)):
        eventually(lambda: len(held(log, bug)) == 2)
        BUGS.clear()
        letters = desk(log, bug).letters(Selection())
        results = desk(log, bug).work(letters, "retry", who="x", reason="", per_s=10, timeout_s=60)
        assert [line.step for _, line in results] == ["retried", "retried"]
    assert len(published(log, GROUPS[bug])) == 2


@pytest.mark.parametrize("where", ["reaction", "key"])
def test_what_may_pass_is_tried_again_and_not_set_aside(where: str) -> None:
    log, left = MemoryLog(), {where: 2}

    def unavailable(here: str) -> None:
        if left.get(here):
            left[here] -= 1
            raise hw.Unavailable("what it asks for does not answer")

    def key_of(event: OrderPlaced, meta: hw.Meta) -> str:
        unavailable("key")
        return event.order_id

    class Billing(hw.Process):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced, key=key_of)
        def placed(self, event: OrderPlaced) -> Bill:
            unavailable("reaction")
            return Bill(event.order_id, event.total)

    with running(log, hw.App("billing", aggregates=[Order, Invoice], processes=[Billing])) as shop:
        place(shop, "a", 1, 2)
        eventually(lambda: billed(shop, "a") == [1, 2])
    assert (left, held(log, where)) == ({where: 0}, [])


def test_a_newer_version_makes_its_partition_wait_where_that_is_wanted() -> None:
    log, newer = MemoryLog(), b'{"eventType":"OrderPlaced","eventVersion":9,"orderId":"x"}'
    running = billing(hw.dead_letter(newer="stop")).run(log)
    with running as shop:
        log.append([NewRecord("order-events", 0, b"x", newer), NewRecord("order-events", 1, b"x", b"no JSON")])
        eventually(lambda: [row.value for row in held(log, "key")] == [b"no JSON"], saying="that one is set aside")
        assert running.services is not None
        statuses = running.services.statuses
        stopped = eventually(lambda: [list(one.stopped) for one in statuses if one.stopped], saying="and one waits")
        assert stopped == [[0]]
        assert shop.find(Invoice, "x") is None


@pytest.mark.parametrize("open_again", ["memory"], indirect=True)
def test_one_as_large_as_a_record_may_be_is_set_aside_and_tried_again(open_again: OpenAgain, bug: str) -> None:
    log, customer = open_again(), "bug" + 890_000 * "x"
    with running(log) as shop:
        place(shop, "a", 1, customer=customer)
        place(shop, "a", 2)
        eventually(lambda: len(held(log, bug)) == 2, saying="one failed, one waits")
    with running(open_again()) as shop:
        BUGS.clear()
        [letter] = desk(log, bug).letters(Selection())
        [(_, line)] = desk(log, bug).work([letter], "retry", who="x", reason="", per_s=10, timeout_s=60)
        assert line.step == "retried"
        eventually(lambda: billed(shop, "a") == [1, 2])
    assert held(log, bug) == []


def test_an_event_that_comes_after_later_ones_of_another_order_is_reacted_to_once() -> None:
    class PerCustomer(hw.Process):
        customer: hw.Key[str]

        @hw.on(OrderPlaced, key=lambda event, meta: unless_wrong(event) and "all")
        def placed(self, event: OrderPlaced) -> Bill:
            return Bill(event.order_id, event.total)

    app, log = hw.App("billing", aggregates=[Order, Invoice], processes=[PerCustomer], partitions=1), MemoryLog()
    desk = DeadLetters({"forward": InLog(log, "per-customer", SYSTEM)}, SYSTEM)
    BUGS.add("key")
    with running(log, app) as shop:
        place(shop, "a", 1)
        place(shop, "b", 2, customer="bug")
        place(shop, "b", 3)
        place(shop, "a", 4)
        eventually(lambda: billed(shop, "a") == [1, 4], saying="the other order goes on")
        BUGS.clear()
        [(_, line)] = desk.work(desk.letters(Selection()), "retry", who="x", reason="", per_s=10, timeout_s=60)
        assert line.step == "retried"
        eventually(lambda: billed(shop, "b") == [2, 3], saying="what was late is not taken for a repetition")
    log.reset("per-customer", log.begins([TopicPartition("order-events", 0)]))
    with running(log, app) as shop:
        place(shop, "a", 5)
        eventually(lambda: billed(shop, "a") == [1, 4, 5])
        assert billed(shop, "b") == [2, 3], "and told again it is one"


def test_a_process_that_is_told_again_what_stands_before_a_dead_letter_does_not_hold_it() -> None:
    log = MemoryLog()
    BUGS.add("key")
    with running(log) as shop:
        place(shop, "a", 1)
        place(shop, "a", 2, customer="bug")
        eventually(lambda: len(held(log, "key")) == 1)
    log.reset("billing", log.begins([TopicPartition("order-events", p) for p in range(2)]))
    with running(log) as shop:
        BUGS.clear()
        place(shop, "b", 3)
        eventually(lambda: billed(shop, "b") == [3], saying="all is told again")
        [(_, line)] = desk(log, "key").work(
            desk(log, "key").letters(Selection()), "retry", who="x", reason="", per_s=10, timeout_s=60
        )
        assert (line.step, line.message) == ("retried", "nothing waited behind it")
        eventually(lambda: billed(shop, "a") == [1, 2])
        place(shop, "a", 4)
        eventually(lambda: billed(shop, "a") == [1, 2, 4], saying="nothing is held any more")
