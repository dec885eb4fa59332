"""What does not fit a record is the failure of its own command, not of its neighbours."""

from __future__ import annotations

from decimal import Decimal

import pytest

import headwater as hw
from headwater.client import Sending
from headwater.log.memory import MemoryLog
from tests.bank import Account, Deposit, Open

app = hw.App("bank", aggregates=[Account], partitions=1)


def test_an_event_of_two_megabytes_fails_alone() -> None:
    with app.run(MemoryLog()) as bank:
        outcomes = list(
            bank.send_many([Open("a", "ann"), Open("b", "x" * 2_000_000), Deposit("a", Decimal(1)), Open("c", "cid")])
        )
        assert [type(one).__name__ for one in outcomes] == ["Receipt", "Failed", "Receipt", "Receipt"]
        with pytest.raises(hw.Failed, match=r"Opened has 2,000,\d+ bytes; at most 900,000"):
            bank.send(Open("b", "x" * 2_000_000))
        assert bank.find(Account, "b") is None
        assert bank.get(Account, "a").balance == 1


def test_a_state_that_grows_too_large_refuses_to_grow_further() -> None:
    with app.run(MemoryLog()) as bank:
        with pytest.raises(hw.Failed, match=r"the state of Account would have 700,\d+ bytes"):
            bank.send(Open("a", "x" * 700_000))
        assert bank.version(Account, "a") == 0


def test_a_command_id_is_not_a_place_for_content() -> None:
    with app.run(MemoryLog()) as bank, pytest.raises(hw.Misuse, match="1 to 200 characters"):
        list(bank.send_many([Sending(Open("a", "ann"), command_id="x" * 201)]))


@pytest.mark.parametrize(("key", "actor"), [("k" * 2_001, None), ("k", "user:" + "x" * 2_000)])
def test_nor_are_keys_and_actors(key: str, actor: str | None) -> None:
    with app.run(MemoryLog()) as bank, pytest.raises(hw.Misuse, match=r"Open: .* have 2,00\d characters; at most"):
        bank.send(Open(key, "ann"), actor=actor)
