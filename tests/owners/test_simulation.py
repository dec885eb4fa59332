"""Random commands, repetitions, restarts and aborts, beside a model of twenty lines that cannot fail."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.testing import eventually
from tests.bank import Account, AccountCommand, AccountEvent, Break, Deposit, Overdrawn, Rename, Withdraw

app = hw.App("bank", aggregates=[Account], partitions=3)
ACCOUNTS: tuple[str, ...] = ("a", "b", "c", "d")


class Model:
    """What every account must be, and what every command id was answered with."""

    def __init__(self) -> None:
        self.balances = dict.fromkeys(ACCOUNTS, Decimal(0))
        self.versions = dict.fromkeys(ACCOUNTS, 0)
        self.answered: dict[tuple[str, str], tuple[AccountCommand, str]] = {}

    def send(self, command: AccountCommand, command_id: str, expected: int | None) -> str:
        account = command.account_id
        known = self.answered.get((account, command_id))
        if known is not None:
            return known[1] if known[0] == command else "Misuse"
        if expected is not None and expected != self.versions[account]:
            return "Conflict"
        outcome = self._decide(command, account)
        if outcome != "Failed":
            self.answered[account, command_id] = command, outcome
        return outcome

    def _decide(self, command: AccountCommand, account: str) -> str:
        match command:
            case Deposit():
                self.balances[account] += command.amount
            case Withdraw():
                if command.amount > self.balances[account]:
                    return "Overdrawn"
                self.balances[account] -= command.amount
            case Rename():
                return "accepted"
            case _:
                return "Failed"
        self.versions[account] += 1
        return "accepted"


def a_command(chance: random.Random) -> AccountCommand:
    account = chance.choice(ACCOUNTS)
    amount = Decimal(chance.randint(1, 9))
    broken = Break(account, chance.choice(["raise", "mutate", "foreign key", "fold"]))
    some: list[AccountCommand] = [Deposit(account, amount), Withdraw(account, amount), Rename(account, "x"), broken]
    return chance.choices(some, [5, 5, 1, 1])[0]


def outcome_of(bank: hw.Shop, command: AccountCommand, command_id: str, expected: int | None) -> str:
    try:
        bank.send(command, command_id=command_id, expected_version=expected)
    except Overdrawn:
        return "Overdrawn"
    except (hw.Conflict, hw.Failed, hw.Misuse) as error:
        return type(error).__name__
    return "accepted"


@pytest.mark.parametrize("way", ["run", "connect"])
def test_accounts_are_what_the_model_says(way: str) -> None:
    log = MemoryLog(gaps=True, late=True, aborts=0.1)
    print("seed", log.seed)
    chance, model, sent = random.Random(log.seed), Model(), list[tuple[AccountCommand, str]]()
    for _ in range(6):
        with app.run(log, only=["commands"]) as owner, app.connect(log) as client:
            bank = owner if way == "run" else client
            for _ in range(60):
                command, command_id = a_command(chance), f"c{len(sent)}"
                if sent and chance.random() < 0.3:
                    command, command_id = chance.choice(sent)
                if sent and chance.random() < 0.05:
                    command_id = chance.choice(sent)[1]
                expected = chance.choice([None, None, None, model.versions[command.account_id], 3])
                sent.append((command, command_id))
                assert outcome_of(bank, command, command_id, expected) == model.send(command, command_id, expected)
            for account in ACCOUNTS:
                found = bank.find(Account, account)
                assert (found.balance if found else 0) == model.balances[account]
                assert bank.version(Account, account) == model.versions[account]
    with app.connect(log) as reader:
        for account, balance in model.balances.items():
            count = model.versions[account]
            history = eventually(lambda account=account, count=count: _all(reader, account, count))  # type: ignore[misc] # mypy infers no lambda with a default
            assert (
                sum(getattr(one.event, "amount", 0) * (1 if one.meta.type == "Deposited" else -1) for one in history)
                == balance
            )
            assert [one.meta.version for one in history] == list(range(1, count + 1))


def _all(reader: hw.Shop, account: str, count: int) -> list[hw.Recorded[AccountEvent]] | None:
    found = reader.history(Account, account)
    return found if len(found) == count else None
