"""Two apps that own one entity type share its partitions; commands find their owner from either."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

import headwater as hw
from headwater.testing import eventually
from tests.bank import Account, Deposit, Deposited, Open, Overdrawn, Withdraw
from tests.logs import OpenAgain, owned_by

app = hw.App("bank", aggregates=[Account], partitions=4)
ACCOUNTS = [f"a{number}" for number in range(24)]
ONE = Decimal(1)


@pytest.fixture
def two(open_again: OpenAgain) -> Iterator[tuple[hw.Shop, hw.Shop]]:
    """Both apps, when each owns a half."""
    here, there = open_again(), open_again()
    with app.run(here, only=["commands"]) as one, app.run(there, only=["commands"]) as other:
        eventually(lambda: owned_by(here, "account-owners") == [2, 2])
        yield one, other


def test_commands_from_either_reach_the_right_owner(two: tuple[hw.Shop, hw.Shop]) -> None:
    for shop in two:
        for account in ACCOUNTS:
            shop.send(Deposit(account, ONE))
    for shop in two:
        assert [shop.get(Account, account).balance for account in ACCOUNTS] == [2] * len(ACCOUNTS)
        assert [len(shop.history(Account, account)) for account in ACCOUNTS] == [2] * len(ACCOUNTS)


def test_many_at_once_from_both_are_carried_out_once_and_in_order(two: tuple[hw.Shop, hw.Shop]) -> None:
    sendings = [hw.Sending(Deposit(a, Decimal(n)), command_id=f"{a}-{n}") for n in range(1, 6) for a in ACCOUNTS]
    one, other = (shop.send_many(sendings, in_flight=20) for shop in two)
    outcomes = [(next(one), next(other)) for _ in sendings]
    duplicates = [{getattr(outcome, "duplicate", outcome) for outcome in pair} for pair in outcomes]
    assert all(pair == {False, True} for pair in duplicates), duplicates
    for account in ACCOUNTS:
        assert [one.event for one in two[0].history(Account, account)] == [
            Deposited(account, Decimal(amount)) for amount in range(1, 6)
        ]


def test_refusals_and_answers_of_before_come_from_either(two: tuple[hw.Shop, hw.Shop]) -> None:
    one, other = two
    for account in ACCOUNTS[:8]:
        one.send(Open(account, "ann"), command_id="open")
        assert other.send(Open(account, "ann"), command_id="open").duplicate
        with pytest.raises(Overdrawn):
            one.send(Withdraw(account, ONE), command_id="take")
        other.send(Deposit(account, ONE))
        with pytest.raises(Overdrawn):
            other.send(Withdraw(account, ONE), command_id="take")


def test_when_one_leaves_the_other_takes_over_and_remembers(open_again: OpenAgain) -> None:
    here, there = open_again(), open_again()
    with app.run(here, only=["commands"]) as staying:
        with app.run(there, only=["commands"]) as leaving:
            eventually(lambda: owned_by(here, "account-owners") == [2, 2])
            for account in ACCOUNTS:
                leaving.send(Deposit(account, ONE), command_id="first")
        for account in ACCOUNTS:
            assert staying.send(Deposit(account, ONE), command_id="first").duplicate
            assert staying.send(Deposit(account, ONE), command_id="second").version == 2
        eventually(lambda: owned_by(here, "account-owners") == [4])


def test_one_that_comes_later_takes_its_share_while_commands_go_on(open_again: OpenAgain) -> None:
    here, there = open_again(), open_again()
    sent = 0
    with app.run(here, only=["commands"]) as first:
        with app.run(there, only=["commands"]) as later:
            while owned_by(here, "account-owners") != [2, 2]:
                for shop in (first, later):
                    shop.send(Deposit("a0", ONE))
                    sent += 1
            for account in ACCOUNTS:
                first.send(Deposit(account, ONE))
            sent += 1
            assert later.get(Account, "a0").balance == sent
        assert first.get(Account, "a0").version == sent
