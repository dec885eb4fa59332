"""The domain of the benchmarks in headwater's words, and the commands that both sides are given.

Accounts take deposits, and the withdrawals that they can cover; others are refused. `orders_for` makes a seeded
stream of them as plain values; `Ledger` says by plain arithmetic what must come out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

import headwater as hw

MOST_CENTS = 5_000
WITHDRAWALS = 0.25


class AccountEvent(hw.Event, entity="account"):
    account_id: hw.Key[str]


class Deposited(AccountEvent):
    cents: int


class Withdrawn(AccountEvent):
    cents: int


class AccountCommand(hw.Command, entity="account"):
    account_id: hw.Key[str]


class Deposit(AccountCommand):
    cents: int


class Withdraw(AccountCommand):
    cents: int


class Overdrawn(hw.Rejected):
    """The account has only {cents} cents."""

    cents: int


class Account(hw.Aggregate[AccountEvent]):
    cents: int = 0

    @hw.decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(command.account_id, command.cents)

    @hw.decides
    def withdraw(self, command: Withdraw) -> Withdrawn:
        if command.cents > self.cents:
            raise Overdrawn(cents=self.cents)
        return Withdrawn(command.account_id, command.cents)

    @hw.evolves
    def deposited(self, event: Deposited) -> None:
        self.cents += event.cents

    @hw.evolves
    def withdrawn(self, event: Withdrawn) -> None:
        self.cents -= event.cents


class Order(msgspec.Struct, frozen=True):
    """What is asked of an account: a deposit, or (negative cents) a withdrawal."""

    account_id: str
    cents: int

    def command(self) -> AccountCommand:
        if self.cents < 0:
            return Withdraw(self.account_id, -self.cents)
        return Deposit(self.account_id, self.cents)


def orders_for(seed: int, count: int, accounts: int, prefix: int | None = None) -> list[Order]:
    """`count` orders over so many accounts, whose ids carry the prefix (None: the seed, so that no two streams
    share an account)."""
    draw = random.Random(seed)
    prefix = seed if prefix is None else prefix
    orders = []
    for _ in range(count):
        cents = draw.randint(1, MOST_CENTS)
        sign = -1 if draw.random() < WITHDRAWALS else 1
        orders.append(Order(f"{prefix}-{draw.randrange(accounts):06d}", sign * cents))
    return orders


@dataclass
class Ledger:
    """The outcome of orders: what a side reports, and what it must report.

    Arguments: accepted, refused: how many orders were; versions, cents: sums over the accounts.
    """

    accepted: int = 0
    refused: int = 0
    versions: int = 0
    cents: int = 0
    balances: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def expected(cls, orders: Iterable[Order]) -> Ledger:
        ledger = cls()
        balances = ledger.balances
        for order in orders:
            balance = balances.get(order.account_id, 0) + order.cents
            if balance < 0:
                ledger.refused += 1
            else:
                ledger.accepted += 1
                balances[order.account_id] = balance
        ledger.versions, ledger.cents = ledger.accepted, sum(balances.values())
        return ledger
