"""One command, one entity or one caller cannot harm another: not by its objects, its sizes, or its failures."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, TopicPartition
from headwater.owners.arriving import Arrived
from headwater.owners.deciding import Decider
from headwater.owners.envelopes import Moment
from headwater.owners.state_record import StateRecord, decode_value
from tests.bank import Account, Deposit, Open
from tests.logs import EMBEDDED

bank_app = hw.App("bank", aggregates=[Account], partitions=1)
ONE = Decimal(1)


class CartEvent(hw.Event, entity="cart"):
    cart_id: hw.Key[str]


class Added(CartEvent):
    items: list[str]


class CheckedOut(CartEvent):
    items: list[str]


class CartCommand(hw.Command, entity="cart"):
    cart_id: hw.Key[str]


class Add(CartCommand):
    items: list[str]


class CheckOut(CartCommand):
    pass


class Fail(CartCommand):
    characters: int


class Cart(hw.Aggregate[CartEvent]):
    items: list[str] = []

    @hw.decides
    def add(self, command: Add) -> Added:
        return Added(command.cart_id, command.items)

    @hw.decides
    def check_out(self, command: CheckOut) -> CheckedOut:
        return CheckedOut(command.cart_id, self.items)

    @hw.decides
    def fail(self, command: Fail) -> None:
        raise ValueError("x" * command.characters)

    @hw.evolves
    def added(self, event: Added) -> None:
        if self.items:
            self.items += event.items
        else:
            self.items = event.items

    @hw.evolves
    def checked_out(self, event: CheckedOut) -> None:
        self.items.clear()


app = hw.App("carts", aggregates=[Cart], partitions=1)


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_an_event_is_what_was_decided_whatever_folding_does_to_its_lists(log: Log) -> None:
    with app.run(log, only=["commands"]) as carts:
        carts.send(Add("1", ["apple", "pear"]))
        carts.send(CheckOut("1"))
        assert carts.history(Cart, "1")[-1].event == CheckedOut("1", ["apple", "pear"])
        assert carts.get(Cart, "1").items == []


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_a_state_has_nothing_in_common_with_the_callers_objects_or_other_entities(log: Log) -> None:
    mine = ["apple"]
    with app.run(log, only=["commands"]) as carts:
        carts.send(Add("1", mine))
        carts.send(Add("2", mine))
        carts.send(Add("1", ["pear"]))
        mine.append("plum")
        carts.append(Cart, "2", [Added("2", ["fig"])])
        assert mine == ["apple", "plum"]
        for cart, items in (("1", ["apple", "pear"]), ("2", ["apple", "fig"])):
            assert carts.get(Cart, cart).items == items
            assert carts.get(Cart, cart, at_version=2).items == items


def test_a_second_attempt_begins_with_the_commands_as_they_came() -> None:
    maker = Decider(app.behaviours[Cart], "carts", lambda: "an id", None)
    work = [
        Arrived("add", b"1", b'{"commandType":"Add","cartId":"1","items":["apple"]}', 0),
        Arrived("check out", b"1", b'{"commandType":"CheckOut","cartId":"1"}', 0),
    ]

    def events() -> list[bytes]:
        entry, now = maker.new_entry("1"), Moment.of(datetime(2024, 4, 10, tzinfo=UTC))
        return [event.value for one in work for event in maker.carry_out(entry, one, now).events]

    maker.read(work)
    first = events()
    assert len(first) == 2
    assert b"apple" in first[1]
    assert events() == first
    maker.read(work)
    assert events() == first


@pytest.mark.parametrize("direct", [True, False])
def test_a_failure_with_a_long_text_is_its_own_commands(direct: bool) -> None:
    log = MemoryLog()
    with app.run(log, only=["commands"]) as owner, app.connect(log) as client:
        carts = owner if direct else client
        with pytest.raises(hw.Failed, match="ValueError: xxx") as failed:
            carts.send(Fail("1", 1_200_000))
        assert len(str(failed.value)) < 3_000
        assert carts.send(Add("2", ["apple"])).version == 1


def foreign(value: bytes, headers: list[tuple[str, bytes]] | None = None) -> NewRecord:
    return NewRecord("account-events", 0, b"mallory", value, headers or [])


SCHEMA = bank_app.behaviours[Account].schema.encode()
DEPOSITED = b'{"eventType":"Deposited","eventVersion":1,"accountId":"mallory","amount":"%s"}'


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (foreign(DEPOSITED % b"-1"), "negative deposits cannot be folded"),
        (foreign(DEPOSITED % b"1", [("hw_commit", b"garbage")]), "reading its state and events failed on account"),
        (
            NewRecord("account-state", 0, b"mallory", b'{"version":1,"events":1,"commands":0,"schema":"%s"}' % SCHEMA),
            "reading its state and events failed on account",
        ),
    ],
    ids=["folding raises", "half a header", "half a state"],
)
def test_an_entity_that_cannot_be_loaded_stops_its_partition_and_says_so(record: NewRecord, words: str) -> None:
    log = MemoryLog()
    with bank_app.run(log, only=["commands"]):
        pass
    log.append([record])

    async def use() -> None:
        running = bank_app.run(log, only=["commands"])
        async with running as bank:
            assert (await bank.send(Open("ann", "ann"))).version == 1
            for account in ("mallory", "ann"):
                with pytest.raises(hw.Unavailable, match=words):
                    await bank.send(Deposit(account, ONE), timeout_s=60)
            assert running.services is not None
            assert words in running.services.owners["account"].failures[0]

    asyncio.run(use())


def test_a_state_record_says_where_the_next_owner_begins_to_read() -> None:
    log = MemoryLog()
    with bank_app.run(log, only=["commands"]) as bank:
        for _ in range(3):
            bank.send(Deposit("ann", ONE))
    reader = log.reader()
    reader.assign({TopicPartition("account-state", 0): 0})
    found: list[StateRecord] = [decode_value(record.value or b"") for record in reader.read(10, 0).records]
    assert [(one.events, one.folded, one.begun) for one in found] == [(3, 2, 0)]
