"""What a process sends is waited for by nobody, so its receiver must not pass over what it cannot carry out."""

from __future__ import annotations

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import TopicPartition
from headwater.testing import eventually


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class Placed(OrderEvent):
    amount: int


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class Place(OrderCommand):
    amount: int


class Order(hw.Aggregate[OrderEvent]):
    amount: int = 0

    @hw.decides
    def place(self, command: Place) -> Placed:
        return Placed(command.order_id, command.amount)

    @hw.evolves
    def placed(self, event: Placed) -> None:
        self.amount += event.amount


class BillEvent(hw.Event, entity="bill"):
    bill_id: hw.Key[str]


class Billed(BillEvent):
    amount: int


class BillCommand(hw.Command, entity="bill"):
    bill_id: hw.Key[str]


class Bill(BillCommand):
    amount: int


class Remind(BillCommand):
    """Known to newer code only."""


class Broken(hw.Aggregate[BillEvent]):
    """Bills of today: with a fault, and without reminders."""

    total: int = 0

    @hw.decides
    def bill(self, command: Bill) -> Billed:
        raise ZeroDivisionError("a fault")

    @hw.evolves
    def billed(self, event: Billed) -> None:
        self.total += event.amount


class Mended(hw.Aggregate[BillEvent]):
    """Bills of tomorrow."""

    total: int = 0
    reminders: int = 0

    @hw.decides
    def bill(self, command: Bill) -> Billed:
        return Billed(command.bill_id, command.amount)

    @hw.decides
    def remind(self, command: Remind) -> Billed:
        return Billed(command.bill_id, 1)

    @hw.evolves
    def billed(self, event: Billed) -> None:
        self.total += event.amount


class Billing(hw.Process):
    order_id: hw.Key[str]

    @hw.on(Placed)
    def charge(self, event: Placed) -> hw.Command:
        return Remind(event.order_id) if event.amount == 0 else Bill(event.order_id, event.amount)


sales = hw.App("sales", aggregates=[Order], processes=[Billing], partitions=1)
bills_today = hw.App("bills", aggregates=[Broken], partitions=1)
bills_tomorrow = hw.App("bills", aggregates=[Mended], partitions=1)
COMMANDS = TopicPartition("bill-commands", 0)


@pytest.mark.parametrize(
    ("amount", "words", "total"), [(7, "ZeroDivisionError: a fault", 7), (0, "knows the command Remind", 1)]
)
def test_what_cannot_be_carried_out_waits_until_it_can(
    amount: int, words: str, total: int, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryLog(gaps=True, late=True)
    print("seed", log.seed)
    running = bills_today.run(log, only=["commands"])
    with sales.run(log) as shop:
        with running:
            shop.send(Place("1", amount))
            assert running.services is not None
            failures = running.services.owners["bill"].failures
            assert eventually(lambda: failures)
            assert words in failures[0]
            assert "topic bill-commands, partition 0, offset" in failures[0]
        assert any(words in record.message for record in caplog.records), "it is in the process's log"
        with bills_tomorrow.run(log, only=["commands"]) as bills:
            assert eventually(lambda: bills.find(Mended, "1"))
            assert bills.get(Mended, "1").total == total
