"""Read models as a client sees them: rows and SQL that include what a receipt speaks of, in every process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import headwater as hw
from headwater.app import Running
from headwater.testing import eventually
from tests.bank import Account, Deposit, Deposited, Open, Opened
from tests.logs import OpenAgain


class Owned(hw.Projection):
    """What each account has, by a name of its own."""

    account_id: hw.Key[str]
    owner: str = ""
    balance: Decimal = Decimal(0)

    @hw.on(Opened)
    def opened(self, event: Opened) -> None:
        self.owner = event.owner

    @hw.on(Deposited)
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount


class NewerOwned(hw.Projection, name="owned", version=2):
    account_id: hw.Key[str]
    cents: int = 0

    @hw.on(Deposited)
    def deposited(self, event: Deposited) -> None:
        self.cents += int(event.amount * 100)


app = hw.App("bank", aggregates=[Account], projections=[Owned], partitions=3)
newer = hw.App("bank", aggregates=[Account], projections=[NewerOwned], partitions=3)
ONE = Decimal(1)


def test_a_client_of_an_older_version_leaves_the_tables_to_the_newer_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with app.run(url) as bank:
        bank.rows(Owned, after=bank.send(Deposit("a", ONE)))
    with newer.run(url) as bank:
        receipt = bank.send(Deposit("a", ONE))
        with app.connect(url) as older, app.run(url, only=["commands"]):
            assert older.row(Owned, "a") == Owned("a", "", ONE)
        assert bank.query("SELECT cents FROM owned", into=int, after=receipt) == [200]


def test_a_client_that_came_before_any_runner_is_told_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with app.connect(url) as client:
        with pytest.raises(hw.Unavailable, match="no table owned version 1 yet: start the process that runs it"):
            client.row(Owned, "a")
        with pytest.raises(hw.Unavailable, match="no table owned version 1 yet: start the process that runs it"):
            client.query("SELECT * FROM owned", into=Owned)
        with app.run(url) as bank:
            receipt = bank.send(Open("a", "ann"))
            assert client.row(Owned, "a", after=receipt) == Owned("a", "ann")
            assert client.query("SELECT owner FROM owned", into=str) == ["ann"]


def far_beyond(receipt: hw.Receipt) -> hw.Receipt:
    """As if much more had been written."""
    [(partition, position)] = receipt.positions.items()
    return msgspec.structs.replace(receipt, positions={partition: position + 1_000_000})


def test_what_another_log_said_is_refused() -> None:
    with app.run("memory://") as bank:
        receipt = bank.send(Deposit("a", ONE))
    with app.run("memory://") as other:
        other.send(Deposit("a", ONE))
        with pytest.raises(hw.Misuse, match="the receipt is of log"):
            other.row(Owned, "a", after=receipt)
        with pytest.raises(hw.Misuse, match="the receipt is of log"):
            other.query("SELECT * FROM owned", into=Owned, after=[receipt])
        with pytest.raises(hw.Misuse, match="the token is of log"):
            other.rows(Owned, after=receipt.token)


@pytest.mark.parametrize("sql", ["SELECT balance FROM Owned", 'SELECT balance FROM "owned_v1"', "SELECT 1"])
def test_a_query_waits_for_the_read_models_that_it_names_and_for_all_if_it_names_none(sql: str) -> None:
    with app.run("memory://") as bank:
        receipt = bank.send(Deposit("a", ONE))
        assert bank.query(sql, into=Decimal, after=receipt) == [ONE]
        with pytest.raises(hw.NotYet):
            bank.query(sql, into=Decimal, after=far_beyond(receipt), timeout_s=0)


def test_a_query_does_not_wait_for_what_it_does_not_name() -> None:
    with app.run("memory://") as bank:
        opened = bank.send(Open("a", "ann"))
        bank.rows(Account, after=opened)
        assert bank.query("SELECT id FROM account", into=str, after=opened) == ["a"]


def test_those_who_wait_leave_the_threads_to_those_who_do_not(tmp_path: Path) -> None:
    async def story() -> None:
        async with app.run(f"sqlite:///{tmp_path / 'bank.db'}") as bank:
            receipt = await bank.send(Open("a", "ann"))
            later = far_beyond(receipt)
            waiting = [asyncio.create_task(bank.row(Owned, "a", after=later, timeout_s=600)) for _ in range(64)]
            row = await asyncio.wait_for(bank.row(Owned, "a", after=receipt, timeout_s=60), 90)
            assert row == Owned("a", "ann")
            assert len(await asyncio.wait_for(bank.history(Account, "a"), 60)) == 1
            assert not any(task.done() for task in waiting)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            with pytest.raises(hw.NotYet):
                await bank.row(Owned, "a", after=later, timeout_s=0.05)

    asyncio.run(story())


# --- every way to read, on every log


@pytest.fixture(params=["run", "connect"])
def enter(request: pytest.FixtureRequest, open_again: OpenAgain, tmp_path: Path) -> Iterator[Callable[[], Running]]:
    """A client in the process that does the work, and one beside it."""
    store = f"sqlite:///{tmp_path / 'models.db'}"
    if request.param == "run":
        yield lambda: app.run(open_again(), store=store)
    else:
        with app.run(open_again(), store=store):
            yield lambda: app.connect(open_again(), store=store)


def test_what_is_read_includes_what_a_receipt_speaks_of(enter: Callable[[], Running]) -> None:
    with enter() as bank:
        opened = bank.send(Open("a", "ann"))
        assert bank.row(Owned, "a", after=opened, timeout_s=60) == Owned("a", "ann")  # the first takes its time
        assert bank.row(Owned, "nobody", after=opened) is None
        paid = [bank.send(Deposit(account, ONE)) for account in "ab"]
        assert bank.rows(Owned, owner="ann", after=paid) == [Owned("a", "ann", ONE)]
        paid = [bank.send(Deposit(account, ONE)) for account in "ab"]
        assert bank.query("SELECT balance FROM owned WHERE account_id = ?", "b", into=Decimal, after=paid) == [2]
        entities = bank.rows(Account, after=paid[0].token, timeout_s=60, id="a")
        assert [(one.id, one.version) for one in entities] == [("a", 3)]
        assert bank.replay(Account) == {account: bank.get(Account, account) for account in "ab"}
        assert eventually(lambda: bank.lag() == dict.fromkeys(("owned", "account"), 0))


def test_the_asynchronous_face_reads_the_same(enter: Callable[[], Running]) -> None:
    async def story() -> None:
        async with enter() as bank:
            opened = await bank.send(Open("a", "ann"))
            assert await bank.row(Owned, "a", after=opened, timeout_s=60) == Owned("a", "ann")
            assert await bank.row(Owned, "nobody", after=opened) is None
            paid = [await bank.send(Deposit(account, ONE)) for account in "ab"]
            assert await bank.rows(Owned, owner="ann", after=paid) == [Owned("a", "ann", ONE)]
            paid = [await bank.send(Deposit(account, ONE)) for account in "ab"]
            sql = "SELECT balance FROM owned WHERE account_id = ?"
            assert await bank.query(sql, "b", into=Decimal, after=paid) == [2]
            entities = await bank.rows(Account, after=paid[0].token, timeout_s=60, id="a")
            assert [(one.id, one.version) for one in entities] == [("a", 3)]
            assert await bank.replay(Account) == {account: await bank.get(Account, account) for account in "ab"}
            loop = asyncio.get_running_loop()

            def caught_up() -> bool:
                return not any(asyncio.run_coroutine_threadsafe(bank.lag(), loop).result(60).values())

            await asyncio.to_thread(eventually, caught_up)

    asyncio.run(story())


def test_without_a_runner_it_is_said_at_once(open_again: OpenAgain, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'models.db'}"

    async def story(receipt: hw.Receipt) -> None:
        async with app.connect(open_again(), store=store) as client:
            with pytest.raises(hw.NotYet, match="owned"):
                await asyncio.wait_for(client.row(Owned, "a", after=receipt, timeout_s=60), 40)

    with app.run(open_again(), store=store, only=["commands"]) as bank:
        asyncio.run(story(bank.send(Open("a", "ann"))))
