"""The domain of the library's own tests: an account with its commands, events and refusals."""

from __future__ import annotations

from decimal import Decimal

import headwater as hw


class AccountEvent(hw.Event, entity="account"):
    account_id: hw.Key[str]


class Opened(AccountEvent):
    owner: str


class Deposited(AccountEvent):
    amount: Decimal


class Withdrawn(AccountEvent):
    amount: Decimal


def amount_of(event: AccountEvent) -> Decimal:
    assert isinstance(event, (Deposited, Withdrawn))
    return event.amount


class AccountCommand(hw.Command, entity="account"):
    account_id: hw.Key[str]


class Open(AccountCommand):
    owner: str


class Deposit(AccountCommand):
    amount: Decimal


class Withdraw(AccountCommand):
    amount: Decimal


class Rename(AccountCommand):
    owner: str


class Break(AccountCommand):
    how: str


class AlreadyOpen(hw.Rejected):
    """The account is open already."""


class Overdrawn(hw.Rejected):
    """The account has only {balance}."""

    balance: Decimal


class Account(hw.Aggregate[AccountEvent]):
    owner: str = ""
    balance: Decimal = Decimal(0)

    @hw.decides
    def open(self, command: Open) -> Opened:
        if self.owner:
            raise AlreadyOpen
        return Opened(command.account_id, command.owner)

    @hw.decides
    def deposit(self, command: Deposit) -> Deposited:
        return Deposited(command.account_id, command.amount)

    @hw.decides
    def withdraw(self, command: Withdraw) -> list[AccountEvent]:
        if command.amount > self.balance:
            raise Overdrawn(balance=self.balance)
        return [Withdrawn(command.account_id, command.amount)]

    @hw.decides
    def rename(self, command: Rename) -> None:
        """Accepted, and nothing happens."""

    @hw.decides
    def break_something(self, command: Break, meta: hw.Meta) -> Deposited | None:
        if command.how == "raise":
            raise ZeroDivisionError("broken on purpose")
        if command.how == "mutate":
            self.balance += 1
            return None
        if command.how == "foreign key":
            return Deposited("somebody else", Decimal(1))
        return Deposited(command.account_id, Decimal("-1"))  # its @evolves raises

    @hw.evolves
    def opened(self, event: Opened) -> None:
        self.owner = event.owner

    @hw.evolves
    def deposited(self, event: Deposited) -> None:
        if event.amount < 0:
            raise ValueError("negative deposits cannot be folded")
        self.balance += event.amount

    @hw.evolves
    def withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount
