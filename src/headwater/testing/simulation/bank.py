"""The app of a simulated run: accounts, a read model of them, and commands that are refused at times. And the same app
later, with states of another shape."""

from __future__ import annotations

import headwater as hw


class AccountEvent(hw.Event, entity="account"):
    account_id: hw.Key[str]


class Paid(AccountEvent):
    amount: int


class Drawn(AccountEvent):
    amount: int


class AccountCommand(hw.Command, entity="account"):
    account_id: hw.Key[str]


class Pay(AccountCommand):
    """In so many parts: an event for each."""

    amount: int
    parts: int = 1


class Draw(AccountCommand):
    amount: int


class Overdrawn(hw.Rejected):
    """The account has only {balance}."""

    balance: int


class Account(hw.Aggregate[AccountEvent]):
    balance: int = 0

    @hw.decides
    def pay(self, command: Pay) -> list[AccountEvent]:
        return [Paid(command.account_id, command.amount) for _ in range(command.parts)]

    @hw.decides
    def draw(self, command: Draw) -> Drawn:
        if command.amount > self.balance:
            raise Overdrawn(balance=self.balance)
        return Drawn(command.account_id, command.amount)

    @hw.evolves
    def paid(self, event: Paid) -> None:
        self.balance += event.amount

    @hw.evolves
    def drawn(self, event: Drawn) -> None:
        self.balance -= event.amount


class Renewed(hw.Aggregate[AccountEvent], name="account", version=2):
    """An `Account` of the next version: it counts its movements."""

    balance: int = 0
    movements: int = 0

    @hw.decides
    def pay(self, command: Pay) -> list[AccountEvent]:
        return [Paid(command.account_id, command.amount) for _ in range(command.parts)]

    @hw.decides
    def draw(self, command: Draw) -> Drawn:
        if command.amount > self.balance:
            raise Overdrawn(balance=self.balance)
        return Drawn(command.account_id, command.amount)

    @hw.evolves
    def paid(self, event: Paid) -> None:
        self.balance += event.amount
        self.movements += 1

    @hw.evolves
    def drawn(self, event: Drawn) -> None:
        self.balance -= event.amount
        self.movements += 1


class Totals(hw.Projection):
    account_id: hw.Key[str]
    paid: int = 0
    events: int = 0

    @hw.on(Paid)
    def on_paid(self, event: Paid) -> None:
        self.paid += event.amount
        self.events += 1

    @hw.on(Drawn)
    def on_drawn(self, event: Drawn) -> None:
        self.events += 1


PARTITIONS = 2
ACCOUNTS = ("ann", "bob", "gil", "ida")
"""Two of each partition."""
app = hw.App("bank", aggregates=[Account], projections=[Totals], partitions=PARTITIONS)
renewed = hw.App("bank", aggregates=[Renewed], projections=[Totals], partitions=PARTITIONS)
