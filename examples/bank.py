"""A bank account that cannot be overdrawn."""

import sys
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
    """There is not enough on the account."""


class Account(hw.Aggregate[AccountEvent]):
    balance: Decimal = Decimal(0)

    @hw.decides
    def withdraw(self, command: Withdraw) -> MoneyWithdrawn:
        if command.amount > self.balance:
            raise Overdrawn
        return MoneyWithdrawn(command.account_id, command.amount)

    @hw.evolves
    def moved(self, event: MoneyDeposited | MoneyWithdrawn) -> None:
        self.balance += event.amount if isinstance(event, MoneyDeposited) else -event.amount


if __name__ == "__main__":
    url = sys.argv[1] if len(sys.argv) > 1 else "memory://"  # or sqlite:///bank.db, kafka://localhost:9092
    try:
        with hw.App("bank", aggregates=[Account]).run(url) as bank:
            bank.append(Account, "42", [AccountCreated("42", "Ann"), MoneyDeposited("42", Decimal(100))])
            bank.send(Withdraw("42", Decimal(30)))
            try:
                bank.send(Withdraw("42", Decimal(71)))
            except Overdrawn as refusal:
                print(refusal)
            print(*(recorded.event for recorded in bank.history(Account, "42")), sep="\n")
            print("now:", bank.get(Account, "42").balance, "before:", bank.get(Account, "42", at_version=2).balance)
    except hw.HeadwaterError as error:
        sys.exit(f"error: {error}")
