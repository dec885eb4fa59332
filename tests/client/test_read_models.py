"""Read models as a client sees them: rows and SQL that include what a receipt speaks of, in every process."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from tests.bank import Account, Deposit, Deposited, Open, Opened


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
