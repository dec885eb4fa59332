"""What an owner knows outlives it: after a restart, a kill and an abort the next one goes on as if nothing were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord
from headwater.log.sqlite import SqliteLog
from headwater.testing import eventually
from tests.bank import Account, AlreadyOpen, Break, Deposit, Deposited, Open, Overdrawn, Rename, Withdraw
from tests.clocks import Ahead
from tests.logs import OpenAgain, owned_by
from tests.owners.run_bank import SESSION_S

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 3
app = hw.App("bank", aggregates=[Account], partitions=PARTITIONS)
TEN = Decimal(10)


def commands_with_every_answer(bank: hw.Shop) -> None:
    bank.send(Open("a", "ann"), command_id="accepted")
    bank.send(Rename("a", "anne"), command_id="nothing")
    with pytest.raises(Overdrawn):
        bank.send(Withdraw("a", TEN), command_id="refused")
    with pytest.raises(Overdrawn):
        bank.send(Withdraw("new", TEN), command_id="refused")
    with pytest.raises(hw.Failed):
        bank.send(Break("a", "raise"), command_id="failed")


def the_same_answers_again(bank: hw.Shop) -> None:
    """With money on the accounts, so that a second try would not be refused."""
    for account in ("a", "new"):
        bank.send(Deposit(account, TEN))
    assert bank.send(Open("a", "ann"), command_id="accepted").duplicate
    assert bank.send(Rename("a", "anne"), command_id="nothing").duplicate
    for account in ("a", "new"):
        with pytest.raises(Overdrawn) as refusal:
            bank.send(Withdraw(account, TEN), command_id="refused")
        assert refusal.value.balance == 0
        with pytest.raises(Overdrawn):
            bank.outcome(Account, account, "refused")
    with pytest.raises(hw.Misuse, match="another content"):
        bank.send(Open("a", "bob"), command_id="accepted")
    assert bank.outcome(Account, "a", "failed") is None
    with pytest.raises(AlreadyOpen):
        bank.send(Open("a", "ann"))
    assert (bank.get(Account, "a").owner, bank.get(Account, "a").balance) == ("ann", TEN)


def test_after_a_restart(open_again: OpenAgain) -> None:
    with app.run(open_again(), only=["commands"]) as bank:
        commands_with_every_answer(bank)
    with app.run(open_again(), only=["commands"]) as bank:
        the_same_answers_again(bank)


def test_every_entity_is_restored(open_again: OpenAgain) -> None:
    accounts = [f"a{number}" for number in range(200)]
    with app.run(open_again(), only=["commands"]) as bank:
        list(bank.send_many([Deposit(account, Decimal(n)) for n in (1, 2, 3) for account in accounts]))
    with app.run(open_again(), only=["commands"]) as bank:
        for account in accounts:
            found = bank.get(Account, account)
            assert (int(found.balance), found.version) == (6, 3)
        assert bank.send(Deposit("a7", TEN), expected_version=3).version == 4


def test_ids_are_remembered_for_the_last_128_commands_of_each_entity(log: Log) -> None:
    with app.run(log, only=["commands"]) as bank:
        list(bank.send_many([hw.Sending(Deposit("a", TEN), command_id=f"d{n}") for n in range(200)]))
    with app.run(log, only=["commands"]) as bank:
        outcomes = list(bank.send_many([hw.Sending(Deposit("a", TEN), command_id=f"d{n}") for n in range(72, 200)]))
        assert all(isinstance(one, hw.Receipt) and one.duplicate for one in outcomes)
        assert bank.version(Account, "a") == 200


def test_what_became_of_an_older_command_is_found_in_the_events(log: Log) -> None:
    with app.run(log, only=["commands"]) as bank:
        list(bank.send_many([hw.Sending(Deposit("a", TEN), command_id=f"d{n}") for n in range(200)]))
        found = eventually(lambda: bank.outcome(Account, "a", "d0"))
        assert (found.command_id, found.duplicate) == ("d0", True)
        assert bank.outcome(Account, "a", "never") is None


@contextmanager
def a_process_that_owns(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.owners.run_bank", str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"running\n"
    try:
        yield child
    finally:
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
        child.wait(60)
        child.stdin.close()
        child.stdout.close()


def test_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    clock = Ahead()
    log = SqliteLog(path, session_timeout_s=SESSION_S, environment=clock)
    with a_process_that_owns(path) as owner:
        with app.connect(log) as bank:
            commands_with_every_answer(bank)
        os.kill(owner.pid, signal.SIGKILL)
    clock.ahead_s = 2 * SESSION_S
    with app.run(log, only=["commands"]) as bank:
        the_same_answers_again(bank)
    log.close()


def test_one_that_was_frozen_and_replaced_answers_no_more(tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    clock = Ahead()
    log = SqliteLog(path, session_timeout_s=SESSION_S, environment=clock)
    with a_process_that_owns(path) as owner, app.connect(log) as client:
        client.send(Deposit("a", TEN), command_id="before")
        os.kill(owner.pid, signal.SIGSTOP)
        clock.ahead_s = 2 * SESSION_S
        with app.run(log, only=["commands"]) as bank:
            clock.ahead_s = 0
            bank.send(Deposit("a", TEN), command_id="between")
            eventually(lambda: owned_by(log, "account-owners") == [3], saying="it is alive by the owner's clock, too")
            os.kill(owner.pid, signal.SIGCONT)
            eventually(lambda: len(owned_by(log, "account-owners")) == 2)
            for number in range(20):
                client.send(Deposit(f"b{number}", TEN), command_id="after")
                assert bank.send(Deposit(f"b{number}", TEN), command_id="after").duplicate
            assert client.send(Deposit("a", TEN), command_id="between").duplicate
            assert [one.meta.command_id for one in client.history(Account, "a")] == ["before", "between"]
    log.close()


@pytest.mark.parametrize("way", ["run", "connect"])
def test_transactions_that_the_log_aborts_are_done_again(way: str) -> None:
    log = MemoryLog(gaps=True, late=True, aborts=0.2)
    print("seed", log.seed)
    with app.run(log, only=["commands"]) as owner, app.connect(log) as client:
        bank = owner if way == "run" else client
        for number in range(100):
            assert bank.send(Deposit(f"a{number % 10}", Decimal(1))).version == number // 10 + 1
        assert [bank.get(Account, f"a{number}").balance for number in range(10)] == [10] * 10


def test_events_that_no_state_covers_are_folded_in_and_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another program left them before there were owners; however often the owner reads its entities anew."""
    monkeypatch.setattr("headwater.owners.known.WEIGHT_BYTES", 1 << 40)
    log = MemoryLog()
    with app.run(log, only=["commands"]):
        pass
    codec = app.behaviours[Account].events
    partition = partition_of(b"a", PARTITIONS)
    log.append([NewRecord("account-events", partition, b"a", codec.encode(Deposited("a", TEN), None)) for _ in "12"])
    with app.run(log, only=["commands"]) as bank:
        for _ in range(3):
            found = bank.get(Account, "a")
            assert (int(found.balance), found.version) == (20, 2)
        assert bank.send(Withdraw("a", TEN)).version == 3
        assert [one.meta.version for one in bank.history(Account, "a")] == [1, 2, 3]
    with app.run(log, only=["commands"]) as bank:
        assert (int(bank.get(Account, "a").balance), bank.version(Account, "a")) == (10, 3)
