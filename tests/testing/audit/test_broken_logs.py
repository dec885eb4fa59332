"""An app runs on a log that breaks its contract: the auditor reports what that breaks for clients."""

from __future__ import annotations

from functools import partial
from typing import cast

import pytest

import headwater as hw
from headwater.log.port import Log
from headwater.testing import eventually
from headwater.testing.audit import Invariant, Journal, RecordedShop, audit, collect, report, state_folds
from tests.bank import Account, Deposit, Deposited
from tests.testing.audit.breaking import BreakingLog, Half, Standing, Twice, Without
from tests.testing.audit.runs import COMMANDS, ONE, TEN, app


def audited(log: BreakingLog, *, travelling: bool = False, events: int = 1, timeout_s: float = 60.0) -> set[Invariant]:
    """What is wrong with a run whose second command meets the broken log. Arguments: timeout_s: how long its sender
    waits for an answer."""
    opened, journal = cast(Log, log), Journal()
    with app.run(opened, only=["commands"]) as near, app.connect(opened) as far:
        client = RecordedShop(far if travelling else near, app, journal, "client")
        client.send(Deposit("a", TEN), command_id="first")
        log.broken = True
        made = [Deposited("a", ONE)] * events
        try:
            client.append(Account, "a", made, command_id="second", timeout_s=timeout_s)
        except hw.Unknown:
            eventually(lambda: sum(log.kind.committed("account-owners", COMMANDS).values()) == 2)  # it is decided
        log.broken = False
    found = audit(journal.history(), collect(log.kind, app), states=state_folds(app))
    print(report(found))
    return {one.invariant for one in found}


def test_a_log_that_is_not_broken() -> None:
    assert audited(BreakingLog()) == set()
    assert audited(BreakingLog(), travelling=True, events=3) == set()


def test_a_transaction_that_is_answered_and_lost() -> None:
    assert audited(BreakingLog(lost=True)) == {Invariant.ACKNOWLEDGED}


def test_states_that_are_not_written() -> None:
    assert audited(BreakingLog(partial(Without, topic="account-state"))) == {Invariant.STATE_BESIDE}


def test_replies_that_are_not_written() -> None:
    """Nobody has asked what became of the command, either."""
    broken = BreakingLog(partial(Without, topic="account-replies"))
    assert audited(broken, travelling=True, timeout_s=0.1) == {Invariant.REPLY_BESIDE, Invariant.UNKNOWN}


def test_positions_that_do_not_move() -> None:
    assert audited(BreakingLog(Standing), travelling=True) == {Invariant.POSITION_BESIDE}


def test_an_event_that_is_written_twice() -> None:
    found = audited(BreakingLog(Twice))
    assert {Invariant.VERSIONS, Invariant.EVENT_IDS, Invariant.ONE_EFFECT, Invariant.WHOLE_TRANSACTION} == found


@pytest.mark.parametrize("travelling", [False, True])
def test_a_transaction_that_is_torn(travelling: bool) -> None:
    found = audited(BreakingLog(Half), travelling=travelling, events=2)
    expected = {Invariant.ACKNOWLEDGED, Invariant.WHOLE_COMMAND, Invariant.WHOLE_TRANSACTION, Invariant.STATE}
    assert found == expected | ({Invariant.REPLY_BESIDE} if travelling else set())
