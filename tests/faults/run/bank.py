"""What the run works on: accounts that send money to each other, a process that carries it, and a ledger of it.

    SendMoney ─► account: MoneySent ─► Transfers (process) ─► ReceiveMoney ─► account: MoneyReceived
                                                           └► RecordTransfer ─► transfer: TransferRecorded

Nothing defends itself against repetitions: what keeps each transfer single is the library. So all that was sent must
be received once, and the balances must add up to what was paid in and out.
"""

from __future__ import annotations

from decimal import Decimal

import headwater as hw

PARTITIONS = 4
ACCOUNTS = [f"a{number}" for number in range(40)]


class AccountEvent(hw.Event, entity="account"):
    account_id: hw.Key[str]


class PaidIn(AccountEvent):
    amount: Decimal


class PaidOut(AccountEvent):
    amount: Decimal


class MoneySent(AccountEvent):
    transfer_id: str
    to: str
    amount: Decimal


class MoneyReceived(AccountEvent):
    transfer_id: str
    amount: Decimal


class AccountCommand(hw.Command, entity="account"):
    account_id: hw.Key[str]


class PayIn(AccountCommand):
    amount: Decimal


class PayOut(AccountCommand):
    """In coins: an event for each, all of them or none."""

    coins: int


class SendMoney(AccountCommand):
    transfer_id: str
    to: str
    amount: Decimal


class ReceiveMoney(AccountCommand):
    transfer_id: str
    amount: Decimal


class TransferEvent(hw.Event, entity="transfer"):
    transfer_id: hw.Key[str]


class TransferRecorded(TransferEvent):
    amount: Decimal


class TransferCommand(hw.Command, entity="transfer"):
    transfer_id: hw.Key[str]


class RecordTransfer(TransferCommand):
    amount: Decimal


class Overdrawn(hw.Rejected):
    """The account has only {balance}."""

    balance: Decimal


class Account(hw.Aggregate[AccountEvent]):
    balance: Decimal = Decimal(0)

    @hw.decides
    def pay_in(self, command: PayIn) -> PaidIn:
        return PaidIn(command.account_id, command.amount)

    @hw.decides
    def pay_out(self, command: PayOut) -> list[AccountEvent]:
        if command.coins > self.balance:
            raise Overdrawn(balance=self.balance)
        return [PaidOut(command.account_id, Decimal(1))] * command.coins

    @hw.decides
    def send(self, command: SendMoney) -> MoneySent:
        if command.amount > self.balance:
            raise Overdrawn(balance=self.balance)
        return MoneySent(command.account_id, command.transfer_id, command.to, command.amount)

    @hw.decides
    def receive(self, command: ReceiveMoney) -> MoneyReceived:
        return MoneyReceived(command.account_id, command.transfer_id, command.amount)

    @hw.evolves
    def paid_in(self, event: PaidIn) -> None:
        self.balance += event.amount

    @hw.evolves
    def paid_out(self, event: PaidOut) -> None:
        self.balance -= event.amount

    @hw.evolves
    def sent(self, event: MoneySent) -> None:
        self.balance -= event.amount

    @hw.evolves
    def received(self, event: MoneyReceived) -> None:
        self.balance += event.amount


class Transfer(hw.Aggregate[TransferEvent]):
    times: int = 0
    amount: Decimal = Decimal(0)

    @hw.decides
    def record(self, command: RecordTransfer) -> TransferRecorded:
        return TransferRecorded(command.transfer_id, command.amount)

    @hw.evolves
    def recorded(self, event: TransferRecorded) -> None:
        self.times += 1
        self.amount += event.amount


class Transfers(hw.Process, version=1):
    """Carries money from one account to another, under the transfer's key and not the account's."""

    transfer_id: hw.Key[str]
    seen: int = 0

    @hw.on(MoneySent, key=lambda event, meta: event.transfer_id)
    def carry(self, event: MoneySent, meta: hw.Meta) -> list[hw.Command]:
        self.seen += 1
        return [
            ReceiveMoney(event.to, event.transfer_id, event.amount),
            RecordTransfer(event.transfer_id, event.amount),
        ]


class Turnover(hw.Projection, version=1):
    """What was paid in and out per account, and how often."""

    account_id: hw.Key[str]
    payments: int = 0
    total: Decimal = Decimal(0)

    @hw.on(PaidIn)
    def paid_in(self, event: PaidIn) -> None:
        self.payments += 1
        self.total += event.amount

    @hw.on(PaidOut)
    def paid_out(self, event: PaidOut) -> None:
        self.payments += 1
        self.total -= event.amount


def make_app() -> hw.App:
    return hw.App(
        "bank", aggregates=[Account, Transfer], processes=[Transfers], projections=[Turnover], partitions=PARTITIONS
    )
