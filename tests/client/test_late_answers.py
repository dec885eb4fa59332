"""An answer that comes after its caller gave up belongs to that attempt, and to no later one of the same id."""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import Decimal

import pytest

import headwater as hw
from headwater.app import Running
from tests.bank import Account, AlreadyOpen, Deposit, Open
from tests.logs import OpenAgain

app = hw.App("bank", aggregates=[Account], partitions=1)
ONE = Decimal(1)


def busy(running: Running) -> AbstractContextManager[object]:
    """While it is entered, the owner answers nobody: an answer comes late."""
    assert running.services is not None
    return running.services.owners["account"]._door


def test_a_late_refusal_is_not_the_answer_to_the_next_attempt(open_again: OpenAgain) -> None:
    running = app.run(open_again(), only=["commands"])
    with running, app.connect(open_again()) as bank:
        bank.send(Open("b", "bob"))
        for round in range(5):
            id = f"x{round}"
            with busy(running), pytest.raises(hw.Unknown):
                bank.send(Deposit("a", ONE), command_id=id, expected_version=round + 1, timeout_s=0)
            receipt = bank.send(Deposit("a", ONE), command_id=id)
            assert (receipt.version, receipt.duplicate) == (round + 1, False)
        assert bank.get(Account, "a").balance == 5
        with pytest.raises(AlreadyOpen):
            bank.send(Open("b", "bob"))


def test_a_late_receipt_neither(open_again: OpenAgain) -> None:
    running = app.run(open_again(), only=["commands"])
    with running, app.connect(open_again()) as bank:
        for round in range(5):
            id = f"x{round}"
            with busy(running), pytest.raises(hw.Unknown):
                bank.send(Deposit("a", ONE), command_id=id, timeout_s=0)
            receipt = bank.send(Deposit("a", ONE), command_id=id)
            assert (receipt.version, receipt.duplicate) == (round + 1, True)
        assert bank.version(Account, "a") == 5
