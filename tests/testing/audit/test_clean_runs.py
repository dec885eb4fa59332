"""What goes right is reported as right: on every log, kind or unkind, with threads and with owners in turn."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.sqlite import SqliteLog
from headwater.testing import eventually
from headwater.testing.audit import Journal, RecordedAsyncShop, RecordedShop, audit, collect, report, state_folds
from headwater.testing.audit.contents import Contents
from headwater.testing.audit.history import CommandCall, History
from tests.bank import Account, Deposit, Overdrawn, Withdraw
from tests.logs import OpenAgain
from tests.owners.test_taking_over import a_process_that_owns
from tests.testing.audit.runs import ONE, TEN, Run, a_run, app


def assert_clean(run: Run) -> None:
    assert run.history.commands, "there is something to audit"
    assert not run.audited(), report(run.audited())


def test_on_every_log(open_again: OpenAgain) -> None:
    assert_clean(a_run(open_again))


@pytest.mark.parametrize("aborts", [0.0, 0.2])
def test_in_memory(aborts: float) -> None:
    log = MemoryLog(gaps=aborts > 0, late=aborts > 0, aborts=aborts)
    print("seed", log.seed)
    assert_clean(a_run(log.again))


def test_many_clients_at_once() -> None:
    log, journal = MemoryLog(gaps=True, late=True, aborts=0.2), Journal()
    print("seed", log.seed)
    with app.run(log, store="memory://") as near, app.connect(log, store="memory://") as far:

        def work(name: str, shop: hw.Shop) -> None:
            client = RecordedShop(shop, app, journal, name)
            for number in range(20):
                version = client.version(Account, "a")
                with suppress(hw.Conflict):
                    client.send(Deposit("a", ONE), expected_version=version)
                client.send(Deposit("b", ONE), command_id=f"shared {number}")
                with suppress(Overdrawn):
                    client.send(Withdraw("b", TEN))
                client.history(Account, "b")

        threads = [threading.Thread(target=work, args=(f"{i}", near if i % 2 else far)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = audit(journal.history(), collect(log, app), states=state_folds(app))
    assert not found, report(found)
    assert len(journal.history().commands) == 4 * 60


def test_owners_in_turn() -> None:
    """Partitions go to a second owner and come back to the first."""
    log, journal = MemoryLog(gaps=True, late=True), Journal(partitions_return=True)

    def deposits(client: RecordedShop) -> None:
        for outcome in client.send_many([Deposit(f"a{n % 8}", ONE) for n in range(40)]):
            assert isinstance(outcome, hw.Receipt), outcome

    with app.run(log, only=["commands"]) as first:
        deposits(RecordedShop(first, app, journal, "first"))
        with app.run(log, only=["commands"]) as second:
            deposits(RecordedShop(second, app, journal, "second"))
        deposits(RecordedShop(first, app, journal, "first"))
    contents = collect(log, app)
    found = audit(journal.history(), contents, states=state_folds(app))
    assert not found, report(found)


def test_an_asynchronous_client() -> None:
    log, journal = MemoryLog(gaps=True, late=True, aborts=0.2), Journal()

    async def work() -> None:
        async with app.run(log, store="memory://") as shop:
            client = RecordedAsyncShop(shop, app, journal, "async")
            receipt = await client.send(Deposit("a", TEN), command_id="one")
            await client.send(Deposit("a", TEN), command_id="one")
            with pytest.raises(Overdrawn):
                await client.send(Withdraw("b", TEN), command_id="refused")
            async for outcome in client.send_many([Deposit("a", ONE), hw.Sending(Deposit("b", ONE))]):
                assert isinstance(outcome, hw.Receipt)
            await client.get(Account, "a")
            await client.find(Account, "nobody")
            await client.version(Account, "b")
            await client.history(Account, "a")
            await client.row(Account, "a", after=receipt)
            await client.revert(Account, "a", to_version=1)
            assert await client.outcome(Account, "a", "one") is not None

    asyncio.run(work())
    history = journal.history()
    assert [one.outcome for one in history.commands].count("accepted") == 5
    found = audit(history, collect(log, app), states=state_folds(app))
    assert not found, report(found)


def test_owners_that_are_killed(tmp_path: Path) -> None:
    """Each dies in the midst of a stream of commands, and the next one is there already."""
    path = tmp_path / "bank.db"
    # With sessions of a second, whoever stands still for so long loses its partitions and may get them back.
    journal, bank = Journal(partitions_return=True), hw.App("bank", aggregates=[Account], partitions=3)
    with ExitStack() as stack:
        log = stack.enter_context(closing(SqliteLog(path, session_timeout_s=1)))
        owner = stack.enter_context(a_process_that_owns(path))
        client = RecordedShop(stack.enter_context(bank.connect(log)), bank, journal, "client")
        for _ in range(2):
            successor = stack.enter_context(a_process_that_owns(path))
            stream = client.send_many([Deposit(f"a{n % 5}", ONE) for n in range(300)], in_flight=100)
            for number, _ in enumerate(stream):
                if number == 100:
                    os.kill(owner.pid, signal.SIGKILL)
            owner = successor
        journal.settled()
        for call in journal.unknown():
            eventually(partial(told, client, call), saying=f"somebody says what became of {call}")
        found = audit(journal.history(), collect(log, bank), states=state_folds(bank))
    assert not found, report(found)


def told(client: RecordedShop, call: CommandCall) -> bool:
    """Whether somebody is there who can say what became of a command."""
    try:
        client.outcome(Account, call.id, call.command_id)
    except (hw.Unknown, hw.Unavailable):
        return False
    return True


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(MemoryLog().again)


def test_the_data_of_a_run_can_be_kept(run: Run) -> None:
    """A failing run is kept as JSON, and audited again later."""
    decode: Callable[[bytes], Run] = msgspec.json.Decoder(Run).decode
    kept = decode(msgspec.json.encode(run))
    assert (kept.history, kept.contents) == (run.history, run.contents)
    assert_clean(kept)


def test_histories_of_two_processes_are_put_together(run: Run) -> None:
    history = run.history
    parts = [
        msgspec.structs.replace(
            History(settled_s=history.settled_s),
            commands=tuple(one for one in history.commands if one.client == name),
            questions=tuple(one for one in history.questions if one.client == name),
            reads=tuple(one for one in history.reads if one.client == name),
        )
        for name in ("here", "there")
    ]
    together = parts[0].with_all_of(parts[1])
    assert len(together.commands) == len(history.commands)
    assert_clean(Run(together, run.contents))
    assert Run(parts[0], run.contents).audited() == [], "what another process sent stands in the topics"


def test_an_empty_log_is_clean() -> None:
    assert audit(History(), Contents(())) == []
