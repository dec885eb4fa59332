"""The asynchronous face does what the synchronous one does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import Log
from tests.bank import Account, Break, Deposit, Deposited, Open, Opened, Overdrawn, Rename, Withdraw
from tests.timing import in_time

app = hw.App("bank", aggregates=[Account], partitions=3)
TEN = Decimal(10)


Story = Callable[[hw.AsyncShop], Awaitable[None]]
Told = Callable[[Story], None]


@pytest.fixture(params=["run", "connect"])
def told(request: pytest.FixtureRequest, log: Log) -> Told:
    """Plays a story in the process that owns the accounts, and beside it."""

    async def play(story: Story) -> None:
        async with app.run(log, only=["commands"]) as owner, app.connect(log) as client:
            await story(owner if request.param == "run" else client)

    return lambda story: asyncio.run(play(story))


def test_commands_and_what_comes_of_them(told: Told) -> None:
    async def story(bank: hw.AsyncShop) -> None:
        receipt = await bank.send(Open("a", "ann"), command_id="o", actor="user:ann")
        assert (receipt.version, receipt.events, receipt.duplicate) == (1, 1, False)
        assert (await bank.send(Open("a", "ann"), command_id="o")).duplicate
        assert (await bank.send(Rename("a", "anne"))).events == 0
        with pytest.raises(Overdrawn) as refusal:
            await bank.send(Withdraw("a", TEN), command_id="w")
        assert refusal.value.balance == 0
        with pytest.raises(hw.Conflict):
            await bank.send(Deposit("a", TEN), expected_version=7)
        with pytest.raises(hw.Misuse, match="another content"):
            await bank.send(Deposit("a", TEN), command_id="o")
        with pytest.raises(hw.Failed, match="broken on purpose"):
            await bank.send(Break("a", "raise"))
        found = await bank.outcome(Account, "a", "o")
        assert found is not None
        assert found.version == 1
        with pytest.raises(Overdrawn):
            await bank.outcome(Account, "a", "w")
        assert await bank.outcome(Account, "a", "never sent") is None

    told(story)


def test_reading_and_going_back(told: Told) -> None:
    then = datetime(2024, 1, 1, tzinfo=UTC)

    async def story(bank: hw.AsyncShop) -> None:
        await bank.append(Account, "a", [Opened("a", "ann")], time=then)
        await bank.send(Deposit("a", TEN), time=then + timedelta(days=1))
        assert (await bank.get(Account, "a")).balance == TEN
        assert (await bank.get(Account, "a", as_of=then)).balance == 0
        assert await bank.find(Account, "nobody") is None
        with pytest.raises(hw.NotFound):
            await bank.get(Account, "nobody")
        assert await bank.version(Account, "a") == 2
        assert [one.event for one in await bank.history(Account, "a")] == [Opened("a", "ann"), Deposited("a", TEN)]
        assert (await bank.revert(Account, "a", to_version=1)).version == 3
        assert (await bank.get(Account, "a")).balance == 0

    told(story)


def test_many_at_once(told: Told) -> None:
    async def story(bank: hw.AsyncShop) -> None:
        commands = [Deposit(f"a{n % 5}", Decimal(n)) for n in range(50)]
        receipts = [one async for one in bank.send_many([*commands, Break("a0", "raise")], in_flight=7)]
        assert [type(one) for one in receipts] == [hw.Receipt] * 50 + [hw.Failed]
        amounts = [one.event.amount for one in await bank.history(Account, "a3") if isinstance(one.event, Deposited)]
        assert amounts == list(range(3, 50, 5))
        together = await asyncio.gather(*(bank.send(Deposit("b", TEN)) for _ in range(20)))
        assert sorted(one.version for one in together) == list(range(1, 21))

    told(story)


def test_without_an_owner_it_is_unavailable_within_two_seconds() -> None:
    log = MemoryLog()
    with app.run(log):
        pass

    async def story() -> None:
        async with app.connect(log) as bank:
            with pytest.raises(hw.Unavailable, match="no live owner of 'account'"):
                await bank.send(Open("a", "ann"))

    in_time(2, lambda: asyncio.run(story()))


def test_waiting_does_not_hold_up_the_loop() -> None:
    async def story() -> None:
        async with app.run(MemoryLog()) as bank:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            ticking = asyncio.create_task(tick())
            for _ in range(20):
                await bank.send(Deposit("a", TEN))
            ticking.cancel()
            assert ticks > 20

    asyncio.run(story())
