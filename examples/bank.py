"""A bank account that cannot be overdrawn."""

from decimal import Decimal

import headwater as hw


class AccountEvent(hw.Event, entity="account"):
    account_id: hw.Key[str]


class AccountCreated(AccountEvent):
    owner: str


class MoneyDeposited(AccountEvent):
    amount: Decimal


class MoneyWithdrawn(AccountEvent):
    amount: Decimal


class AccountCommand(hw.Command, entity="account"):
    account_id: hw.Key[str]


class Withdraw(AccountCommand):
    amount: Decimal


class Overdrawn(hw.Rejected):
    """There are only {balance} on the account."""

    balance: Decimal


class Account(hw.Aggregate[AccountEvent]):
    balance: Decimal = Decimal(0)

    @hw.decides
    def withdraw(self, command: Withdraw) -> MoneyWithdrawn:
        if command.amount > self.balance:
            raise Overdrawn(self.balance)
        return MoneyWithdrawn(command.account_id, command.amount)

    @hw.evolves
    def deposited(self, event: MoneyDeposited) -> None:
        self.balance += event.amount

    @hw.evolves
    def withdrawn(self, event: MoneyWithdrawn) -> None:
        self.balance -= event.amount


app = hw.App("bank", aggregates=[Account])

if __name__ == "__main__":
    with app.run("memory://") as bank:  # or sqlite:///bank.db, or kafka://localhost:9092
        bank.append(Account, "42", [AccountCreated("42", "Ann")], expected_version=0)  # a fact: nothing to decide
        bank.append(Account, "42", [MoneyDeposited("42", Decimal("100.00"))])
        bank.send(Withdraw("42", Decimal("30.00")))
        try:
            bank.send(Withdraw("42", Decimal("70.01")))
        except Overdrawn as refusal:
            print(refusal)
        for recorded in bank.history(Account, "42"):
            print(recorded.meta.version, recorded.event)
        print("now:", bank.get(Account, "42").balance, "before:", bank.get(Account, "42", at_version=2).balance)
