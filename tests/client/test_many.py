"""Many commands at once: their order, how many are under way, and what a slow or faulty iterable does to them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.testing import eventually
from tests.bank import Account, Deposit, Deposited, Open, Opened

app = hw.App("bank", aggregates=[Account], partitions=4)


class DistantLog(MemoryLog):
    """Commands travel on it, as on a cluster."""

    @property
    def embedded(self) -> bool:
        return False


@pytest.fixture(params=[MemoryLog, DistantLog], ids=["embedded", "distant"])
def bank(request: pytest.FixtureRequest) -> Iterator[hw.Shop]:
    with app.run(request.param(), only=["commands"]) as shop:
        yield shop


def amounts(history: Iterable[hw.Recorded[Any]]) -> list[int]:
    return [int(one.event.amount) for one in history if isinstance(one.event, Deposited)]


@pytest.mark.parametrize("log", [MemoryLog, DistantLog])
def test_the_asynchronous_face_keeps_the_order_per_entity(log: type[MemoryLog]) -> None:
    async def story() -> list[int]:
        async with app.run(log(), only=["commands"]) as bank:
            async for _ in bank.send_many(Deposit("a", Decimal(n)) for n in range(2000)):
                pass
            return amounts(await bank.history(Account, "a"))

    assert asyncio.run(story()) == list(range(2000))


@pytest.mark.parametrize("in_flight", [1, 2, 100])
def test_no_more_are_under_way_than_was_said(bank: hw.Shop, in_flight: int) -> None:
    given = came = most = 0

    def commands() -> Iterator[Deposit]:
        nonlocal given, most
        for number in range(400):
            given += 1
            most = max(most, given - came)
            yield Deposit(f"a{number % 7}", Decimal(1))

    for _ in bank.send_many(commands(), in_flight=in_flight):
        came += 1
    assert came == 400
    assert most <= in_flight


def test_what_was_given_is_carried_out_while_the_next_takes_its_time(bank: hw.Shop) -> None:
    def at_version(number: int) -> bool:
        return bank.version(Account, "a") == number

    def commands() -> Iterator[Deposit]:
        for number in range(1, 8):
            yield Deposit("a", Decimal(1))
            if number % 3 == 0:
                eventually(partial(at_version, number))

    assert [one.version for one in bank.send_many(commands()) if isinstance(one, hw.Receipt)] == list(range(1, 8))


def test_a_refusal_is_gone_with_its_last_reference(bank: hw.Shop) -> None:
    gc.disable()
    try:
        outcomes = list(bank.send_many([Open("a", "ann"), Open("a", "bob")]))
        assert isinstance(outcomes[1], hw.Rejected)
        yielded = weakref.ref(outcomes.pop())
        try:
            bank.send(Open("a", "bob"))
        except hw.Rejected as error:
            raised = weakref.ref(error)
        assert (yielded(), raised()) == (None, None)
    finally:
        gc.enable()


def faulty(kind: str) -> Iterator[Any]:
    for number in range(10):
        yield Deposit(f"a{number}", Decimal(1))
    if kind == "item":
        yield Opened("a", "ann")
    else:
        raise LookupError("the source is gone")
    yield Deposit("never", Decimal(1))


FAULTS = pytest.mark.parametrize(("kind", "error"), [("item", hw.Misuse), ("source", LookupError)])


@FAULTS
def test_what_was_given_before_a_fault_is_told_before_it(bank: hw.Shop, kind: str, error: type[Exception]) -> None:
    came: list[Any] = []
    with pytest.raises(error):
        came.extend(bank.send_many(faulty(kind), in_flight=100))
    assert [type(one) for one in came] == [hw.Receipt] * 10
    assert bank.find(Account, "never") is None


@FAULTS
def test_the_asynchronous_face_tells_it_as_well(kind: str, error: type[Exception]) -> None:
    came: list[Any] = []

    async def send_all(bank: hw.AsyncShop) -> None:
        async for outcome in bank.send_many(faulty(kind), in_flight=100):
            came.append(outcome)

    async def story() -> None:
        async with app.run(DistantLog(), only=["commands"]) as bank:
            with pytest.raises(error):
                await send_all(bank)
        assert [type(one) for one in came] == [hw.Receipt] * 10

    asyncio.run(story())


def test_without_an_owner_each_is_answered_so() -> None:
    log = MemoryLog()
    with app.run(log, only=["commands"]):
        pass
    with app.connect(log) as client:
        outcomes = list(client.send_many([Open("a", "ann"), Open("b", "bob")]))
    assert [type(one) for one in outcomes] == [hw.Unavailable] * 2


def test_partitions_that_come_and_go_leave_the_order_alone() -> None:
    """The commands of a partition that is lost travel, and those behind them do not overtake them when it is back."""
    log = MemoryLog(session_timeout_s=60)
    accounts = [f"a{number}" for number in range(16)]

    def come_and_go() -> None:
        for _ in range(12):
            with app.run(log.again(), only=["commands"]):
                pass

    def sendings(other: Future[None]) -> Iterator[hw.Sending]:
        number = 0
        while not other.done():
            number += 1
            for account in accounts:
                yield hw.Sending(Deposit(account, Decimal(number)))

    with app.run(log, only=["commands"]) as bank, ThreadPoolExecutor(1) as thread:
        other = thread.submit(come_and_go)
        outcomes = list(bank.send_many(sendings(other), in_flight=200, timeout_s=60))
        other.result()
        assert {type(one) for one in outcomes} == {hw.Receipt}
        for account in accounts:
            assert amounts(bank.history(Account, account)) == list(range(1, len(outcomes) // len(accounts) + 1))
