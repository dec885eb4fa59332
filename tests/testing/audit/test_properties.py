"""Whatever clients do, in whatever order, on a log as unkind as the contract allows: a run that is right is clean."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.testing.audit import Journal, RecordedShop, audit, collect, report, state_folds
from headwater.testing.audit.earlier import Earlier, Known
from tests.bank import Account, AccountCommand, Break, Deposit, Deposited, Rename, Withdraw
from tests.testing.audit.runs import app

Action = Callable[[RecordedShop], object]

accounts = st.sampled_from(["a", "b", "c"])
ids = st.one_of(st.none(), st.sampled_from(["one", "two", "three"]))
expected = st.one_of(st.none(), st.integers(0, 4))
amounts = st.integers(1, 9).map(Decimal)
commands: st.SearchStrategy[AccountCommand] = st.one_of(
    st.builds(Deposit, accounts, amounts),
    st.builds(Withdraw, accounts, amounts),
    st.builds(Rename, accounts, st.just("x")),
    st.builds(Break, accounts, st.sampled_from(["raise", "mutate", "fold"])),
)


def sending(command: AccountCommand, id: str | None, version: int | None) -> Action:
    return lambda client: client.send(command, command_id=id, expected_version=version)


def appending(account: str, count: int, id: str | None, version: int | None) -> Action:
    events = [Deposited(account, Decimal(n + 1)) for n in range(count)]
    return lambda client: client.append(Account, account, events, command_id=id, expected_version=version)


def sending_many(some: list[AccountCommand]) -> Action:
    return lambda client: list(client.send_many(some))


def looking(account: str, id: str) -> Action:
    def look(client: RecordedShop) -> None:
        client.version(Account, account)
        client.history(Account, account)
        client.find(Account, account)
        client.outcome(Account, account, id)

    return look


actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(sending, commands, ids, expected),
    st.builds(appending, accounts, st.integers(0, 3), ids, expected),
    st.builds(sending_many, st.lists(commands, max_size=5)),
    st.builds(looking, accounts, st.sampled_from(["one", "two"])),
)


@settings(deadline=None, max_examples=20)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["near", "far", "new owner"]), actions), max_size=25),
    seed=st.integers(0, 1000),
    aborts=st.sampled_from([0.0, 0.2]),
)
def test_a_right_run_is_clean(steps: list[tuple[str, Action]], seed: int, aborts: float) -> None:
    log, journal = MemoryLog(gaps=True, late=True, aborts=aborts, seed=seed), Journal()
    with ExitStack() as stack:
        far = RecordedShop(stack.enter_context(app.connect(log)), app, journal, "far")
        owner = ExitStack()
        near = RecordedShop(owner.enter_context(app.run(log, only=["commands"])), app, journal, "near")
        stack.callback(lambda: owner.close())
        for who, action in steps:
            if who == "new owner":
                owner.close()
                near = RecordedShop(owner.enter_context(app.run(log, only=["commands"])), app, journal, f"near {seed}")
            try:
                action(far if who == "far" else near)
            except (hw.Rejected, hw.Conflict, hw.Failed, hw.Misuse):
                continue
    found = audit(journal.history(), collect(log, app), states=state_folds(app))
    assert not found, report(found)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=12), st.integers(0, 21))
def test_what_was_known_earlier(known: list[tuple[int, int]], started: int) -> None:
    found = Earlier(Known(ended, value, "") for ended, value in known).before(started)
    values = [value for ended, value in known if ended < started]
    assert (found.value if found else None) == max(values, default=None)
